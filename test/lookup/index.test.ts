import { createHash } from "node:crypto";
import { readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { resultJson } from "../../src/lookup/answer.ts";
import { hashBytes, mixed, seed } from "../../src/lookup/hash-table.ts";
import type { Lake, Lookup, LookupOptions } from "../../src/pipeline/index.ts";
import { makePlace, published, type Place } from "../pipeline/place.ts";

const rows = 3000;
let place: Place;
let lake: Lake;

/** Names of columns that can be keys, each with distinct values. */
const keyColumns = ["id", "n", "s", "raw", "at", "zone", "day", "time", "u", "d", "wide"] as const;

beforeAll(async () => {
  place = await makePlace();
  await using engine = await place.engine();
  await engine.export(
    `SELECT i::BIGINT * 3 + 9007199254740993 AS id, (i - 1500)::INTEGER AS n, CASE WHEN i % 7 = 0 THEN NULL ELSE i / 3 END::DOUBLE AS f,
       (i / 7)::FLOAT AS g, CASE i % 5 WHEN 0 THEN 'nan' WHEN 1 THEN '-inf' WHEN 2 THEN '-0' ELSE '0.1' END::DOUBLE AS odd,
       (i * 1.01 - 2000)::DECIMAL(18,4) AS d, (i - 1000) * 12345678901234567890::DECIMAL(38,2) AS wide,
       CASE WHEN i = 1 THEN '' ELSE 'ö "\\' || repeat('x', (i % 50)::INT) || i END AS s,
       ('b' || i)::BLOB AS raw, TIMESTAMP '1969-12-01 00:00:00.000001' + INTERVAL (i) HOUR AS at,
       TIMESTAMPTZ '2024-01-01 00:00:00+02' + INTERVAL (i) MINUTE AS zone, DATE '0003-02-28' - i::INTEGER AS day,
       TIME '00:00:00.000001' + INTERVAL (i) SECOND AS time, CASE WHEN i % 3 = 0 THEN NULL ELSE i % 2 = 0 END AS b, uuid() AS u,
       CASE WHEN i % 4 = 0 THEN NULL ELSE [i::FLOAT, (i + 1)::FLOAT, -1.5::FLOAT] END AS vector, range(i % 4) AS ragged,
       [i::INTEGER, NULL] AS holed, {'a': i::BIGINT, 'b': ['x'], 'c': 'nan'::DOUBLE, 'e': 1.5::DECIMAL(30,2)} AS nested,
       MAP {'k': i::BIGINT + 9007199254740993} AS pairs, (i % 10)::INTEGER AS ten, i // 10 AS rest FROM range(${rows}) t(i)`,
    join(place.folder, "t.parquet"),
    "FORMAT parquet, ROW_GROUP_SIZE 2048",
  );
  lake = await place.open(
    {
      t: { from: { path: "t.parquet" }, mode: "replace", key: ["id"] },
      few: { from: { path: "t.parquet" }, mode: "replace", transform: "select id, n, s from input where n < -1490" },
      moving: { from: { path: "t.parquet" }, mode: "replace", transform: "select id, n, s from input where n < -1490" },
    },
    { sections: { lookup: { entry: { dataset: "t", key: ["s"], columns: ["n"] } } } },
  );
  await published(lake.run("t"));
});
afterAll(async () => {
  await lake[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const open = (options: LookupOptions = {}, name = "t"): Promise<Lookup> => lake.lookup(name, options);

/** The rows as the engine gives them, in the notation of lookups. */
async function oracle(): Promise<Record<string, unknown>[]> {
  const micro = (column: string): string => `rtrim(rtrim(strftime(${column}, '%Y-%m-%dT%H:%M:%S.%f'), '0'), '.')`;
  const { rows: all } = await lake.query(
    `SELECT * REPLACE (${micro('"at"')} AS "at", ${micro('"zone"')} || 'Z' AS "zone", printf('%s-%02d-%02d', CASE WHEN year("day") < 0 THEN printf('-%04d', -year("day")) ELSE printf('%04d', year("day")) END, month("day"), day("day")) AS "day",
       d::VARCHAR AS d, wide::VARCHAR AS wide, pairs::JSON::VARCHAR AS pairs) FROM t ORDER BY n`,
  );
  return all.map((row) => ({ ...row, raw: new Uint8Array(row["raw"] as Uint8Array) }));
}

describe("an index of a version", () => {
  test("gives every value of every type as it is, by keys of every type that can be one", async () => {
    const expected = await oracle();
    expect(expected).toHaveLength(rows);
    for (const key of keyColumns) {
      await using lookup = await open({ key: [key] });
      const { rows: found, version, invalid } = await lookup.get(expected.map((row) => [row[key] as string]));
      expect({ version, invalid }).toEqual({ version: 1, invalid: [] });
      for (const [index, row] of found.entries()) {
        expect(row?.["id"], key).toBe(expected[index]!["id"]);
        if (key !== "id" && index % 50 > 0) continue;
        const { nested, pairs, ...plain } = row!;
        const { nested: _, pairs: __, ...wanted } = expected[index]!;
        expect(plain, key).toEqual(wanted);
        expect(nested).toEqual({ a: BigInt(index), b: ["x"], c: NaN, e: "1.50" });
        expect(pairs).toEqual({ k: BigInt(index) + 9007199254740993n });
      }
    }
  });

  test("reads keys as text too, and says which cannot be", async () => {
    await using lookup = await open();
    const { rows: found, invalid } = await lookup.get([
      ["9007199254740993"],
      [9007199254740996n],
      ["9.5"],
      [1.5],
      [null],
      [true],
    ]);
    expect(found.map((row) => row?.["n"])).toEqual([-1500, -1499, undefined, undefined, undefined, undefined]);
    expect(invalid.map(({ index, column }) => [index, column])).toEqual([2, 3, 4, 5].map((index) => [index, "id"]));
    await using decimals = await open({ key: ["d"] });
    const { rows: same } = await decimals.get([["-2000"], ["-2000.0000"], [-2000], ["-2000.00001"]]);
    expect(same.map((row) => row?.["d"])).toEqual(["-2000.0000", "-2000.0000", "-2000.0000", undefined]);
    await using moments = await open({ key: ["zone"] });
    const { rows: zoned } = await moments.get([
      ["2023-12-31T22:00:00Z"],
      ["2024-01-01 00:00+02"],
      ["2024-01-01T00:00:00"],
      ["2024-02-30"],
    ]);
    expect(zoned.map((row) => row?.["n"])).toEqual([-1500, -1500, undefined, undefined]);
  });

  test("takes composite keys, whose parts do not run into each other", async () => {
    await using lookup = await open({ key: ["rest", "ten"], columns: ["n"] });
    const keys = Array.from({ length: rows }, (_, index) => [Math.floor(index / 10), index % 10]);
    const { rows: found } = await lookup.get([...keys, [0, 10], [-1, 3]]);
    expect(found.slice(0, rows).map((row) => row?.["n"])).toEqual(keys.map((_, index) => index - 1500));
    expect(found.slice(rows)).toEqual([undefined, undefined]);
    await expect(lookup.get([[1]])).rejects.toMatchObject({
      code: "usage",
      message: expect.stringContaining("has 2 values, not 1"),
    });
    await using texts = await open({ key: ["s", "u"], columns: ["n"] });
    const [row] = (await oracle()).slice(7);
    const [s, u] = [String(row!["s"]), String(row!["u"])];
    const shifted = await texts.get([
      [s, u],
      [s.slice(0, -1), u],
      [s + u, ""],
      ["", s + u],
    ]);
    expect(shifted.rows.map((each) => each?.["n"])).toEqual([-1493, undefined, undefined, undefined]);
  });

  test("chooses columns, when it is opened and when it is asked", async () => {
    await using lookup = await open({}, "entry");
    expect(lookup.key).toEqual(["s"]);
    const { rows: found } = await lookup.get([[""]]);
    expect(found).toEqual([{ s: "", n: -1499 }]);
    expect((await lookup.get([[""]], { columns: ["n"] })).rows).toEqual([{ n: -1499 }]);
    await expect(lookup.get([[""]], { columns: ["m"] })).rejects.toMatchObject({
      code: "usage",
      hint: expect.stringContaining("`s`"),
    });
  });

  test("refuses what is no key, with the way out", async () => {
    await expect(open({ key: ["ten"] })).rejects.toMatchObject({
      code: "usage",
      message: expect.stringMatching(/several rows of `t` have the key ten = \d/),
      hint: expect.stringContaining("--last-by"),
    });
    await expect(open({ key: ["b"] })).rejects.toMatchObject({
      code: "usage",
      hint: expect.stringContaining("b is not null"),
    });
    await expect(open({ key: ["f"] })).rejects.toMatchObject({
      code: "usage",
      message: expect.stringContaining("double"),
    });
    await expect(open({ key: ["nested"] })).rejects.toMatchObject({ code: "usage" });
    await expect(open({ key: ["idd"] })).rejects.toMatchObject({
      code: "usage",
      hint: expect.stringContaining("`id`"),
    });
    await expect(open({ key: ["id", "id"] })).rejects.toMatchObject({ code: "usage" });
    await published(lake.run("few"));
    await expect(open({}, "few")).rejects.toMatchObject({ code: "usage", hint: expect.stringContaining("--key") });
  });

  test("of rows with one key takes the newest when asked, and leaves out what a condition says", async () => {
    await using lookup = await open({ key: ["ten"], lastBy: "n", where: "n < 1000" });
    const { rows: found } = await lookup.get([[0], [9]]);
    expect(found.map((row) => row?.["n"])).toEqual([990, 999]);
    expect(lookup.index!.rows).toBe(10);
  });

  test("reads from disk what is larger than its memory, with the same answers", async () => {
    const keys = Array.from({ length: rows }, (_, index) => [
      BigInt(index) * 3n + 9007199254740993n - BigInt(index % 2),
    ]);
    await using held = await open();
    await using read = await open({ cache: { memoryBytes: 0 } });
    const digest = async (lookup: Lookup): Promise<string> =>
      createHash("sha256")
        .update(resultJson("t", await lookup.get(keys), keys, 0))
        .digest("hex");
    expect(await digest(read)).toBe(await digest(held));
    expect((await read.get(keys)).rows.filter((row) => row !== undefined)).toHaveLength(rows / 2);
  });

  test("is made anew when its file is damaged", async () => {
    const cache = join(place.folder, "damaged");
    const opened = async (): Promise<unknown> => {
      await using lookup = await open({ key: ["id"], columns: ["n", "s"], cache: { folder: cache } });
      return (await lookup.get([[9007199254740993n], [9007199254740996n]])).rows;
    };
    const right = await opened();
    expect(right).toMatchObject([{ n: -1500 }, { n: -1499 }]);
    const [made] = await readdir(cache);
    const records = join(cache, made!, "records");
    const bytes = await readFile(records);
    for (const damage of ["flip", "cut"] as const) {
      if (damage === "cut") await truncate(records, bytes.length - 8);
      else await writeFile(records, bytes.with(100, bytes[100]! ^ 1));
      expect(await opened(), damage).toEqual(right);
      expect((await readFile(records)).length).toBe(bytes.length);
    }
  });

  test("tells keys apart that have the same hash", async () => {
    const many = 300_000;
    const bytes = Buffer.alloc(8);
    const seen = new Set<number>();
    let collisions = 0;
    for (let id = 0; id < many; id++) {
      bytes.writeBigInt64LE(BigInt(id) * 7919n);
      const hash = mixed(hashBytes(seed, bytes, 0, 8));
      if (seen.has(hash)) collisions++;
      seen.add(hash);
    }
    // The seed is another each time: of 300,000 keys about ten collide, none in one of 30,000 runs.
    expect(collisions).toBeGreaterThan(0);
    await using engine = await place.engine();
    await engine.export(
      `SELECT i * 7919 AS id FROM range(${many}) t(i)`,
      join(place.folder, "many.parquet"),
      "FORMAT parquet",
    );
    await using wide = await place.open({ many: { from: { path: "many.parquet" }, mode: "replace", key: ["id"] } });
    await published(wide.run("many"));
    for (const memoryBytes of [2 ** 30, 0]) {
      await using lookup = await wide.lookup("many", { cache: { memoryBytes } });
      for (let from = 0; from < many; from += 10_000) {
        const keys = Array.from({ length: 10_000 }, (_, index) => [BigInt(from + index) * 7919n]);
        const { rows: found } = await lookup.get(keys);
        expect(found.every((row, index) => row?.["id"] === keys[index]![0])).toBe(true);
      }
    }
  });

  test("follows a tag that moves, and rows that are erased", async () => {
    await published(lake.run("moving"));
    await lake.tag("moving@1", "gold");
    await using lookup = await open({ key: ["s"] }, "moving@gold");
    const before = lookup.index!;
    expect(await lookup.refresh()).toBe(false);
    expect(lookup.index).toBe(before);
    const flows = {
      moving: {
        from: { path: "t.parquet" },
        mode: "replace",
        transform: "select id, n + 7 as n, s from input where n < -1400",
      },
    };
    await using later = await place.open(flows);
    await published(later.run("moving", { full: true }));
    expect(await lookup.refresh()).toBe(false);
    // While nothing has the tag the version before answers.
    await later.untag("moving", "gold");
    await expect(lookup.refresh()).rejects.toMatchObject({ code: "not-found" });
    expect(lookup.index).toBe(before);
    await later.tag("moving", "gold");
    const [first, second] = await Promise.all([lookup.refresh(), lookup.refresh()]);
    expect([first, second]).toEqual([true, true]);
    const { rows: found, version } = await lookup.get([[""]]);
    expect(found).toMatchObject([{ n: -1492 }]);
    expect(version).toBe(lookup.index!.version);
    expect(version).toBeGreaterThan(1);
    await later.erase("moving", { where: "s = ''" });
    expect(await lookup.refresh()).toBe(true);
    expect((await lookup.get([[""]])).rows).toEqual([undefined]);
    expect(lookup.index!.rows).toBe(99);
  });
});

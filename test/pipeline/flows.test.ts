import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openPlace, type Place } from "../support/flows.ts";

let place: Place;
beforeEach(async () => {
  place = await openPlace();
});
afterEach(() => place[Symbol.asyncDispose]());

const csv = (rows: (string | number)[][]): string => `${rows.map((row) => row.join(",")).join("\n")}\n`;
const balanced = (report: { read: number; written: number; rejected: number; filtered: number }): boolean =>
  report.read === report.written + report.rejected + report.filtered;
const dataFiles = async (dataset: string): Promise<string[]> =>
  (await readdir(join(place.folder, "lake", dataset, "data")).catch(() => [])).filter((name) => !name.startsWith("."));

describe("modes", () => {
  test("append reads only new files, and an unchanged source makes no version and no file", async () => {
    await place.configure({ orders: { from: { path: "in/*.csv" }, mode: "append" } });
    await place.write(
      "in/a.csv",
      csv([
        ["id", "v"],
        [1, "a"],
        [2, "b"],
      ]),
    );
    expect(await place.run("orders")).toMatchObject({ status: "published", version: 1, read: 2 });
    await place.write(
      "in/b.csv",
      csv([
        ["id", "v"],
        [3, "c"],
      ]),
    );
    expect(await place.run("orders")).toMatchObject({ status: "published", version: 2, read: 1 });
    const before = await dataFiles("orders");
    expect(await place.run("orders")).toMatchObject({ status: "unchanged", version: 2 });
    expect(await dataFiles("orders")).toEqual(before);
    expect(await place.rows("SELECT id, v FROM orders ORDER BY id")).toEqual([
      { id: 1n, v: "a" },
      { id: 2n, v: "b" },
      { id: 3n, v: "c" },
    ]);
  });

  test("replace swaps everything, and the versions before stay readable", async () => {
    await place.configure({ orders: { from: { path: "a.csv" }, mode: "replace" } });
    await place.write("a.csv", csv([["id"], [1], [2]]));
    await place.run("orders");
    await place.write("a.csv", csv([["id"], [7]]));
    expect(await place.run("orders")).toMatchObject({ version: 2, read: 1 });
    expect(await place.rows("SELECT id FROM orders")).toEqual([{ id: 7n }]);
    expect(await place.rows(`SELECT count(*) AS n FROM "orders@1"`)).toEqual([{ n: 2n }]);
  });

  test("merge updates by key, inserts, and of one key in a batch the highest cursor stays", async () => {
    const name = 'Größe "x" 😀';
    await place.configure({
      orders: { from: { path: "in/*.csv", cursor: "seq" }, mode: "merge", key: ["a", name] },
    });
    const quoted = `"${name.replaceAll('"', '""')}"`;
    await place.write(
      "in/1.csv",
      csv([
        ["a", quoted, "seq", "v"],
        [1, 1, 1, "one"],
        [1, 2, 1, "two"],
        [2, 1, 1, "three"],
      ]),
    );
    expect(await place.run("orders")).toMatchObject({ version: 1, written: 3, superseded: 0 });
    await place.write(
      "in/2.csv",
      csv([
        ["a", quoted, "seq", "v"],
        [1, 2, 5, "newest"],
        [1, 2, 4, "older"],
        [9, 9, 1, "new"],
      ]),
    );
    const report = await place.run("orders");
    expect(report).toMatchObject({ version: 2, read: 3, written: 2, superseded: 1, filtered: 1, updated: 1 });
    expect(balanced(report)).toBe(true);
    const sql = `SELECT a, v FROM orders ORDER BY a, "${name.replaceAll('"', '""')}"`;
    expect(await place.rows(sql)).toEqual([
      { a: 1n, v: "one" },
      { a: 1n, v: "newest" },
      { a: 2n, v: "three" },
      { a: 9n, v: "new" },
    ]);
  });
});

describe("nothing vanishes: read = written + rejected + filtered", () => {
  test.each([
    ["a filter", "SELECT * FROM input WHERE v > 1", { read: 4, written: 2, rejected: 1, filtered: 1 }],
    [
      "more rows than were read",
      "SELECT input.* FROM input, range(3)",
      { read: 4, written: 9, rejected: 1, filtered: -6 },
    ],
    [
      "an aggregate",
      "SELECT v % 2 AS odd, count(*) AS n FROM input GROUP BY 1",
      { read: 4, written: 2, rejected: 1, filtered: 1 },
    ],
  ])("with %s and a line that cannot be read", async (_, transform, counts) => {
    await place.configure({ t: { from: { path: "a.csv" }, transform, mode: "replace" } });
    await place.write("a.csv", csv([["id", "v"], [1, 1], [2, 2], ["broken"], [3, 3]]));
    const report = await place.run("t");
    expect(report).toMatchObject(counts);
    expect(balanced(report)).toBe(true);
    const [rejected] = await place.rows("SELECT reason, origin, record, run FROM t__rejected");
    expect(rejected).toMatchObject({ origin: "a.csv:4", record: "broken", run: report.run });
  });

  test("a transform may join another dataset by its name", async () => {
    await place.configure({
      shops: { from: { path: "shops.csv" }, mode: "replace" },
      sales: {
        from: { path: "sales.csv" },
        mode: "replace",
        transform: "SELECT input.*, shops.city FROM input JOIN shops USING (shop)",
      },
    });
    await place.write(
      "shops.csv",
      csv([
        ["shop", "city"],
        [1, "Bern"],
        [2, "Ulm"],
      ]),
    );
    await place.write(
      "sales.csv",
      csv([
        ["id", "shop"],
        [10, 2],
        [11, 3],
      ]),
    );
    await place.run("shops");
    expect(await place.run("sales")).toMatchObject({ read: 2, written: 1, filtered: 1 });
    expect(await place.rows("SELECT id, city FROM sales")).toEqual([{ id: 10n, city: "Ulm" }]);
  });
});

describe("checks", () => {
  test("fail publishes nothing, leaves no file, does not move the position; mended data then goes through", async () => {
    await place.configure({ o: { from: { path: "in/*.csv" }, checks: [{ check: "range", column: "v", min: 0 }] } });
    await place.write(
      "in/a.csv",
      csv([
        ["id", "v"],
        [1, 5],
      ]),
    );
    await place.run("o");
    await place.write(
      "in/b.csv",
      csv([
        ["id", "v"],
        [2, -5],
      ]),
    );
    const files = await dataFiles("o");
    const failed = await place.run("o");
    expect(failed).toMatchObject({ status: "failed", checks: [{ check: "range", status: "failed", failing: 1 }] });
    expect(failed.version).toBeUndefined();
    expect(await dataFiles("o")).toEqual(files);
    await place.write(
      "in/b.csv",
      csv([
        ["id", "v"],
        [2, 6],
      ]),
    );
    expect(await place.run("o")).toMatchObject({ status: "published", version: 2, read: 1 });
  });

  test("reject moves rows out with reason, check, origin and record; replay brings mended ones back once", async () => {
    await place.configure({
      o: {
        from: { path: "a.csv" },
        key: ["id"],
        mode: "merge",
        checks: [
          { check: "range", column: "price", min: 0, on_fail: "reject" },
          { check: "not-null", columns: ["name"], on_fail: "reject" },
        ],
      },
    });
    await place.write(
      "a.csv",
      csv([
        ["id", "price", "name"],
        [1, "1.50", "a"],
        [2, "-2.25", "b"],
        [3, "-3", ""],
        [9007199254740993n.toString(), "4", "d"],
      ]),
    );
    const report = await place.run("o");
    expect(report).toMatchObject({ written: 2, rejected: 2 });
    const rejected = await place.rows(`SELECT reason, "check", origin, record FROM o__rejected ORDER BY record`);
    expect(rejected).toHaveLength(2);
    expect(rejected[0]).toMatchObject({ check: "range", origin: "flow o, id=2" });
    expect(rejected[1]!.reason).toContain("price");
    expect(rejected[1]!.reason).toContain("name");

    const replayed = await place.with((lake) => lake.replay("o", { set: { price: "abs(price)" } }));
    expect(replayed).toMatchObject({ read: 2, written: 1, rejected: 1 });
    expect(await place.rows("SELECT id, price FROM o ORDER BY id")).toEqual([
      { id: 1n, price: 1.5 },
      { id: 2n, price: 2.25 },
      { id: 9007199254740993n, price: 4 },
    ]);
    expect(await place.rows(`SELECT "check" FROM o__rejected`)).toEqual([{ check: "not-null" }]);
    expect(await place.with((lake) => lake.replay("o", { set: { price: "abs(price)" } }))).toMatchObject({
      written: 0,
      status: "unchanged",
    });
  });

  test("unique sees the rows that are in the dataset already", async () => {
    await place.configure({ o: { from: { path: "in/*.csv" }, checks: [{ check: "unique", columns: ["id"] }] } });
    await place.write("in/a.csv", csv([["id"], [1], [2]]));
    await place.run("o");
    await place.write("in/b.csv", csv([["id"], [2], [3]]));
    expect(await place.run("o")).toMatchObject({ status: "failed" });
    expect(await place.rows("SELECT count(*) AS n FROM o")).toEqual([{ n: 2n }]);
  });

  test("thresholds let a count or a share pass", async () => {
    const flow = (more: object): unknown => ({
      from: { path: "a.csv" },
      mode: "replace",
      checks: [{ check: "not-null", columns: ["v"], ...more }],
    });
    await place.write(
      "a.csv",
      csv([
        ["id", "v"],
        [1, 1],
        [2, ""],
        [3, 3],
        [4, 4],
      ]),
    );
    await place.configure({ count: flow({ max_rows: 1 }), share: flow({ max_share: 0.2 }) });
    expect(await place.run("count")).toMatchObject({ status: "published" });
    expect(await place.run("share")).toMatchObject({ status: "failed" });
  });

  test("a column that does not exist is found before anything is read", async () => {
    await place.configure({ o: { from: { path: "a.csv" }, checks: [{ check: "not-null", columns: ["prize"] }] } });
    await place.write(
      "a.csv",
      csv([
        ["id", "price"],
        [1, 1],
      ]),
    );
    await expect(place.run("o")).rejects.toMatchObject({ code: "config", hint: expect.stringContaining("price") });
    expect(await dataFiles("o")).toEqual([]);
  });
});

describe("columns that change", () => {
  const start = async (schema: string): Promise<void> => {
    await place.configure({ o: { from: { path: "in/*.ndjson" }, schema } });
    await place.write("in/a.ndjson", '{"id":1,"n":1}\n');
    await place.run("o");
  };
  const shape = (): Promise<[string, number][]> =>
    place.with(async (lake) =>
      (await lake.dataset("o")).dataset.columns().map((column): [string, number] => [column.name, column.id!]),
    );

  test("evolve adds a column and keeps the ids of the others; a column that is missing is null", async () => {
    await start("evolve");
    const before = await shape();
    await place.write("in/b.ndjson", '{"id":2,"extra":"x"}\n');
    await place.run("o");
    expect((await shape()).slice(0, 2)).toEqual(before);
    expect(await place.rows("SELECT id, n, extra FROM o ORDER BY id")).toEqual([
      { id: 1n, n: 1n, extra: null },
      { id: 2n, n: null, extra: "x" },
    ]);
    expect(await place.rows(`SELECT * FROM "o@1"`)).toEqual([{ id: 1n, n: 1n }]);
  });
  test("freeze leaves a new column out, reject refuses the run", async () => {
    await start("freeze");
    await place.write("in/b.ndjson", '{"id":2,"n":2,"extra":"x"}\n');
    await place.run("o");
    expect(await place.rows("SELECT * FROM o WHERE id = 2")).toEqual([{ id: 2n, n: 2n }]);
    await place.configure({ o: { from: { path: "in/*.ndjson" }, schema: "reject" } });
    await place.write("in/c.ndjson", '{"id":3,"n":3,"more":"x"}\n');
    await expect(place.run("o")).rejects.toMatchObject({ code: "schema" });
    expect(await place.rows("SELECT count(*) AS n FROM o")).toEqual([{ n: 2n }]);
  });
});

describe("splits", () => {
  const rows = (from: number, to: number): (string | number)[][] =>
    Array.from({ length: to - from }, (_, index) => [from + index, `g${(from + index) % 50}`]);
  test("stay where they are when data is appended, and a group is never in two", async () => {
    await place.configure({
      o: { from: { path: "in/*.csv" }, split: { train: 0.6, validation: 0.2, test: 0.2, key: "grp", seed: 3 } },
    });
    await place.write("in/a.csv", csv([["id", "grp"], ...rows(0, 500)]));
    const report = await place.run("o");
    expect(Object.values(report.splits!).reduce((sum, count) => sum + count, 0)).toBe(500);
    await place.write("in/b.csv", csv([["id", "grp"], ...rows(500, 900)]));
    await place.run("o");
    expect(
      await place.rows(`SELECT count(*) AS moved FROM o JOIN "o@1" AS before USING (id) WHERE o.split <> before.split`),
    ).toEqual([{ moved: 0n }]);
    expect(
      await place.rows("SELECT max(n) AS n FROM (SELECT grp, count(DISTINCT split) AS n FROM o GROUP BY grp)"),
    ).toEqual([{ n: 1n }]);
  });
  test("a row that is in two splits fails the run", async () => {
    await place.configure({
      o: {
        from: { path: "a.csv" },
        mode: "replace",
        split: { by: "time", column: "day", boundaries: { test: "2024-06-01" } },
        transform: "SELECT day::DATE AS day, v FROM input",
      },
      copies: { from: { path: "b.csv" }, mode: "replace", key: ["id"], split: { train: 0.5, test: 0.5, seed: 1 } },
    });
    await place.write(
      "a.csv",
      csv([
        ["day", "v"],
        ["2024-01-01", 1],
        ["2024-07-01", 2],
      ]),
    );
    expect(await place.run("o")).toMatchObject({ status: "published", splits: { train: 1, test: 1 } });
    const many = Array.from({ length: 400 }, (_, index) => [index, `unique ${index}`]);
    await place.write(
      "b.csv",
      csv([["id", "text"], ...many, ...Array.from({ length: 8 }, (_, index) => [1000 + index, "the same text"])]),
    );
    const report = await place.run("copies");
    expect(report).toMatchObject({ status: "failed" });
    expect(report.checks.find((check) => check.check === "split-leakage")).toMatchObject({ status: "failed" });
  });
});

import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import { randomOf } from "../feed/features-oracle.ts";

type Row = Record<string, unknown>;

let folder = "";
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-near-duplicates-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A lake with one flow over NDJSON files, and a way to give it one more and run it. */
async function placeOf(flow: Row) {
  const place = join(folder, `lake-${count++}`);
  await mkdir(join(place, "in"), { recursive: true });
  const flows = { rows: { from: { path: "in/*.ndjson" }, ...flow } };
  await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", flows }));
  let files = 0;
  return {
    place,
    run: async (rows: readonly Row[]) => {
      await writeFile(join(place, `in/${files++}.ndjson`), rows.map((row) => JSON.stringify(row)).join("\n"));
      await using lake = await openLake({ folder: place });
      return await lake.run("rows");
    },
    query: async (sql: string): Promise<Row[]> => {
      await using lake = await openLake({ folder: place });
      return (await lake.query(sql)).rows as Row[];
    },
  };
}

const hamming = (left: bigint, right: bigint): number =>
  BigInt.asUintN(64, left ^ right)
    .toString(2)
    .replaceAll("0", "").length;

test("of images that look the same the one stays that the order says, in this run and the ones before", async () => {
  const random = randomOf(5);
  const bit = (): bigint => 1n << BigInt(Math.floor(random() * 64));
  const any = (): bigint =>
    BigInt.asIntN(64, BigInt(Math.floor(random() * 2 ** 32)) * 2n ** 32n + BigInt(Math.floor(random() * 2 ** 32)));
  const hashes: bigint[] = [];
  const rows = Array.from({ length: 1200 }, (_, id) => {
    let hash = any();
    // A third of them are copies with 0 to 6 bits changed, of copies as well.
    if (id > 0 && id % 3 === 0) {
      hash = hashes[Math.floor(random() * hashes.length)]!;
      for (let change = Math.floor(random() * 7); change > 0; change--) hash = BigInt.asIntN(64, hash ^ bit());
    }
    hashes.push(hash);
    return { id, hash, width: Math.floor(random() * 50) };
  });
  const ndjson = (list: typeof rows): Row[] =>
    list.map(({ id, hash, width }) => ({ id, hash: hash.toString(), width }));
  const [first, second] = [rows.slice(0, 700), rows.slice(700)];
  const { run, query } = await placeOf({
    transform: "select id, hash::bigint as hash, width from input",
    checks: [{ check: "near-duplicates", hash: "hash", bits: 4, order_by: ["width desc", "id"], on_fail: "reject" }],
  });
  // What anybody would do with a thousand rows: each with each that stays before it.
  const stay: typeof rows = [];
  for (const part of [first, second])
    for (const row of part.toSorted((left, right) => right.width - left.width || left.id - right.id))
      if (!stay.some(({ hash }) => hamming(hash, row.hash) <= 4)) stay.push(row);
  expect(rows.length - stay.length).toBeGreaterThan(150);

  const reports = [await run(ndjson(first)), await run(ndjson(second))];
  const kept = await query("select id::int as id from rows order by id");
  expect(kept.map(({ id }) => id)).toEqual(stay.map(({ id }) => id).toSorted((left, right) => left - right));
  const rejected = await query('select record, reason, "check" from rows__rejected');
  expect(rejected).toHaveLength(rows.length - stay.length);
  expect(rejected.length).toBe(reports.reduce((sum, report) => sum + report.rejected, 0));
  for (const { check, reason } of rejected) {
    expect(check).toBe("near-duplicates");
    expect(reason).toMatch(
      /^near-duplicates: near-duplicate of a row without a key \(([1-4] bits? apart|0 bits apart|the same)\)$/,
    );
  }
  const known = reports[1]!.checks.find(({ check }) => check === "near-duplicates")!.measured["known"];
  expect(known).toBeGreaterThan(30);
});

/** Texts of words of their own. */
function textsOf(seed: number): { text: () => string; edited: (text: string) => string } {
  const random = randomOf(seed);
  const words = Array.from({ length: 2000 }, () =>
    Array.from({ length: 3 + Math.floor(random() * 7) }, () =>
      String.fromCharCode(97 + Math.floor(random() * 26)),
    ).join(""),
  );
  const word = (): string => words[Math.floor(random() * words.length)]!;
  return {
    text: () => Array.from({ length: 60 }, word).join(" "),
    edited(text) {
      const parts = text.split(" ");
      parts[Math.floor(random() * parts.length)] = word();
      return parts.map((part, index) => (index % 7 === 0 ? `${part.toUpperCase()}!` : part)).join("  ");
    },
  };
}

test("texts that were copied with small changes name what they are like; sketches of files are made once", async () => {
  const { text, edited } = textsOf(3);
  const { place, run, query } = await placeOf({
    key: ["id"],
    mode: "append",
    checks: [{ check: "near-duplicates", text: "body", on_fail: "reject" }],
  });
  const first = Array.from({ length: 300 }, (_, id) => ({ id, body: text() }));
  await run([
    ...first,
    { id: 900, body: edited(first[7]!.body) },
    { id: 901, body: first[8]!.body },
    { id: 902, body: "short" },
    { id: 903, body: "short" },
  ]);
  const reasons = async (): Promise<Row> =>
    Object.fromEntries(
      (await query("select record->>'id' as id, reason from rows__rejected")).map(({ id, reason }) => [
        String(id),
        reason,
      ]),
    );
  expect(await reasons()).toEqual({
    900: expect.stringMatching(/^near-duplicates: near-duplicate of id=7 \(0\.9\d? similar\)$/) as string,
    901: "near-duplicates: near-duplicate of id=8 (the same)",
  });
  const sketches = async (): Promise<string[]> => {
    // A folder goes with its last file.
    if (!existsSync(join(place, "lake/rows/signatures"))) return [];
    const paths = (await readdir(join(place, "lake/rows/signatures"), { recursive: true })).filter((path) =>
      path.endsWith(".parquet"),
    );
    return await Promise.all(
      paths
        .toSorted()
        .map(async (path) => `${path} ${(await stat(join(place, "lake/rows/signatures", path))).mtimeMs}`),
    );
  };
  await run([
    { id: 910, body: edited(first[9]!.body) },
    { id: 911, body: text() },
  ]);
  expect((await reasons())["910"]).toMatch(/^near-duplicates: near-duplicate of id=9 \(/);
  const before = await sketches();
  expect(before).toHaveLength(1);
  await run([{ id: 920, body: text() }]);
  const after = await sketches();
  expect(after).toHaveLength(2);
  expect(after).toContain(before[0]);

  // They are made of what people wrote, so an erasure takes them away.
  await using lake = await openLake({ folder: place });
  await lake.erase("rows", { where: "id = 7" });
  await expect(sketches()).resolves.toEqual([]);
});

test("a row that goes by another check takes nobody with it, and one that is replaced is like none", async () => {
  const { text, edited } = textsOf(4);
  const { run, query } = await placeOf({
    key: ["id"],
    mode: "merge",
    checks: [
      { check: "near-duplicates", text: "body", order_by: ["id"], on_fail: "reject" },
      { check: "not-null", columns: ["source"], on_fail: "reject" },
    ],
  });
  const [one, two] = [text(), text()];
  await run([
    { id: 1, body: one, source: null },
    { id: 2, body: edited(one), source: "web" },
    { id: 3, body: two, source: "web" },
  ]);
  expect(await query("select id::int as id from rows order by id")).toEqual([{ id: 2 }, { id: 3 }]);
  const report = await run([
    { id: 3, body: edited(two), source: "web" },
    { id: 4, body: edited(one), source: "web" },
  ]);
  expect(report.rejected).toBe(1);
  expect(await query("select id::int as id, body = '" + two + "' as old from rows order by id")).toEqual([
    { id: 2, old: false },
    { id: 3, old: false },
  ]);
});

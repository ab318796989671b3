import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Column } from "../../src/core/index.ts";
import { openCatalog } from "../../src/dataset/index.ts";
import { type ConfigInput, type Lake, openLake, type RunReport } from "../../src/index.ts";
import s3 from "../../src/stores/s3/index.ts";
import { closeEngine, query, stage } from "../dataset/helpers.ts";
import { type S3Double, startS3Double } from "../support/s3-double.ts";

const files = 50;
const columns: Column[] = [
  { name: "id", type: "long" },
  { name: "day", type: "date" },
  { name: "moment", type: "timestamp" },
  { name: "seen", type: "timestamptz" },
  { name: "price", type: "decimal(9,2)" },
  { name: "label", type: "string" },
  { name: "ratio", type: "double" },
  { name: "even", type: "long" },
];

let double: S3Double;
let folder: string;
let store: Record<string, unknown>;

/** File `n` holds 400 ids from 400 n on, and a day, prices and labels of its own. Every second file has nulls only in `even`. */
const select = (file: number): string =>
  `SELECT i AS id, DATE '2024-01-01' + ${file} AS day, TIMESTAMP '2024-01-01' + to_hours((i // 10)::INT) AS moment,
     TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_hours((i // 10)::INT) AS seen, (${file} + (i % 10) / 10)::DECIMAL(9,2) AS price,
     'label ${String(file).padStart(2, "0")} ' || md5(i::VARCHAR) AS label, i / 2 AS ratio, ${file % 2 === 0 ? "i" : "NULL::BIGINT"} AS even
   FROM range(${file * 400}, ${(file + 1) * 400}) AS t(i)`;
const everything = Array.from({ length: files }, (_, file) => select(file)).join(" UNION ALL ");

beforeAll(async () => {
  double = await startS3Double(["lake"]);
  folder = await mkdtemp(join(tmpdir(), "millrace-cost-"));
  store = { ...double.options("lake"), prefix: "lake" };
  const bucket = await (await s3.load()).open(s3.options.parse(store), { connection: "lake", folder });
  const dataset = await openCatalog(bucket).create("events", columns);
  for (let file = 0; file < files; file++) {
    await dataset.commit({ operation: "append", add: [await stage(dataset, select(file))] });
  }
  await dataset.tag("Gold", dataset.version(2));
  await bucket[Symbol.asyncDispose]();
}, 60_000);
afterAll(async () => {
  await closeEngine();
  await double[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

interface Cost {
  requests: number;
  /** Data files that were there before and of which something was sent, and how much. */
  dataFiles: number;
  dataBytes: number;
  otherBytes: number;
}

let caches = 0;
/** What `use` makes the bucket send, with a read cache that is empty at first. */
async function costOf(
  use: (lake: Lake) => Promise<unknown>,
  { flows = {}, cache = `cache-${caches++}` }: { flows?: Record<string, unknown>; cache?: string } = {},
): Promise<Cost> {
  const before = new Set(double.state.buckets.get("lake")!.keys());
  double.requests.length = 0;
  const config = { store: { store: "s3", ...store }, cache: { path: join(folder, cache) }, flows } as ConfigInput;
  await using lake = await openLake({ folder, config });
  await use(lake);
  const sent = double.requests.filter((one) => one.operation === "GetObject");
  const data = sent.filter(({ key }) => key.startsWith("lake/events/data/") && before.has(key));
  const bytes = (some: typeof sent): number => some.reduce((sum, one) => sum + one.sent, 0);
  return {
    requests: double.requests.length,
    dataFiles: new Set(data.map(({ key }) => key)).size,
    dataBytes: bytes(data),
    otherBytes: bytes(double.requests) - bytes(data),
  };
}

const sizeOf = (part: RegExp): number =>
  [...double.state.buckets.get("lake")!].reduce(
    (sum, [key, { bytes }]) => sum + (part.test(key) ? bytes.length : 0),
    0,
  );

describe("a dataset of 50 files in a bucket, of which this machine has no copy", () => {
  test("is listed, shown and its history told without its data", async () => {
    const most = 2 * sizeOf(/^lake\/events\/metadata/);
    expect(most).toBeGreaterThan(0);
    const verbs: [(lake: Lake) => Promise<unknown>, requests: number][] = [
      [(lake) => lake.catalog.list(), 3],
      [(lake) => lake.history("events"), 6],
      // A manifest for each version.
      [async (lake) => (await lake.dataset("events")).dataset.files(), files + 8],
      [(lake) => lake.tag("events@3", "silver"), 16],
    ];
    for (const [use, requests] of verbs) {
      const cost = await costOf(use);
      expect(cost).toMatchObject({ dataFiles: 0 });
      expect(cost.requests).toBeLessThanOrEqual(requests);
      expect(cost.otherBytes).toBeLessThan(most);
    }
  });

  test("shows its first rows out of one file", async () => {
    expect(await costOf((lake) => lake.preview("events"))).toMatchObject({ dataFiles: 1 });
  });

  const queries: [sql: string, dataFiles: number][] = [
    ["select count(*)::int as n from events where id = 8000", 1],
    ["select count(*)::int as n, min(id)::int as low from events e where E.ID between 7999 and 8400 and price > 0", 3],
    ["select count(*)::int as n from events where 8000 > id and not (id < 7600)", 2],
    ["select count(*)::int as n from events where id > 19599.5", 1],
    ["select count(*)::int as n from events where id in (5, 19999, -3)", 2],
    ["select count(*)::int as n from events where id < 10 or day >= '2024-02-18'", 3],
    ["select count(*)::int as n from events where day = date '2024-01-05'", 1],
    ["select count(*)::int as n from events where moment >= timestamp '2024-03-20 12:00'", 3],
    ["select count(*)::int as n from events where seen < '2024-01-02 00:00:00+00'", 1],
    ["select count(*)::int as n from events where price = 7.30", 1],
    ["select count(*)::int as n from events where label >= 'label 49'", 1],
    ["select count(*)::int as n from events where id < 100 and even > 50", 1],
    [
      "with few as (select * from events where id < 399) select count(*)::int as n, sum(id)::int as sum from few where id > 1",
      1,
    ],
    [
      "select (select max(id)::int from events where id < 399) as a, (select min(id)::int from events where id > 19600) as b",
      2,
    ],
    ["select a.id::int as id from events a join (select * from events where id = 401) b on b.id = a.id", 50],
    ['select count(*)::int as n from "events@3" where id >= 400', 2],
    ['select count(*)::int as n from "events@Gold" where id > 0', 2],
    ["select count(*)::int as n from (select id, day from events limit 5 offset 395) where id >= 0", 1],
    ["select count(*)::int as n from events", 0],
    ["select count(*)::int as n, count(*)::double as same from events e", 0],
    ['select (select count(*)::int from events) as a, (select count(*)::int from "events@3") as b', 0],
    // One of its uses asks for more.
    ["select (select count(*)::int from events) as a, (select max(id)::int from events where id < 399) as b", 50],
    ["select count(*) filter (where id > 5)::int as n from events", 50],
    ["select count(even)::int as n from events", 50],
    ["select count(*)::int as n from events group by day > date '2024-01-07' order by n", 50],
    // What is not understood is looked at in all files, and so is what only seems to be simple.
    ["select count(*)::int as n from events where id + 1 = 8000", 50],
    ["select count(*)::int as n from events where id < 10 or ratio = 9999.5", 50],
    ["select count(*)::int as n from events where id not in (1, 2)", 50],
    ["select count(*)::int as n from events where id > 1e1", 50],
    ["with events as (select id + 20000 as id from events) select count(*)::int as n from events where id > 20000", 50],
    ["select count(*)::int as n from events tablesample reservoir(20000 rows) where id < 10", 50],
    ["select sum(n)::int as n from (select count(*) over () as n from events limit 1)", 50],
    ["select column_name from (describe events) limit 1", 50],
    // A column goes before a name that the SELECT gives.
    ["select (id + 20000)::int as id from events where id > 20000", 0],
    ["select id::int + 5 as other from events where other < 8", 50],
  ];
  test.each(queries)("%s: %i files", async (sql, dataFiles) => {
    let rows: unknown;
    const cost = await costOf(async (lake) => ({ rows } = await lake.query(sql)));
    const versions = [
      `"events@3" AS (SELECT * FROM all_events WHERE id < 1200)`,
      `"events@Gold" AS (SELECT * FROM all_events WHERE id < 800)`,
    ];
    const known = `WITH all_events AS (${everything}), events AS (SELECT * FROM all_events), ${versions.join(", ")}`;
    expect(rows).toEqual(await query(`${known} SELECT * FROM (${sql})`));
    expect(cost.dataFiles).toBe(dataFiles);
    const whole = sizeOf(/^lake\/events\/data/);
    if (dataFiles <= 3) expect(cost.dataBytes).toBeLessThan((whole / files) * (dataFiles + 1));
  });

  test("two statements at once about different rows of it do not meet", async () => {
    const found: unknown[] = [];
    const cost = await costOf(async (lake) => {
      const asked = Array.from({ length: 8 }, (_, index) =>
        lake.query(
          `select count(*)::int as n, min(id)::int as low from events where day = date '2024-01-01' + 0 or id between ${index * 400} and ${index * 400 + 399}`,
        ),
      );
      const narrow = Array.from({ length: 8 }, (_, index) =>
        lake.query(
          `select count(*)::int as n, min(id)::int as low from events where id between ${index * 400} and ${index * 400 + 399}`,
        ),
      );
      for (const { rows } of await Promise.all([...narrow, ...asked])) found.push(rows[0]);
    });
    expect(found.slice(0, 8)).toEqual(Array.from({ length: 8 }, (_, index) => ({ n: 400, low: index * 400 })));
    expect(found.slice(8)).toEqual(Array.from({ length: 8 }, (_, index) => ({ n: index === 0 ? 400 : 800, low: 0 })));
    expect(cost.dataFiles).toBe(files);
  });
});

describe("a run into it", () => {
  let added = 0;
  /** What a run costs that brings one new row, with this in its flow. */
  const costOfRun = async (flow: Record<string, unknown>, id = 40_000 + added): Promise<Cost> => {
    const name = `new${added++}`;
    await writeFile(join(folder, `${name}.csv`), `id,label\n${id},x\n`);
    const flows = { [name]: { from: { path: `${name}.csv` }, into: "events", ...flow } };
    return costOf(async (lake) => expect(await lake.run(name)).toMatchObject({ status: "published", written: 1 }), {
      flows,
    });
  };

  test.each<[string, Record<string, unknown>]>([
    ["append", {}],
    [
      "append with a limit of growth",
      {
        checks: [
          { check: "row-count", max_growth: 1 },
          { check: "not-null", column: "id" },
        ],
      },
    ],
    [
      "append of rows that must be unique among themselves",
      { checks: [{ check: "unique", column: "id", previous: false }] },
    ],
    [
      "append through a transform with a column of the dataset's name",
      { transform: "select id, label as events, label from input" },
    ],
    ["merge of a new key", { mode: "merge", key: ["id"], checks: [{ check: "unique", column: "id" }] }],
  ])("%s: no data file is fetched", async (_name, flow) => {
    expect((await costOfRun(flow)).dataFiles).toBe(0);
  });

  test("a merge of one key fetches the file that has it", async () => {
    expect(await costOfRun({ mode: "merge", key: ["id"] }, 8000)).toMatchObject({ dataFiles: 1 });
  });

  test("rows that must be unique are held against the files that may have them", async () => {
    const unique = { check: "unique", column: "id" };
    expect((await costOfRun({ checks: [unique] }, 90_000)).dataFiles).toBe(0);
    await writeFile(join(folder, "known.csv"), "id,label\n4000,x\n4001,y\n95000,z\n,w\n");
    await writeFile(join(folder, "few.csv"), "id,label\n4000,x\n4001,y\n,w\n");
    const run = async (file: string, check: Record<string, unknown>): Promise<{ cost: Cost; report: RunReport }> => {
      const name = `unique${added++}`;
      let report: RunReport | undefined;
      const flows = { [name]: { from: { path: file }, into: "events", checks: [check] } };
      const cost = await costOf(async (lake) => (report = await lake.run(name)), { flows });
      return { cost, report: report! };
    };
    const failed = await run("few.csv", unique);
    expect(failed.report).toMatchObject({ status: "failed", checks: [{ failing: 2, measured: { known: 2 } }] });
    expect(failed.cost.dataFiles).toBe(1);
    // No file has both such an id and such a label.
    const none = await run("few.csv", { check: "unique", columns: ["id", "label"], on_fail: "reject" });
    expect(none.report).toMatchObject({ status: "published", written: 3, rejected: 0 });
    expect(none.cost.dataFiles).toBe(0);
    const rejected = await run("known.csv", { ...unique, on_fail: "reject" });
    expect(rejected.report).toMatchObject({ status: "published", written: 2, rejected: 2 });
    // From 4000 to 95000.
    expect(rejected.cost.dataFiles).toBeGreaterThan(35);
  });

  test("what compares with the rows before fetches all of them, and the next time none", async () => {
    const cost = await costOfRun({ checks: [{ check: "drift" }, { check: "unique", column: "id" }] });
    expect(cost.dataFiles).toBeGreaterThan(files);
    const cache = `cache-${caches - 1}`;
    const again = await costOf((lake) => lake.query("select sum(id) from events"), { cache });
    expect(again.dataFiles).toBe(0);
  });
});

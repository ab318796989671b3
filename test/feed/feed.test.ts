import { createHash } from "node:crypto";
import { readdir, truncate, writeFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { tableFromIPC, type RecordBatch } from "apache-arrow";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serveFeed } from "../../src/feed/serve.ts";
import type { Feed, FeedBatch, FeedOptions, Lake } from "../../src/pipeline/index.ts";
import { makePlace, published, rowsOf, type Place } from "../pipeline/place.ts";

const rows = 5000;
let place: Place;
let lake: Lake;

beforeAll(async () => {
  place = await makePlace();
  await using engine = await place.engine();
  await engine.export(
    `SELECT i::BIGINT + 9007199254740993 AS id, i::INTEGER AS n, CASE WHEN i % 7 = 0 THEN NULL ELSE i / 3 END::DOUBLE AS f, (i / 7)::FLOAT AS g,
       (i * 1.01 - 2000)::DECIMAL(18,4) AS d, (i * 12345678901234567890)::DECIMAL(38,2) AS wide,
       CASE WHEN i % 3 = 0 THEN NULL WHEN i % 3 = 1 THEN '' ELSE 'ö ' || repeat('x', i % 50) || i END AS s,
       ('b' || i)::BLOB AS raw, TIMESTAMP '1969-01-01 00:00:00.000001' + INTERVAL (i) HOUR AS at, TIMESTAMPTZ '2024-01-01 00:00:00+02' + INTERVAL (i) MINUTE AS zone,
       DATE '2024-02-28' - i::INTEGER AS day, TIME '00:00:00.000001' + INTERVAL (i) SECOND AS time, i % 2 = 0 AS b, uuid() AS u,
       [i::FLOAT, (i + 1)::FLOAT, -1.5::FLOAT] AS vector, range(i % 4) AS ragged, {'a': i, 'b': ['x']} AS nested,
       CASE WHEN i % 5 = 0 THEN 'test' ELSE 'train' END AS split FROM range(${rows}) t(i)`,
    join(place.folder, "t.parquet"),
    "FORMAT parquet, ROW_GROUP_SIZE 2048",
  );
  lake = await place.open({
    t: { from: { path: "t.parquet" } },
    small: { from: { path: "t.parquet" }, transform: "select * from input where n < 100" },
  });
  await published(lake.run("t"));
  await published(lake.run("small"));
});
afterAll(async () => {
  await lake[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const open = (options: FeedOptions = {}, of: string | string[] = "t"): Promise<Feed> =>
  lake.feed(of, { split: "train", batch: 64, seed: 7, ...options });

/** A digest of all that a batch holds. */
function digest(batch: FeedBatch): string {
  const hash = createHash("sha256").update(`${batch.step} ${batch.epoch} ${batch.rows}`);
  for (const { name, values, offsets, validity } of batch.columns) {
    hash.update(name);
    for (const part of [values, offsets, validity])
      if (part) hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  }
  return hash.digest("hex");
}

async function digests(batches: AsyncIterable<FeedBatch>): Promise<string[]> {
  const all: string[] = [];
  for await (const batch of batches) all.push(digest(batch));
  return all;
}

const numbers = (batch: FeedBatch): number[] => [
  ...(batch.columns.find(({ name }) => name === "n")!.values as Int32Array),
];

describe("a feed", () => {
  test("gives every row of the split once, in an order that is no row's, with every type as it was", async () => {
    await using feed = await open({ dropLast: false });
    expect(feed).toMatchObject({
      rows: 4000,
      stepsPerEpoch: 63,
      steps: 63,
      datasets: [{ name: "t", version: 1, rows: 4000 }],
    });
    await using server = await serveFeed(feed);
    const response = await fetch(`${server.url}/v1/feed/batches`);
    const bytes = Buffer.from(await response.arrayBuffer());
    await writeFile(join(place.folder, "all.arrow"), bytes);
    const table = tableFromIPC(bytes);
    expect(table.numRows).toBe(4000);
    expect(table.batches.map((batch: RecordBatch) => batch.numRows).slice(-2)).toEqual([64, 32]);
    expect(String(table.schema.fields.find((field) => field.name === "vector")!.type)).toBe(
      "FixedSizeList[3]<Float32>",
    );
    // Read back by another Arrow, written as Parquet, and compared in SQL.
    const { pythonEnvironment, runPython } = await import("../services/python.ts");
    const python = await pythonEnvironment(["pyarrow==21.0.0"]);
    const parquet = join(place.folder, "all.parquet");
    await runPython(
      python,
      `import sys, pyarrow as pa, pyarrow.parquet as pq
table = pa.ipc.open_stream(sys.argv[1]).read_all()
table.validate(full=True)
pq.write_table(table, sys.argv[2])`,
      [join(place.folder, "all.arrow"), parquet],
    );
    await using engine = await place.engine();
    const theirs = `SELECT * REPLACE (u::VARCHAR AS u, nested::VARCHAR AS nested, vector::FLOAT[] AS vector) FROM read_parquet('${parquet}')`;
    const ours = `SELECT * EXCLUDE (split) REPLACE (u::VARCHAR AS u, to_json(nested)::VARCHAR AS nested) FROM read_parquet('${place.folder}/t.parquet') WHERE split = 'train'`;
    for (const [left, right] of [
      [theirs, ours],
      [ours, theirs],
    ]) {
      expect(await engine.query(`${left} EXCEPT ALL ${right} LIMIT 1`)).toEqual([]);
    }
    const first = numbers(await feed.batch(0));
    expect(first.toSorted((a, b) => a - b)).not.toEqual(first);
  });

  test("goes on at any step from one integer, for any rank and worker, bit for bit", async () => {
    await using feed = await open({ epochs: 2 });
    const whole = await digests(feed);
    expect(whole).toHaveLength(124);
    await using again = await open({ epochs: 2 });
    for (const from of [1, 61, 62, 100, 123]) expect(await digests(again.batches({ from }))).toEqual(whole.slice(from));
    const workers = await Promise.all([0, 1, 2].map((worker) => digests(again.batches({ worker, workers: 3 }))));
    expect(Array.from({ length: 124 }, (_, step) => workers[step % 3]![Math.floor(step / 3)])).toEqual(whole);
    for (const world of [1, 2, 4, 8, 16, 32, 64]) {
      const step = 77;
      const shared: number[] = [];
      for (let rank = 0; rank < world; rank++) shared.push(...numbers(await again.batch(step, rank, world)));
      expect(shared).toEqual(numbers(await feed.batch(step)));
    }
  });

  test("is the same from memory and from disk, and after its cache was damaged", async () => {
    const folder = join(place.folder, "feeds");
    await using memory = await open({ cache: { folder } });
    const expected = await digests(memory);
    await using disk = await open({ cache: { folder, memoryBytes: 0 } });
    expect(await digests(disk)).toEqual(expected);
    const [cache] = await readdir(folder);
    const records = join(folder, cache!, "records");
    // Under an open feed that reads from disk …
    await using victim = await open({ cache: { folder, memoryBytes: 0 } });
    const bytes = await readFile(records);
    for (let at = 100; at < bytes.length; at += 1000) bytes[at]! ^= 1;
    await writeFile(records, bytes);
    expect(await digests(victim)).toEqual(expected);
    // … and before it is opened.
    await truncate(records, 1000);
    await using cut = await open({ cache: { folder } });
    expect(await digests(cut)).toEqual(expected);
    const index = join(folder, cache!, "index");
    const offsets = await readFile(index);
    offsets[9]! ^= 1;
    await writeFile(index, offsets);
    await using mended = await open({ cache: { folder } });
    expect(await digests(mended)).toEqual(expected);
  });

  test("keeps its caches below their bound, and those of a dataset go when rows are erased", async () => {
    const folder = join(place.folder, "bounded");
    for (const seed of [1, 2, 3]) {
      await using feed = await open({
        cache: { folder, maxBytes: 250_000 },
        columns: ["n"],
        where: `n % 3 <> ${seed}`,
      });
      expect(feed.columns).toEqual([{ name: "n", type: "int" }]);
    }
    expect((await readdir(folder)).length).toBe(2);
  });

  test("mixes datasets by weight", async () => {
    await using feed = await lake.feed(
      [
        { dataset: "t", weight: 1 },
        { dataset: "small", weight: 1 },
      ],
      { batch: 100, columns: ["n"], seed: 3 },
    );
    let small = 0;
    for (let step = 0; step < 40; step++) small += numbers(await feed.batch(step)).filter((n) => n < 100).length;
    // Half of 4,000 from the small one, and a fiftieth of the other half.
    expect(small).toBeGreaterThan(1980);
    expect(small).toBeLessThan(2120);
  });

  test("says what does not fit", async () => {
    await expect(open({ columns: ["m"] })).rejects.toMatchObject({ code: "usage", message: "`t` has no column `m`" });
    await expect(open({ split: "none" })).rejects.toMatchObject({ code: "usage" });
    await expect(open({ where: "nonsense" })).rejects.toMatchObject({ code: "usage" });
    await expect(
      lake.feed(["t", "small"], { columns: ["n", "f"] }).then((feed) => feed.batch(1e9)),
    ).rejects.toMatchObject({ code: "usage" });
    await using feed = await open();
    await expect(feed.batch(0, 0, 7)).rejects.toMatchObject({
      code: "usage",
      hint: "choose a batch that the number of ranks divides",
    });
  });
});

describe("over HTTP", () => {
  test("several clients at once, each at its own pace, each from where it was; web pages get nothing", async () => {
    await using feed = await open({ columns: ["n", "s"] });
    await using server = await serveFeed(feed);
    expect(await (await fetch(`${server.url}/v1/feed`)).json()).toMatchObject({
      rows: 3968,
      batch: 64,
      stepsPerEpoch: 62,
      steps: 62,
    });
    const read = async (query: string): Promise<number[]> => {
      const table = tableFromIPC(
        new Uint8Array(await (await fetch(`${server.url}/v1/feed/batches?${query}`)).arrayBuffer()),
      );
      return [...(table.getChild("n")!.toArray() as Int32Array)];
    };
    // One that never reads on does not hold up the others.
    const stuck = await fetch(`${server.url}/v1/feed/batches`);
    const [whole, rest, ...ranks] = await Promise.all([
      read(""),
      read("from=50"),
      read("rank=0&world=2"),
      read("rank=1&world=2"),
    ]);
    expect(whole).toHaveLength(3968);
    expect(rest).toEqual(whole.slice(50 * 64));
    const joined = Array.from({ length: 62 }, (_, step) =>
      ranks.flatMap((rank) => rank!.slice(step * 32, step * 32 + 32)),
    );
    expect(joined.flat()).toEqual(whole);
    expect(await read("from=10&to=12")).toEqual(whole.slice(640, 768));
    await stuck.body!.cancel();
    for (const query of ["rank=2&world=2", "world=3", "from=-1", "from=x", "worker=1"]) {
      const response = await fetch(`${server.url}/v1/feed/batches?${query}`);
      expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([400, "usage"]);
    }
    expect((await fetch(`${server.url}/v1/feed`, { headers: { origin: "http://evil.example" } })).status).toBe(403);
    expect((await fetch(`${server.url}/etc/passwd`)).status).toBe(404);
    expect((await fetch(`${server.url}/v1/feed`, { method: "POST" })).status).toBe(400);
  });

  test("batches larger than what the system buffers flow on", async () => {
    await using feed = await open({ batch: 2000, epochs: 20 });
    await using server = await serveFeed(feed);
    const response = await fetch(`${server.url}/v1/feed/batches`);
    let bytes = 0;
    for await (const chunk of response.body!) bytes += (chunk as Uint8Array).length;
    expect(bytes).toBeGreaterThan(10_000_000);
  });

  test("the version that is read stays, whatever the dataset becomes", async () => {
    await using feed = await open({ columns: ["n"] });
    const before = await digests(feed);
    await place.put("more.csv", ["n", "1"]);
    expect(await rowsOf(lake, "select count(*) from t")).toEqual([[rows]]);
    await lake.gc("t", { minimumAgeMs: -1 });
    expect(await digests(feed)).toEqual(before);
  });
});

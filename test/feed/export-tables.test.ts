import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { PythonEnvironment } from "../services/python.ts";
import { readers, readWith } from "./export/readers.ts";
import { makePlace, published } from "../pipeline/place.ts";
import { makeSubject, type Subject } from "./export/subject.ts";

let subject: Subject;
let python: PythonEnvironment;

beforeAll(async () => {
  // More than one vector of the engine.
  [subject, python] = await Promise.all([makeSubject(2500), readers()]);
  inOrder = await subject.stored();
}, 600_000);
afterAll(() => subject[Symbol.asyncDispose]());

/** The ids as they lie in the one data file. */
let inOrder: number[];

test.each([
  ["arrow", undefined],
  ["arrow", 4e5],
  ["parquet", 5e4],
] as const)("%s (%s): nested columns too, every value and type by pyarrow", async (format, shardBytes) => {
  const to = subject.at(`${format}-${shardBytes ?? "one"}`);
  const report = await subject.lake.export("t", { format, to, ...(shardBytes && { shardBytes }) });
  if (shardBytes === undefined) expect(report.files).toHaveLength(1);
  else expect(report.files.length).toBeGreaterThan(1);
  expect(JSON.parse(await readWith(python, "read_arrow.py", subject.source, join(to, `*.${format}`)))).toEqual(inOrder);
});

test("csv, tsv, jsonl and json: every value, null apart from the empty text, whole or in shards", async () => {
  const patterns: string[] = [];
  for (const format of ["csv", "tsv", "jsonl", "json"]) {
    for (const shardBytes of [undefined, 3e5]) {
      const to = subject.at(`${format}-${shardBytes ?? "one"}`);
      const report = await subject.lake.export("t", { format, to, ...(shardBytes && { shardBytes }) });
      expect(report.files.length > 1, format).toBe(shardBytes !== undefined);
      patterns.push(join(to, `t@*.${format}`));
      const { columns } = JSON.parse(await readFile(join(to, "manifest.json"), "utf8")) as {
        columns: { column: string; meaning?: string }[];
      };
      expect(columns.find(({ column }) => column === "raw")).toMatchObject({ as: format, meaning: "base64" });
    }
  }
  const read = (await readWith(python, "read_text.py", subject.source, ...patterns)).trim().split("\n");
  expect(read).toHaveLength(8);
  for (const ids of read) expect(JSON.parse(ids)).toEqual(inOrder);
});

test("the same version is the same bytes, which the manifest holds to", async () => {
  for (const options of [
    { format: "webdataset", shardBytes: 1e6 },
    { format: "mds", compression: "zstd" },
    { format: "tfrecord", order: "shuffle", seed: 3, compression: "gzip" },
    { format: "parquet", order: "shuffle" },
    { format: "parquet", shardBytes: 1e5 },
    { format: "csv", shardBytes: 5e5, split: "train" },
    { format: "json", shardBytes: 5e5, where: "isfinite(d)" },
    { format: "jsonl" },
    { format: "arrow", order: "shuffle" },
  ] as const) {
    const folders = [subject.at(`same-${options.format}-1`), subject.at(`same-${options.format}-2`)];
    const digests: string[] = [];
    for (const to of folders) {
      const report = await subject.lake.export("t", { ...options, to, force: true });
      const hash = createHash("sha256");
      const names = (await readdir(to)).toSorted();
      for (const name of names) hash.update(name).update(await readFile(join(to, name)));
      digests.push(hash.digest("hex"));
      const manifest = JSON.parse(await readFile(join(to, "manifest.json"), "utf8")) as { files: { path: string }[] };
      expect(manifest.files).toEqual(report.files);
      expect(names).toEqual([...report.files.map(({ path }) => path), "croissant.json", "manifest.json"].toSorted());
      for (const { path, bytes, sha256, rows: count } of report.files) {
        const content = await readFile(join(to, path));
        expect([content.length, createHash("sha256").update(content).digest("hex")]).toEqual([bytes, sha256]);
        if (path.endsWith(".json") && options.format === "json")
          expect(JSON.parse(content.toString())).toHaveLength(count);
      }
    }
    expect(digests[0], options.format).toBe(digests[1]);
  }
});

test("parquet: row groups of long rows are bounded in bytes, because one is in memory until it is written", async () => {
  await using place = await makePlace();
  await using engine = await place.engine();
  const rows = 150_000;
  await engine.export(
    `SELECT i AS id, repeat('x', 1000) || i AS text FROM range(${rows}) t(i)`,
    join(place.folder, "long.parquet"),
    "FORMAT parquet, ROW_GROUP_SIZE 8192",
  );
  await using lake = await place.open({ long: { from: { path: "long.parquet" } } });
  await published(lake.run("long"));
  const { files } = await lake.export("long", { format: "parquet", to: join(place.folder, "out") });
  const [found] = await engine.query(
    `SELECT sum(row_group_num_rows)::BIGINT AS rows, max(row_group_num_rows) AS most
     FROM parquet_metadata('${join(place.folder, "out", files[0]!.path)}') WHERE path_in_schema = 'id'`,
  );
  expect([Number(found!["rows"]), Number(found!["most"]) < 40_000]).toEqual([rows, true]);
});

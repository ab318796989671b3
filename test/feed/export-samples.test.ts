import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { PythonEnvironment } from "../services/python.ts";
import { readers, readWith } from "./export/readers.ts";
import { makeSubject, type Subject } from "./export/subject.ts";

/** More than one vector of the engine. */
const rows = 2500;
let subject: Subject;
let python: PythonEnvironment;

beforeAll(async () => {
  [subject, python] = await Promise.all([makeSubject(rows), readers()]);
  inOrder = await subject.stored();
}, 600_000);
afterAll(() => subject[Symbol.asyncDispose]());

/** The ids as they lie in the one data file. */
let inOrder: number[];

test("webdataset: every value by its own reader, in the stored order", async () => {
  const to = subject.at("wds");
  const report = await subject.lake.export("t", { format: "webdataset", to, shardBytes: 1e6 });
  expect(report.rows).toBe(rows);
  expect(report.files.length).toBeGreaterThan(3);
  for (const file of report.files) expect(file.bytes).toBeLessThanOrEqual(1e6);
  const read = await readWith(python, "read_webdataset.py", subject.source, "plain", join(to, "*.tar"));
  const found = JSON.parse(read) as number[];
  expect(found).toEqual(inOrder);
  // And by the system's tar, without a word of complaint.
  const listed = execFileSync("tar", ["tf", join(to, "000000.tar")], { encoding: "utf8" }).split("\n");
  expect(listed[0]).toBe("000000000.json");
});

test("webdataset: columns as files of their own, named samples, splits, shuffled", async () => {
  const to = subject.at("wds-files");
  const files = { n: "cls", vec: "npy", s: "txt", raw: "dat" };
  const options = {
    format: "webdataset",
    split: ["train", "test"],
    order: "shuffle",
    seed: 7,
    files,
    key: "u",
  } as const;
  const report = await subject.lake.export("t", { ...options, split: [...options.split], to });
  const read = async (split: string): Promise<number[]> =>
    JSON.parse(
      await readWith(python, "read_webdataset.py", subject.source, "files", join(to, split, "*.tar")),
    ) as number[];
  const [train, test] = [await read("train"), await read("test")];
  expect([...train, ...test].toSorted((left, right) => left - right)).toEqual(
    inOrder.toSorted((left, right) => left - right),
  );
  expect(train.length).toBe(
    report.files.filter(({ split }) => split === "train").reduce((sum, file) => sum + file.rows, 0),
  );
  // Out of order all over, not only here and there.
  expect(train.filter((id, place) => place > 0 && id > train[place - 1]!).length / train.length).toBeLessThan(0.55);
});

test("webdataset: names that ustar cannot hold", async () => {
  await using engine = await subject.place.engine();
  const name = "CASE WHEN i % 3 = 0 THEN 'ö' || i WHEN i % 3 = 1 THEN repeat('long', 40) || i ELSE 'dir/' || i END";
  await engine.export(
    `SELECT ${name} AS name, i AS id FROM range(30) t(i)`,
    subject.at("names.parquet"),
    "FORMAT parquet",
  );
  await using lake = await subject.place.open({ names: { from: { path: "names.parquet" } } });
  await lake.run("names");
  const to = subject.at("wds-names");
  await lake.export("names", { format: "webdataset", to, key: "name" });
  const script = `
import json, sys, tarfile, webdataset as wds
path = sys.argv[1]
print(json.dumps([[sample["__key__"], sample["json"]["name"]] for sample in wds.WebDataset(path, shardshuffle=False).decode()]))
print(json.dumps(tarfile.open(path).getnames()))`;
  const { runPython } = await import("../services/python.ts");
  const [samples, names] = (await runPython(python, script, [join(to, "000000.tar")]))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown) as [[string, string][], string[]];
  expect(samples).toHaveLength(30);
  for (const [key, value] of samples) expect(key).toBe(value);
  expect(names).toEqual(samples.map(([key]) => `${key}.json`));
  await expect(lake.export("names", { format: "webdataset", to, key: "id", where: "id < 3" })).resolves.toBeDefined();
  await expect(lake.export("names", { format: "webdataset", to, files: { name: "cls" } })).rejects.toMatchObject({
    code: "usage",
    where: { column: "name" },
  });
  await expect(subject.lake.export("t", { format: "webdataset", to: subject.at("k"), key: "s" })).rejects.toThrow(
    /values of `s` cannot name a sample/,
  );
});

test.each([
  ["exact", undefined],
  ["exact", "gzip"],
  ["float32", undefined],
] as const)("tfrecord (%s, %s): every value and checksum by its own reader", async (kind, compression) => {
  const to = subject.at(`tfr-${kind}-${compression ?? "plain"}`);
  const where = kind === "float32" ? { where: "id > 2" } : {};
  const report = await subject.lake.export("t", {
    format: "tfrecord",
    to,
    shardBytes: 3e5,
    ...where,
    ...(kind === "float32" && { float32: true }),
    ...(compression && { compression }),
  });
  expect(report.files.length).toBeGreaterThan(3);
  const read = JSON.parse(
    await readWith(python, "read_tfrecord.py", subject.source, kind, join(to, "*.tfrecord*")),
  ) as number[];
  expect(read).toEqual(kind === "float32" ? inOrder.filter((id) => id > 2) : inOrder);
  const spec = JSON.parse(await readFile(join(to, "feature_spec.json"), "utf8")) as {
    compression: string;
    features: Record<string, { kind: string; shape: unknown[]; optional: boolean }>;
  };
  expect(spec.compression).toBe(compression === "gzip" ? "GZIP" : "");
  expect(spec.features["vec"]).toMatchObject({ kind: "float_list", shape: [3], optional: false });
  expect(spec.features["ints"]).toMatchObject({ kind: "int64_list", shape: [null], optional: true });
  expect(spec.features["d"]).toMatchObject({ kind: kind === "float32" ? "float_list" : "bytes_list", optional: true });
});

test("mds, plain and zstd: every value and hash by its own reader", async () => {
  const jobs: string[] = [];
  for (const compression of [undefined, "zstd"]) {
    const to = subject.at(`mds-${compression ?? "plain"}`);
    const options = { format: "mds", to, shardBytes: 2e5, ...(compression && { compression }) };
    const report = await subject.lake.export("t", options);
    expect(report.files.length).toBeGreaterThan(3);
    for (const file of report.files) expect(file.bytes).toBeLessThanOrEqual(2e5);
    await subject.lake.export("t", { ...options, to: `${to}-splits`, split: ["test", "train"], order: "shuffle" });
    jobs.push(to, `${to}-splits:train`, `${to}-splits:test`);
  }
  const read = (await readWith(python, "read_mds.py", subject.source, ...jobs)).trim().split("\n");
  const orders = read.map((line) => JSON.parse(line) as number[]);
  expect(orders).toHaveLength(6);
  const sorted = (ids: number[]): number[] => ids.toSorted((left, right) => left - right);
  for (const at of [0, 3]) {
    expect(orders[at]).toEqual(inOrder);
    expect(sorted([...orders[at + 1]!, ...orders[at + 2]!])).toEqual(sorted(inOrder));
  }
});

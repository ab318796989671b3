/** A dataset → training shards: Millrace beside the Python writers of the formats, fed from the same Parquet file. `npm run bench -- export [few|pictures|many]`. */
import { DuckDBInstance } from "@duckdb/node-api";
import { existsSync, globSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { makeData } from "./data.ts";
import type { Digest } from "./digest.ts";
import { cache, dataFolder, publish, race, root, table, type Contestant, type Result } from "./harness.ts";
import { readers } from "../test/feed/export/readers.ts";

const out = join(cache, "bench-out", "export");
const node = process.execPath;
const kits = join(root, "test/feed/export");
const { python } = await readers();

/** Rows of 20 kB of bytes with a label and a caption: what a dataset of pictures is to a writer. */
async function makePictures(path: string, rows: number): Promise<void> {
  if (existsSync(path)) return;
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  const bytes = Array.from({ length: 20 }, (_, part) => `unhex(repeat(md5((i * 20 + ${part})::VARCHAR), 62))`).join(
    " || ",
  );
  await connection.run(
    `COPY (SELECT i AS id, (i % 1000)::BIGINT AS label, 'a picture of ' || i AS caption, ${bytes} AS image FROM range(${rows}) t(i)) TO '${path}.partial' (FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE 2048)`,
  );
  renameSync(`${path}.partial`, path);
}

/** The lake is made once; what is measured is the export alone. */
function makeLake(name: string, input: string): string {
  const lake = join(out, `lake-${name}`);
  rmSync(lake, { recursive: true, force: true });
  mkdirSync(lake, { recursive: true });
  const config = join(lake, "millrace.yaml");
  writeFileSync(config, `store: ./lake\nflows:\n  data:\n    from: { path: "${input}" }\n    mode: replace\n`);
  execFileSync(node, [join(root, "bin/millrace.mjs"), "run", "data", "--config", config], { stdio: "ignore" });
  return config;
}

interface Job extends Contestant {
  folder: string;
}

const writers: Record<string, string> = {
  webdataset: "webdataset.ShardWriter",
  tfrecord: "tfrecord.TFRecordWriter",
  mds: "streaming.MDSWriter",
  arrow: "pyarrow.ipc.new_file",
  parquet: "pyarrow.parquet.ParquetWriter",
  csv: "pyarrow.csv.CSVWriter",
  jsonl: "pandas.DataFrame.to_json",
};

function jobs(format: string, config: string, input: string): Job[] {
  const job = (name: string, folder: string, command: string[]): Job => ({
    name,
    folder,
    command,
    before: () => rmSync(folder, { recursive: true, force: true }),
    proof: () => JSON.parse(runKit("export_digest.py", format, folder)) as Digest,
  });
  const ours = join(out, `ours-${format}`);
  const theirs = join(out, `theirs-${format}`);
  const millrace = [node, join(root, "bin/millrace.mjs"), "export", "data", "--format", format, "--to", ours];
  return [
    job("millrace export", ours, [...millrace, "--config", config, "--json"]),
    job(`Python: ${writers[format]}`, theirs, [...kit("export_write.py"), format, input, theirs]),
  ];
}

const kit = (script: string): string[] => ["env", `PYTHONPATH=${kits}`, python, join(root, "bench/peers", script)];

function runKit(script: string, ...args: string[]): string {
  const [program, ...rest] = kit(script);
  return execFileSync(program!, [...rest, ...args], { encoding: "utf8" });
}

function rates(results: readonly Result[], made: readonly Job[], rows: number): string {
  const lines = ["| contestant | rows/s | MB/s | MB written |", "|---|---|---|---|"];
  for (const [index, { name, median }] of results.entries()) {
    const bytes = globSync(join(made[index]!.folder, "*")).reduce((sum, file) => sum + statSync(file).size, 0);
    const [perSecond, megabytes] = [rows / median.wall, bytes / 1e6];
    lines.push(
      `| ${name} | ${Math.round(perSecond).toLocaleString("en")} | ${(megabytes / median.wall).toFixed(0)} | ${megabytes.toFixed(0)} |`,
    );
  }
  return lines.join("\n");
}

mkdirSync(out, { recursive: true });
const folder = join(dataFolder, "export");
const few = join(folder, "few", "lineitem.parquet");
const many = join(folder, "many", "lineitem.parquet");
const pictures = join(folder, "pictures.parquet");
const [fewRows, manyRows, pictureRows] = [100_000, 1_000_000, 20_000];
await makeData(fewRows, ["lineitem.parquet"], join(folder, "few"));
await makeData(manyRows, ["lineitem.parquet"], join(folder, "many"));
await makePictures(pictures, pictureRows);
const samples = ["webdataset", "tfrecord", "mds"];
const which = process.argv[3] ?? "all";
for (const { name, what, input, rows, formats } of [
  { name: "few", what: "lineitem, 100 k × 16", input: few, rows: fewRows, formats: samples },
  { name: "pictures", what: "pictures, 20 k × 20 kB", input: pictures, rows: pictureRows, formats: samples },
  {
    name: "many",
    what: "lineitem, 1 M × 16",
    input: many,
    rows: manyRows,
    formats: ["arrow", "parquet", "csv", "jsonl"],
  },
]) {
  if (which !== "all" && which !== name) continue;
  const sections: { title: string; text: string }[] = [];
  const config = makeLake(name, input);
  for (const format of formats) {
    const made = jobs(format, config, input);
    const results = await race(made, 3);
    const text = `${table(results, "millrace export", rows)}\n\n${rates(results, made, rows)}`;
    sections.push({ title: `${format}: ${what}`, text });
    for (const { folder: written } of made) rmSync(written, { recursive: true, force: true });
  }
  publish(`export-${name}`, sections, { command: `export ${name}` });
}

/** A dataset → training shards: Millrace beside the Python writers of the formats, fed from the same Parquet file. */
import { DuckDBInstance } from "@duckdb/node-api";
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { makeData } from "./data.ts";
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
  mkdirSync(lake, { recursive: true });
  const config = join(lake, "millrace.yaml");
  writeFileSync(config, `store: ./lake\nflows:\n  data:\n    from: { path: "${input}" }\n    mode: replace\n`);
  execFileSync(node, [join(root, "bin/millrace.mjs"), "run", "data", "--config", config], { stdio: "ignore" });
  return config;
}

interface Job extends Contestant {
  folder: string;
}

function jobs(format: string, config: string, input: string): Job[] {
  const ours = join(out, `ours-${format}`);
  const theirs = join(out, `theirs-${format}`);
  const clear = (folder: string) => () => rmSync(folder, { recursive: true, force: true });
  return [
    {
      name: "millrace export",
      folder: ours,
      command: [
        node,
        join(root, "bin/millrace.mjs"),
        "export",
        "data",
        "--format",
        format,
        "--to",
        ours,
        "--config",
        config,
        "--json",
      ],
      before: clear(ours),
      proof: () => JSON.parse(readFileSync(join(ours, "manifest.json"), "utf8")) as { rows: number },
    },
    {
      name: `Python: ${{ webdataset: "webdataset.ShardWriter", tfrecord: "tfrecord.TFRecordWriter", mds: "streaming.MDSWriter" }[format]}`,
      folder: theirs,
      command: ["env", `PYTHONPATH=${kits}`, python, join(root, "bench/peers/export_write.py"), format, input, theirs],
      before: clear(theirs),
    },
  ];
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

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const tableRows = 300_000;
const pictureRows = 20_000;
await makeData(tableRows, ["lineitem.parquet"], join(dataFolder, "export"));
const lineitem = join(dataFolder, "export", "lineitem.parquet");
const pictures = join(dataFolder, "export", "pictures.parquet");
await makePictures(pictures, pictureRows);
const sections: { title: string; text: string }[] = [];
for (const [what, input, rows] of [
  ["lineitem, 300 k × 16", lineitem, tableRows],
  ["pictures, 20 k × 20 kB", pictures, pictureRows],
] as const) {
  const config = makeLake(what.startsWith("l") ? "table" : "pictures", input);
  for (const format of ["webdataset", "tfrecord", "mds"]) {
    const made = jobs(format, config, input);
    const results = await race(made, 3);
    sections.push({
      title: `${format}: ${what}`,
      text: `${table(results, "millrace export", rows)}\n\n${rates(results, made, rows)}`,
    });
  }
}
publish("export", sections);

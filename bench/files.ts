/** Files → dataset: Millrace with checks and commit, beside DuckDB's own COPY (the floor), Polars, dlt and Sling. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeData } from "./data.ts";
import { digest, lineitemTypes } from "./digest.ts";
import { cache, dataFolder, publish, python, race, root, table, type Contestant } from "./harness.ts";

const out = join(cache, "bench-out");
const node = process.execPath;
const slow = process.argv.includes("--all");

function millrace(input: string): Contestant {
  const lake = join(out, "lake");
  return {
    name: "millrace run (4 checks, commit)",
    command: [node, join(root, "bin/millrace.mjs"), "run", "lineitem", "--config", join(lake, "millrace.yaml")],
    before() {
      rmSync(lake, { recursive: true, force: true });
      mkdirSync(lake, { recursive: true });
      writeFileSync(
        join(lake, "millrace.yaml"),
        `store: ./lake
flows:
  lineitem:
    from: { path: "${input}" }
    mode: append
    checks:
      - { check: not-null, columns: [l_orderkey, l_partkey, l_suppkey] }
      - { check: range, column: l_quantity, min: 0, max: 1000 }
      - { check: allowed-values, column: l_returnflag, values: [A, N, R] }
      - { check: row-count, min: 1 }
`,
      );
    },
    proof: () => digest(join(lake, "lake/lineitem/data/*.parquet"), lineitemTypes),
  };
}

const duckdb = (reader: string, input: string, unordered: boolean): Contestant => {
  const target = join(out, "duckdb.parquet");
  return {
    name: unordered ? "DuckDB COPY, unordered" : "DuckDB COPY",
    command: [
      "env",
      ...(unordered ? ["UNORDERED=1"] : []),
      node,
      join(root, "bench/peers/duckdb-copy.mjs"),
      reader,
      input,
      target,
    ],
    before: () => rmSync(target, { force: true }),
    proof: () => digest(target, lineitemTypes),
  };
};

const polars = (kind: string, input: string): Contestant => {
  const target = join(out, "polars.parquet");
  return {
    name: "Polars scan → sink",
    command: [python, join(root, "bench/peers/polars_copy.py"), kind, input, target],
    before: () => rmSync(target, { force: true }),
    proof: () => digest(target, lineitemTypes),
  };
};

const dlt = (kind: string, input: string): Contestant => {
  const target = join(out, "dlt");
  return {
    name: "dlt filesystem → parquet",
    command: [python, join(root, "bench/peers/dlt_copy.py"), kind, input, target],
    before: () => rmSync(target, { recursive: true, force: true }),
    proof: () => digest(join(target, "bench/lineitem/*.parquet"), lineitemTypes),
  };
};

const sling = (input: string): Contestant => {
  // To CSV: for Parquet it downloads a program of its own.
  const target = join(out, "sling.csv");
  return {
    name: "Sling → CSV",
    command: [
      "env",
      "SLING_DISABLE_TELEMETRY=true",
      join(cache, "bench/bin/sling-linux-amd64"),
      "run",
      "--src-stream",
      `file://${input}`,
      "--tgt-object",
      `file://${target}`,
    ],
    before: () => rmSync(target, { recursive: true, force: true }),
    proof: () => digest(target, lineitemTypes, "read_csv"),
  };
};

await makeData();
mkdirSync(out, { recursive: true });
const rows = 6_000_000;
const input = (name: string): string => join(dataFolder, name);
const sections: { title: string; text: string }[] = [];
for (const [title, name, kind, reader, count] of [
  ["CSV, 750 MB, 6 M × 16", "lineitem.csv", "csv", "read_csv", rows],
  ["CSV gzip, 204 MB", "lineitem.csv.gz", "csv", "read_csv", rows],
  ["CSV zstd, 223 MB", "lineitem.csv.zst", "csv", "read_csv", rows],
  ["NDJSON, 542 MB, 1.5 M × 16", "lineitem.ndjson", "ndjson", "read_json", rows / 4],
  ["Parquet, 109 MB", "lineitem.parquet", "parquet", "read_parquet", rows],
] as const) {
  const contestants = [
    millrace(input(name)),
    duckdb(reader, input(name), false),
    duckdb(reader, input(name), true),
    polars(kind, input(name)),
  ];
  const results = await race(contestants, 5);
  if (name === "lineitem.csv" || slow) {
    // These take minutes: once after no warm-up says enough.
    const slower = [dlt(kind, input(name)), ...(kind === "csv" ? [sling(input(name))] : [])];
    for (const contestant of slower) results.push(...(await race([contestant], 1, false)));
  }
  sections.push({ title, text: table(results, "DuckDB COPY", count) });
}
// Memory must not grow with the input: the same rows eleven times over, in one file.
const large = input("lineitem-large.csv");
if (!existsSync(large)) {
  writeFileSync(`${large}.partial`, "");
  for (let copy = 0; copy < 11; copy++) {
    const skip = copy === 0 ? "1" : "2";
    execFileSync("bash", ["-c", `tail -n +${skip} '${input("lineitem.csv")}' >> '${large}.partial'`]);
  }
  renameSync(`${large}.partial`, large);
}
const [big] = await race([millrace(large)], 1, false);
rmSync(large);
sections.push({
  title: "CSV, 8.2 GB in one file, 66 M × 16",
  text: table([big!], big!.name, 66_000_000),
});
publish("files", sections);

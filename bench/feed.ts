/** The training feed: shuffled batches in process, over HTTP and over a Unix socket into Python, beside other loaders. `npm run bench -- feed [blobs|table]`. */
import { DuckDBInstance } from "@duckdb/node-api";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeData } from "./data.ts";
import { cache, dataFolder, publish, root, runOnce } from "./harness.ts";

const out = join(cache, "bench-out", "feed");
const python = join(cache, "bench-feed", "bin", "python");
const bin = join(root, "bin/millrace.mjs");
const which = process.argv[3] ?? "all";
const runs = Number(process.argv[4] ?? 3);

interface Read {
  /** Seconds from opening, and from the start of the process, to the first batch. */
  first: number;
  start: number;
  rows: number;
  checksum: string;
  timed: number;
  seconds: number;
  /** Of the process that reads. */
  cpu: number;
}

interface Loader {
  name: string;
  command(mode: string, report: string): string[];
  /** Reads fewer rows, or rows of another dataset, so its checksum is another. */
  differs?: string;
}

/** Rows of random bytes with a number. */
async function makeBlobs(path: string, rows: number): Promise<void> {
  if (existsSync(path)) return;
  mkdirSync(dataFolder, { recursive: true });
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  const bytes = Array.from({ length: 64 }, (_, part) => `unhex(md5((i * 64 + ${part})::VARCHAR))`).join(" || ");
  await connection.run(
    `COPY (SELECT i AS id, ${bytes} AS payload FROM range(${rows}) t(i)) TO '${path}.partial' (FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE 8192)`,
  );
  renameSync(`${path}.partial`, path);
}

function makeLake(name: string, input: string): string {
  const folder = join(out, `lake-${name}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const config = join(folder, "millrace.yaml");
  const cached = join(folder, "cache");
  writeFileSync(
    config,
    `store: ./lake\ncache: { path: "${cached}" }\nflows:\n  data:\n    from: { path: "${input}" }\n    mode: replace\n`,
  );
  execFileSync(process.execPath, [bin, "run", "data", "--config", config], { stdio: "ignore" });
  return config;
}

async function serve(
  config: string,
  batch: number,
  place: readonly string[],
): Promise<{ child: ChildProcess; url: string }> {
  const args = ["feed", "data", "--batch", String(batch), "--seed", "7", "--repeat", "--json", ...place];
  const child = spawn(process.execPath, [bin, ...args, "--config", config], { stdio: ["ignore", "pipe", "inherit"] });
  const [said] = (await once(child.stdout!, "data")) as [Buffer];
  return { child, url: (JSON.parse(said.toString()) as { url: string }).url };
}

/** Out of the memory of the system. False where that is not allowed. */
function forgetFiles(): boolean {
  try {
    execFileSync("sync");
    writeFileSync("/proc/sys/vm/drop_caches", "3");
    return true;
  } catch {
    return false;
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)]!;

function race(loaders: readonly Loader[], mode: "warm" | "cold", before: () => void): string {
  const reads = loaders.map((): { reads: Read[]; rss: number } => ({ reads: [], rss: 0 }));
  for (let round = 0; round < runs; round++) {
    for (const [index, loader] of loaders.entries()) {
      const report = join(out, "report.json");
      rmSync(report, { force: true });
      before();
      const { code, rss } = runOnce({ name: loader.name, command: loader.command(mode, report) });
      if (code !== 0 || !existsSync(report)) {
        console.error(`${loader.name} failed with ${code}`);
        continue;
      }
      reads[index]!.reads.push(JSON.parse(readFileSync(report, "utf8")) as Read);
      reads[index]!.rss = Math.max(reads[index]!.rss, rss);
    }
  }
  const ours = reads[0]!.reads[0]!;
  const rate = (all: readonly Read[]): number => median(all.map(({ timed, seconds }) => timed / seconds));
  const base = rate(reads[0]!.reads);
  const lines = [
    `| loader | rows/s (min–max) | ours in process ÷ it | CPU µs/row | first batch ms | from start ms | peak RSS MB |${mode === "warm" ? " rows | values |" : ""}`,
    `|---|---|---|---|---|---|---|${mode === "warm" ? "---|---|" : ""}`,
  ];
  for (const [index, { name, differs }] of loaders.entries()) {
    const { reads: all, rss } = reads[index]!;
    if (all.length === 0) {
      lines.push(`| ${name} | failed |`);
      continue;
    }
    const rates = all.map(({ timed, seconds }) => timed / seconds);
    const number = (value: number): string => Math.round(value).toLocaleString("en");
    const cells = [
      name,
      `${number(rate(all))} (${number(Math.min(...rates))}–${number(Math.max(...rates))})`,
      (base / rate(all)).toFixed(1),
      median(all.map(({ cpu, timed }) => (cpu * 1e6) / timed)).toFixed(2),
      (median(all.map(({ first }) => first)) * 1000).toFixed(0),
      (median(all.map(({ start }) => start)) * 1000).toFixed(0),
      (rss / 1e6).toFixed(0),
    ];
    if (mode === "warm") {
      cells.push(
        number(all[0]!.rows),
        differs ?? (all.every(({ checksum }) => checksum === ours.checksum) ? "same" : "OTHER"),
      );
    }
    lines.push(`| ${cells.join(" | ")} |`);
  }
  return lines.join("\n");
}

function peers(folder: string, source: string, batch: number, rows: number, names: readonly string[]): Loader[] {
  const titles: Record<string, string> = {
    lance: "Lance, `take` of a permutation",
    lancedb: "LanceDB, `Permutation`",
    hf: "HF datasets, `shuffle`, Arrow batches",
    dataloader: "PyTorch DataLoader, table of Parquet in memory, `take` a batch",
    mosaicml: "MosaicML Streaming, `naive` shuffle",
    webdataset: "WebDataset, shards and a buffer of 10,000",
  };
  return names.map((name): Loader => {
    const place =
      name === "dataloader"
        ? source
        : join(folder, { lance: "rows.lance", lancedb: "rows.lance", mosaicml: "mds" }[name] ?? name);
    return { name: titles[name]!, command: (mode, report) => pythonCommand(name, place, batch, rows, mode, report) };
  });
}

const pythonCommand = (
  loader: string,
  place: string,
  batch: number,
  rows: number,
  mode: string,
  report: string,
): string[] => [
  "env",
  `PYTHONPATH=${join(root, "test/feed/export")}`,
  python,
  join(root, "bench/peers/feed_read.py"),
  loader,
  place,
  String(batch),
  String(rows),
  mode,
  report,
];

interface Workload {
  name: string;
  title: string;
  input: string;
  batch: number;
  rows: number;
  peers: string[];
}

async function compare({
  name,
  title,
  input,
  batch,
  rows,
  peers: names,
}: Workload): Promise<{ title: string; text: string }[]> {
  const folder = join(cache, "bench-data", `feed-${name}`);
  execFileSync(
    "env",
    [`PYTHONPATH=${join(root, "test/feed/export")}`, python, join(root, "bench/peers/feed_prepare.py"), input, folder],
    {
      stdio: "inherit",
    },
  );
  const config = makeLake(name, input);
  const whole = Math.floor(rows / batch) * batch;
  const inProcess: Loader = {
    name: "millrace, in process",
    command: (mode, report) => [
      process.execPath,
      join(root, "bench/peers/feed_read.ts"),
      config,
      "data",
      String(batch),
      mode,
      report,
    ],
  };
  const others = peers(folder, input, batch, rows, names);
  const rowsCache = join(out, `lake-${name}`, "cache");
  const cold: Loader[] = [inProcess, ...others];
  const forgets = forgetFiles();
  const sections = [
    {
      title: `${title}: the first epoch${forgets ? ", files not in the memory of the system" : ""}, opening included; ours makes its cache of rows in it`,
      text: race(cold, "cold", () => {
        rmSync(rowsCache, { recursive: true, force: true });
        forgetFiles();
      }),
    },
  ];
  const http = await serve(config, batch, []);
  const unix = await serve(config, batch, ["--socket", join(out, "feed.sock")]);
  try {
    const served = [
      { name: "millrace, HTTP → Python", url: http.url },
      { name: "millrace, Unix socket → Python", url: unix.url },
    ].map((each): Loader => ({
      name: each.name,
      command: (mode, report) => pythonCommand("millrace", each.url, batch, rows, mode, report),
    }));
    sections.unshift({
      title: `${title}: the second epoch (${whole.toLocaleString("en")} rows)`,
      text: race([inProcess, ...served, ...others], "warm", () => undefined),
    });
  } finally {
    for (const { child } of [http, unix]) child.kill("SIGINT");
    await Promise.all([http, unix].map(({ child }) => once(child, "close")));
  }
  return sections;
}

mkdirSync(out, { recursive: true });
const blobs = join(dataFolder, "blobs.parquet");
await makeBlobs(blobs, 200_192);
await makeData(6_000_000, ["lineitem.parquet"]);
for (const workload of [
  {
    name: "blobs",
    title: "200 k × 1 KB, batch 256",
    input: blobs,
    batch: 256,
    rows: 200_192,
    peers: ["lance", "lancedb", "hf", "dataloader", "mosaicml", "webdataset"],
  },
  {
    name: "table",
    title: "lineitem, 6 M × 16, batch 8,000",
    input: join(dataFolder, "lineitem.parquet"),
    batch: 8000,
    rows: 6_000_000,
    peers: ["lance", "lancedb", "hf", "dataloader"],
  },
]) {
  if (which === "all" || which === workload.name)
    publish(`feed-${workload.name}`, await compare(workload), `feed ${workload.name}`);
}

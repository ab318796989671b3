/** The training feed: shuffled batches in process, over HTTP and over a Unix socket into Python, beside other loaders. `npm run bench -- feed [blobs|table]`. */
import { DuckDBInstance } from "@duckdb/node-api";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { makeData } from "./data.ts";
import { cache, dataFolder, publish, root } from "./harness.ts";
import { forgetFiles, makeLake, out, python, race, serve, type Loader } from "./loaders.ts";

const which = process.argv[3] ?? "all";
const runs = Number(process.argv[4] ?? 3);

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
      text: race(cold, "cold", runs, () => {
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
      text: race([inProcess, ...served, ...others], "warm", runs, () => undefined),
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
    publish(`feed-${workload.name}`, await compare(workload), { command: `feed ${workload.name}` });
}

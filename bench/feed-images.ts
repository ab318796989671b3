/** Training on 10,000 JPEG images: decoded, resized and shuffled, beside other loaders. `npm run bench -- feed-images`. */
import { DuckDBInstance } from "@duckdb/node-api";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { publish, root, runOnce } from "./harness.ts";
import { makeLake, out, python, serve } from "./loaders.ts";
import { files, images, makeImages, rows } from "./pictures.ts";

const batch = 64;
const parquet = join(images, "images.parquet");

async function makeParquet(): Promise<void> {
  if (existsSync(parquet)) return;
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  const number = "regexp_extract(filename, '(\\d+)\\.jpg$', 1)::BIGINT";
  await connection.run(
    `COPY (SELECT ${number} AS id, content AS photo FROM read_blob('${files}/*.jpg') ORDER BY 1) TO '${parquet}.partial' (FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE 1024)`,
  );
  renameSync(`${parquet}.partial`, parquet);
}

function makeShards(): void {
  const shards = join(images, "shards");
  if (existsSync(shards)) return;
  mkdirSync(`${shards}.partial`, { recursive: true });
  const script = `import os, sys, webdataset as wds
folder, out = sys.argv[1:]
with wds.ShardWriter(out + "/%06d.tar", maxsize=64e6, verbose=0) as writer:
    for name in sorted(os.listdir(folder)):
        writer.write({"__key__": name[:6], "jpg": open(os.path.join(folder, name), "rb").read()})`;
  execFileSync(python, ["-c", script, files, `${shards}.partial`], { stdio: "inherit" });
  renameSync(`${shards}.partial`, shards);
}

interface Read {
  /** Images a second, of the first epoch and of the second. */
  epochs: [number, number];
  rows: number;
  /** Of all samples. */
  mean: number;
}

/** A process that reads two epochs. */
function read(name: string, command: (report: string) => string[]): Read & { name: string; cpu: number; rss: number } {
  const report = join(out, "report.json");
  rmSync(report, { force: true });
  const { code, cpu, rss } = runOnce({ name, command: command(report) });
  if (code !== 0) throw new Error(`${name} failed with ${code}`);
  return { name, cpu, rss, ...(JSON.parse(readFileSync(report, "utf8")) as Read) };
}

const peer =
  (loader: string, place: string) =>
  (report: string): string[] => [
    python,
    join(root, "bench/peers/image_read.py"),
    loader,
    place,
    String(batch),
    String(rows),
    report,
  ];

mkdirSync(out, { recursive: true });
await makeImages();
await makeParquet();
makeShards();
const floor = read("sharp alone, a thread a core, no order", (report) => [
  process.execPath,
  join(root, "bench/peers/image_floor.ts"),
  files,
  String(batch),
  String(rows),
  report,
]);
const others = [
  read("PyTorch DataLoader, Pillow, 2 workers", peer("dataloader", files)),
  read("PyTorch DataLoader, Pillow with `draft`, 2 workers", peer("dataloader-draft", files)),
  read("WebDataset, Pillow with `draft`, 2 workers", peer("webdataset-draft", join(images, "shards"))),
];
const config = makeLake("images", parquet);
const begun = performance.now();
const image = ["--columns", "id,photo", "--image", "photo=224x224"];
const server = await serve(config, batch, image);
const made = (performance.now() - begun) / 1000;
try {
  const served = read("millrace, HTTP → Python", peer("millrace", server.url));
  const ours = { ...served, epochs: [rows / (made + served.rows / served.epochs[0]), served.epochs[1]] };
  const line = (one: { name: string; epochs: number[]; mean: number; cpu: number; rss: number }): string =>
    `| ${one.name} | ${one.epochs.map((rate) => Math.round(rate).toLocaleString("en")).join(" | ")} | ${(ours.epochs[1]! / one.epochs[1]!).toFixed(1)} | ${(one.rss / 1e6).toFixed(0)} | ${one.mean.toFixed(1)} |`;
  publish("feed-images", [
    {
      title: "10,000 JPEG images 500 × 375 → 224 × 224, batch 64, shuffled",
      text: [
        `The first epoch of ours is ${made.toFixed(1)} s of start, decoding and making the cache, then reading; from then on nothing is decoded.`,
        "",
        "| loader | images/s, first epoch | second | ours ÷ it, second | peak RSS MB | mean sample |",
        "|---|---|---|---|---|---|",
        ...[ours, ...others, floor].map(line),
      ].join("\n"),
    },
  ]);
} finally {
  server.child.kill("SIGINT");
  await once(server.child, "close");
  writeFileSync(join(out, "report.json"), "");
}

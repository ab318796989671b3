/**
 * Reads epochs of shuffled batches in process, as `feed_read.py` does with other loaders:
 * `node feed_read.ts <millrace.yaml> <dataset> <batch> warm|cold <report.json> [options of the feed as JSON]`.
 */
import { writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import type { FeedBatch, FeedColumn } from "../../src/feed/batch.ts";

const [config, dataset, batchText, mode, report, more = "{}"] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
const { openLake } = (await import("../../dist/index.js" as string)) as typeof import("../../src/index.ts");
let [cpu, timed] = [process.cpuUsage(), performance.now()];
const opened = timed;

function sumOf({ type, values, offsets }: FeedColumn): bigint {
  let sum = 0n;
  if (typeof type === "string" && type.startsWith("decimal")) {
    const words = new BigInt64Array(values.buffer, values.byteOffset, values.byteLength / 8);
    for (let at = 0; at < words.length; at += 2) sum += words[at]!;
  } else if (values instanceof BigInt64Array) for (const value of values) sum += value;
  else {
    let small = 0;
    const end = offsets?.at(-1) ?? values.length;
    for (let at = 0; at < end; at++) small += values[at] as number;
    sum = BigInt(small);
  }
  return sum;
}

/** The same for the same rows in any order and in any loader. */
function checksumOf({ columns, rows }: FeedBatch): bigint {
  const payload = columns.find(({ name }) => name === "payload");
  let total = 0n;
  if (payload === undefined) {
    const sorted = columns.toSorted((left, right) => (left.name < right.name ? -1 : 1));
    for (const [place, column] of sorted.entries()) total += BigInt(place + 1) * sumOf(column);
    return total;
  }
  const ids = columns.find(({ name }) => name === "id")!.values as BigInt64Array;
  const bytes = payload.values as Uint8Array;
  for (let row = 0; row < rows; row++) {
    total += (ids[row]! + 1n) * BigInt(crc32(bytes.subarray(payload.offsets![row], payload.offsets![row + 1])));
  }
  return total;
}

await using lake = await openLake({ folder: dirname(config) });
await using feed = await lake.feed(dataset, {
  batch: Number(batchText),
  seed: 7,
  epochs: 2,
  ...(JSON.parse(more) as object),
});
let first: number | undefined;
let [rows, total] = [0, 0n];
for await (const batch of feed.batches({ to: feed.stepsPerEpoch })) {
  first ??= performance.now();
  rows += batch.rows;
  if (mode === "warm") total += checksumOf(batch);
}
let seen = rows;
if (mode === "warm") {
  [cpu, timed, seen] = [process.cpuUsage(), performance.now(), 0];
  for await (const batch of feed.batches({ from: feed.stepsPerEpoch })) seen += batch.rows;
}
const used = process.cpuUsage(cpu);
const seconds = (performance.now() - timed) / 1000;
let resume = 0;
for (let time = 0; mode === "warm" && time < 20; time++) {
  const asked = performance.now();
  for await (const batch of feed.batches({ from: (time * 7919) % feed.steps })) {
    if (batch.rows > 0) break;
  }
  resume = Math.max(resume, (performance.now() - asked) / 1000);
}
writeFileSync(
  report,
  JSON.stringify({
    first: (first! - opened) / 1000,
    start: first! / 1000,
    rows,
    checksum: BigInt.asUintN(64, total).toString(16).padStart(16, "0"),
    timed: seen,
    seconds,
    cpu: (used.user + used.system) / 1e6,
    ...(mode === "warm" && { resume }),
  }),
);
process.exit(0);

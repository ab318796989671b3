/** What benches of the feed share: loaders of training data as whole processes, each epoch timed by itself. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cache, root, runOnce } from "./harness.ts";

export const out = join(cache, "bench-out", "feed");
/** With the loaders that `peers/setup.sh` installs. */
export const python = join(cache, "bench-feed", "bin", "python");
export const bin = join(root, "bin/millrace.mjs");

export interface Read {
  /** Seconds from opening, and from the start of the process, to the first batch. */
  first: number;
  start: number;
  rows: number;
  checksum: string;
  timed: number;
  seconds: number;
  /** Of the process that reads. */
  cpu: number;
  /** Ours: seconds from asking for a step anywhere in the epoch to its batch, the longest of 20. */
  resume?: number;
}

export interface Loader {
  name: string;
  command(mode: string, report: string): string[];
  /** Reads fewer rows, or rows of another dataset, so its checksum is another. */
  differs?: string;
}

export function makeLake(name: string, input: string): string {
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

export async function serve(
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
export function forgetFiles(): boolean {
  try {
    execFileSync("sync");
    writeFileSync("/proc/sys/vm/drop_caches", "3");
    return true;
  } catch {
    return false;
  }
}

export const median = (values: readonly number[]): number =>
  values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)]!;

export function race(loaders: readonly Loader[], mode: "warm" | "cold", runs: number, before: () => void): string {
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
    `| loader | rows/s (min–max) | ours in process ÷ it | CPU µs/row | first batch ms | from start ms | peak RSS MB |${mode === "warm" ? " resume ms | rows | values |" : ""}`,
    `|---|---|---|---|---|---|---|${mode === "warm" ? "---|---|---|" : ""}`,
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
      const resumed = all.flatMap(({ resume }) => resume ?? []);
      cells.push(
        resumed.length === 0 ? "" : (Math.max(...resumed) * 1000).toFixed(1),
        number(all[0]!.rows),
        differs ?? (all.every(({ checksum }) => checksum === ours.checksum) ? "same" : "OTHER"),
      );
    }
    lines.push(`| ${cells.join(" | ")} |`);
  }
  return lines.join("\n");
}

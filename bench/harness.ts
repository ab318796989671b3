/**
 * Side-by-side timing of whole processes: one warm-up of each, then A B C A B C …, medians and ratios.
 * Results are printed, and written to `bench/results/` with date and machine.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Digest } from "./digest.ts";

export const here = dirname(fileURLToPath(import.meta.url));
export const root = join(here, "..");
export const cache = join(root, ".cache");
export const dataFolder = join(cache, "bench-data");
export const python = join(cache, "bench/bin/python");

export interface Contestant {
  name: string;
  command: string[];
  /** Puts back what a run changes; not timed. */
  before?: () => void;
  /** Proof that the work was done. Called after the last run; those of one race that have a checksum must have the same. */
  proof?: () => Promise<Digest> | Digest;
  /** Rows of this contestant's input where it gets fewer than the others, because it would take too long: figures are scaled. */
  share?: number;
}

export interface Figures {
  wall: number;
  cpu: number;
  rss: number;
}

export interface Result {
  name: string;
  runs: Figures[];
  median: Figures;
  proof?: Digest;
  share: number;
  failed?: string;
}

const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

/** One run, measured from outside. */
export function runOnce(contestant: Contestant): Figures & { code: number } {
  contestant.before?.();
  const output = execFileSync("python3", [join(here, "measure.py"), ...contestant.command], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: 1 << 24,
  });
  return JSON.parse(output.trim().split("\n").at(-1)!) as Figures & { code: number };
}

export async function race(contestants: Contestant[], runs = 5, warm = true): Promise<Result[]> {
  const results = contestants.map((contestant): Result => ({
    name: contestant.name,
    runs: [],
    median: { wall: 0, cpu: 0, rss: 0 },
    share: contestant.share ?? 1,
  }));
  for (let round = warm ? 0 : 1; round <= runs; round++) {
    for (const [index, contestant] of contestants.entries()) {
      const result = results[index]!;
      if (result.failed !== undefined) continue;
      const { code, ...figures } = runOnce(contestant);
      if (code !== 0) result.failed = `exit code ${code}`;
      else if (round > 0) result.runs.push(figures);
    }
  }
  for (const [index, contestant] of contestants.entries()) {
    const result = results[index]!;
    if (result.failed !== undefined) continue;
    result.median = {
      wall: median(result.runs.map((run) => run.wall)),
      cpu: median(result.runs.map((run) => run.cpu)),
      rss: Math.max(...result.runs.map((run) => run.rss)),
    };
    const proof = await contestant.proof?.();
    if (proof !== undefined) result.proof = proof;
  }
  return results;
}

/** A table in Markdown; `floor` is the contestant that the others are divided by. */
export function table(results: readonly Result[], floor: string, inputRows: number): string {
  const base = results.find((result) => result.name === floor)!;
  // Ours is the first that has one: a peer that differs from it is shown, and the reader can tell which values it changed.
  const checksum = results.find((result) => result.share === 1 && result.proof?.checksum !== undefined)?.proof
    ?.checksum;
  const lines = [
    "| contestant | wall s | ÷ floor | CPU µs/row | peak RSS MB | rows out | values |",
    "|---|---|---|---|---|---|---|",
  ];
  for (const result of results) {
    if (result.failed !== undefined) lines.push(`| ${result.name} | failed: ${result.failed} | | | | | |`);
    else {
      const { wall, cpu, rss } = result.median;
      const spread = result.runs.map((run) => run.wall);
      const rows = inputRows * result.share;
      const spreadText =
        spread.length > 1 ? ` (${Math.min(...spread).toFixed(2)}–${Math.max(...spread).toFixed(2)})` : "";
      const values =
        result.proof?.checksum === undefined || result.share !== 1
          ? ""
          : result.proof.checksum === checksum
            ? "same"
            : "OTHER";
      lines.push(
        `| ${result.name} | ${wall.toFixed(2)}${spreadText} | ${(wall / result.share / base.median.wall).toFixed(2)} | ${((cpu * 1e6) / rows).toFixed(2)} | ${(rss / 1e6).toFixed(0)} | ${result.proof?.rows.toLocaleString("en") ?? ""} | ${values} |`,
      );
    }
  }
  return lines.join("\n");
}

/** Appends a section to `bench/results/<name>.md`. */
export function publish(name: string, sections: readonly { title: string; text: string }[], { command = name, timed = "whole processes, start included" } = {}): void {
  const folder = join(here, "results");
  mkdirSync(folder, { recursive: true });
  const cpu = cpus();
  const header = [
    `# ${name}`,
    "",
    `${new Date().toISOString().slice(0, 10)}, ${cpu.length} × ${cpu[0]!.model}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Node ${process.version}.`,
    `Median of the runs (minimum–maximum); ${timed}. \`npm run bench -- ${command}\` makes this page.`,
    "",
  ];
  const body = sections.map(({ title, text }) => `## ${title}\n\n${text}\n`).join("\n");
  writeFileSync(join(folder, `${name}.md`), `${header.join("\n")}\n${body}`);
  console.log(body);
}

export const version = (): string =>
  (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }).version;

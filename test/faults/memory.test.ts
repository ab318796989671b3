import { createWriteStream, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { type Ended, finish } from "./child.ts";
import { memoryGroupFolder, testWith } from "./needs.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, soak } from "./trust.ts";
import { loadLake } from "../support/lake.ts";

const test = await testWith("memory cgroups");
const mebibyte = 2 ** 20;

/** Runs a command line with no more memory than `megabytes`, page cache included; what is above is killed by the kernel. */
async function within(
  mebibytes: number,
  folder: string,
  args: readonly string[],
): Promise<{ ended: Ended; peak: number }> {
  const group = memoryGroupFolder(`millrace-test-${process.pid}-${mebibytes}`);
  mkdirSync(group);
  try {
    writeFileSync(join(group, "memory.limit_in_bytes"), String(mebibytes * mebibyte));
    const under = ["sh", "-c", `echo $$ > ${group}/cgroup.procs && exec "$@"`, "sh"];
    const ended = await finish({ program: "millrace.ts", args, cwd: folder, under, deadlineMs: 300_000 });
    return { ended, peak: Number(readFileSync(join(group, "memory.max_usage_in_bytes"), "utf8")) / mebibyte };
  } finally {
    await removeGroup(group);
  }
}

/** The kernel lets a group go a moment after its last process. */
async function removeGroup(group: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    try {
      rmdirSync(group);
      return;
    } catch {
      await sleep(20);
    }
  }
}

async function writeCsv(file: string, rows: number): Promise<void> {
  const stream = createWriteStream(file);
  stream.write("id,grp,text\n");
  for (let from = 0; from < rows; from += 10_000) {
    const lines = Array.from(
      { length: 10_000 },
      (_, index) =>
        `${from + index},${(from + index) % 977},${"some words that fill the line ".repeat(6)}${from + index}\n`,
    );
    if (!stream.write(lines.join(""))) await once(stream, "drain");
  }
  stream.end();
  await once(stream, "finish");
}

test(
  "a file larger than the memory arrives whole; with too little memory the run dies, and the next one completes",
  { timeout: 600_000 },
  () =>
    inScratch(async (folder) => {
      const [rows, cap] = soak ? [5_000_000, 800] : [3_500_000, 600];
      mkdirSync(join(folder, "in"));
      const csv = join(folder, "in/big.csv");
      await writeCsv(csv, rows);
      writeFileSync(
        join(folder, "millrace.yaml"),
        `store: ./lake\nengine: { memoryLimit: ${soak ? "500MB" : "200MB"}, threads: 2 }\nflows:\n  big:\n    from: { path: in/*.csv }\n    mode: append\n`,
      );
      const count = async (): Promise<unknown> => {
        await using lake = await loadLake(folder);
        if (!(await lake.catalog.exists("big"))) return 0;
        return (
          await lake.query(
            "SELECT count(*)::INT AS n, count(DISTINCT id)::INT AS ids, sum(id)::VARCHAR AS sum FROM big",
          )
        ).rows[0];
      };
      const starved = await within(60, folder, ["run", "big", "--json"]);
      expect(starved.ended.killed || starved.ended.code === 137 || /"code":"limit"/.test(starved.ended.errors)).toBe(
        true,
      );
      expect(await count()).toBe(0);

      const { ended, peak } = await within(cap, folder, ["run", "big", "--json"]);
      const violations: string[] = [];
      if (ended.code !== 0) violations.push(`${ended.code}: ${ended.errors.slice(0, 500)}`);
      const expected = { n: rows, ids: rows, sum: String((BigInt(rows) * BigInt(rows - 1)) / 2n) };
      if (ended.code === 0) expect(await count()).toEqual(expected);
      expect(statSync(csv).size).toBeGreaterThan(cap * mebibyte);
      const size = Math.round(statSync(csv).size / mebibyte);
      recordFault({
        area: "Memory",
        component: "run of files, append",
        fault: `cap of ${cap} MiB, input of ${size} MiB, peak ${Math.round(peak)} MiB with page cache`,
        fired: 1,
        violations: violations.length,
      });
      recordFault({
        area: "Memory",
        component: "run of files, append",
        fault: "killed by the kernel at 60 MiB",
        fired: 1,
        violations: 0,
      });
      expect(violations).toEqual([]);
    }),
);

import { existsSync, readdirSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { type Child, finish, start } from "./child.ts";
import { type MutantName, mutants } from "./mutants.ts";
import { offerFile, oracleFiles, type OracleLake, stepsOfRun } from "./oracle-lake.ts";
import { seeded } from "./random.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, recordMutant, soak } from "./trust.ts";
import { loadLake } from "../support/lake.ts";

const random = seeded("frozen");

/** A runner that stands still before step `at` of its run. Undefined when it ended first. */
async function frozenRunner(lake: OracleLake, at: number, mutant?: MutantName): Promise<Child | undefined> {
  const child = start({
    program: "millrace.ts",
    args: ["run", lake.flow, "--json"],
    cwd: lake.folder,
    mutant,
    steps: { at: [at], action: "pause" },
  });
  return (await child.paused()) === undefined ? undefined : child;
}

/** Makes the data files two days old, as if the runner had been at it for so long, and collects garbage. */
async function collectOld({ folder, flow }: OracleLake, mutant?: MutantName): Promise<void> {
  const longAgo = new Date(Date.now() - 48 * 3600 * 1000);
  for (const name of [flow, `${flow}__rejected`]) {
    const data = join(folder, "lake", name, "data");
    if (!existsSync(data)) continue;
    for (const file of readdirSync(data)) utimesSync(join(data, file), longAgo, longAgo);
    if (!existsSync(join(folder, "lake", name, "metadata"))) continue;
    const ended = await finish({ program: "millrace.ts", args: ["gc", name], cwd: folder, mutant });
    expect(ended.code, ended.errors).toBe(0);
  }
}

describe.each(["append", "merge"] as const)("a runner that sleeps while another one runs (%s)", (mode) => {
  let steps: number;
  beforeAll(async () => {
    steps = await stepsOfRun(mode);
  });

  test("wakes up and neither repeats nor undoes anything, wherever it slept", { timeout: 600_000 }, async () => {
    const violations: string[] = [];
    let fired = 0;
    const points = Array.from({ length: soak ? 16 : 4 }, () => random.between(1, steps - 1));
    for (const at of points) {
      await inScratch(async (folder) => {
        const lake = oracleFiles(folder, mode);
        offerFile(lake, 0, 200);
        await lake.run();
        offerFile(lake, 1, 200);
        const zombie = await frozenRunner(lake, at);
        if (zombie === undefined) return;
        fired++;
        // The successor takes the plan up, or makes its own; then more comes, and garbage is collected.
        await lake.run();
        offerFile(lake, 2, 100);
        await lake.run();
        {
          await using opened = await loadLake(folder);
          await opened.gc(lake.flow, { minimumAgeMs: 0 });
        }
        zombie.resume();
        const ended = await zombie.ended;
        const where = `asleep before step ${at}: `;
        if (ended.code !== 0 && !/"code":"(conflict|not-found|corrupt)"/.test(ended.errors)) {
          violations.push(`${where}${ended.errors.slice(0, 300)}`);
        }
        violations.push(...(await lake.tally()).violations.map((text) => where + text));
        offerFile(lake, 3, 50);
        await lake.run();
        violations.push(...(await lake.tally()).violations.map((text) => where + text));
      });
    }
    const finding = {
      area: "Frozen peers",
      component: `run of files, ${mode}`,
      fault: "a runner sleeps, another one runs, it wakes up",
    };
    recordFault({ ...finding, fired, violations: violations.length });
    expect(violations).toEqual([]);
    expect(fired).toBeGreaterThanOrEqual(points.length - 2);
  });

  test("garbage collected beside a long run takes nothing that it needs", { timeout: 600_000 }, async () => {
    const violations: string[] = [];
    let fired = 0;
    const points = Array.from({ length: soak ? 12 : 3 }, () => random.between(Math.floor(steps / 2), steps - 1));
    for (const at of points) {
      await inScratch(async (folder) => {
        const lake = oracleFiles(folder, mode);
        offerFile(lake, 0, 200);
        await lake.run();
        offerFile(lake, 1, 200);
        const sleeper = await frozenRunner(lake, at);
        if (sleeper === undefined) return;
        fired++;
        await collectOld(lake);
        sleeper.resume();
        const ended = await sleeper.ended;
        if (ended.code !== 0) violations.push(`gc before step ${at}: ${ended.errors.slice(0, 300)}`);
        await lake.run();
        violations.push(...(await lake.tally()).violations.map((text) => `gc before step ${at}: ${text}`));
      });
    }
    const finding = {
      area: "Frozen peers",
      component: `run of files, ${mode}`,
      fault: "gc beside a runner that sleeps for two days",
    };
    recordFault({ ...finding, fired, violations: violations.length });
    expect(violations).toEqual([]);
    expect(fired).toBeGreaterThanOrEqual(points.length - 2);
  });
});

test("a build whose gc does not know of runs is noticed", { timeout: 120_000 }, async () => {
  const mutant = "gc-ignores-runs";
  const steps = await stepsOfRun("append");
  const isCaughtAt = (share: number): Promise<boolean> =>
    inScratch(async (folder) => {
      const lake = oracleFiles(folder, "append");
      offerFile(lake, 0, 200);
      await lake.run();
      offerFile(lake, 1, 200);
      const sleeper = await frozenRunner(lake, Math.floor(steps * share));
      if (sleeper === undefined) return false;
      await collectOld(lake, mutant);
      sleeper.resume();
      return (await sleeper.ended).code !== 0;
    });
  let caught = false;
  for (const share of [0.75, 0.7, 0.8, 0.65, 0.85, 0.6]) caught ||= await isCaughtAt(share);
  recordMutant({ mutant, without: mutants[mutant].without, by: "gc beside a runner that sleeps for two days", caught });
  expect(caught).toBe(true);
});

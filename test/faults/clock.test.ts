import { describe, expect } from "vitest";
import { finish } from "./child.ts";
import { testWith } from "./needs.ts";
import { offerFile, oracleFiles, stepsOfRun } from "./oracle-lake.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, soak } from "./trust.ts";
import { loadLake } from "../support/lake.ts";

const test = await testWith("faketime");

/** What the clock of each run says, one after the other. */
const clocks = [
  ["ahead by an hour", "+1h"],
  ["back by an hour", "-1h"],
  ["1970", "@1970-01-02 00:00:00"],
  ["after 2038", "@2040-02-29 12:00:00"],
  ["back from there", "-30d"],
  ["the end of the 100th century", "@9999-12-31 23:59:00"],
  ["right again", "+0"],
] as const;

describe("a clock that jumps", () => {
  test("between runs: versions stay in order, every id is new, nothing is lost", { timeout: 240_000 }, () =>
    inScratch(async (folder) => {
      const lake = oracleFiles(folder, "merge");
      const violations: string[] = [];
      const seen: string[] = [];
      let fired = 0;
      for (const [index, [name, clock]] of (soak ? [...clocks, ...clocks] : clocks).entries()) {
        offerFile(lake, index, 120, lake.ledger.next > 0 ? [1, 2, 100 + index] : []);
        const under = ["faketime", "-f", clock];
        const program = { program: "millrace.ts", args: ["run", lake.flow, "--json"], cwd: folder, under };
        const ended = await finish({ ...program, steps: { at: index % 3 === 1 ? [400] : [], action: "kill" } });
        // The one that was killed goes on by the right clock.
        if (ended.killed) await lake.run();
        else if (ended.code !== 0) violations.push(`${name}: ${ended.errors.slice(0, 500)}`);
        else seen.push((JSON.parse(ended.lines.join("")) as { runs: { startedAt: string }[] }).runs[0]!.startedAt);
        fired++;
        violations.push(...(await lake.tally()).violations.map((text) => `${name}: ${text}`));
      }
      await using opened = await loadLake(folder);
      const versions = await opened.history(lake.flow);
      expect(versions.map((version) => version.number)).toEqual(versions.map((_, index) => index + 1));
      expect(new Set(versions.map((version) => version.snapshotId)).size).toBe(versions.length);
      const times = versions.map((version) => version.time);
      expect(times).toEqual(times.toSorted((left, right) => left - right));
      recordFault({
        area: "Clocks",
        component: "run of files, merge",
        fault: "the clock of each run is another",
        fired,
        violations: violations.length,
      });
      expect(violations).toEqual([]);
      // The runs really had these clocks.
      expect(new Set(seen.map((time) => time.slice(0, 4))).size).toBeGreaterThanOrEqual(3);
    }),
  );

  test("of the collector: what a run has staged and what versions name stays", { timeout: 120_000 }, () =>
    inScratch(async (folder) => {
      const lake = oracleFiles(folder, "append");
      offerFile(lake, 0, 200);
      await lake.run();
      offerFile(lake, 1, 200);
      const program = { program: "millrace.ts", cwd: folder };
      // Something is staged by then.
      const at = Math.floor((await stepsOfRun("append")) * 0.7);
      const killed = await finish({ ...program, args: ["run", lake.flow], steps: { at: [at], action: "kill" } });
      const violations: string[] = [];
      for (const clock of ["+2d", "-2d", "@2040-01-01 00:00:00", "@1970-01-02 00:00:00"]) {
        const ended = await finish({ ...program, args: ["gc", lake.flow], under: ["faketime", "-f", clock] });
        if (ended.code !== 0) violations.push(`${clock}: ${ended.errors}`);
      }
      await lake.run();
      violations.push(...(await lake.tally()).violations);
      recordFault({
        area: "Clocks",
        component: "gc",
        fault: "its clock is days off",
        fired: 4,
        violations: violations.length,
      });
      expect(violations).toEqual([]);
      expect(killed.killed).toBe(true);
    }),
  );
});

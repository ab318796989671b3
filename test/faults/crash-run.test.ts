import { cpSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { ChildOptions } from "./child.ts";
import { testWith } from "./needs.ts";
import { offerFile, oracleFiles, type OracleLake } from "./oracle-lake.ts";
import { seeded } from "./random.ts";
import { durableCalls, inScratch, pointsOf, runWithFault, sample } from "./sweep.ts";
import { recordFault, soak } from "./trust.ts";

const test = await testWith("strace", "ptrace");
const random = seeded("crash-run");

test.each(["append", "merge"] as const)(
  "killed at any durable call of a whole run (%s), the next run gives what one run gives",
  { timeout: 900_000 },
  (mode) =>
    inScratch(async (folder) => {
      // A lake with one version, kept aside; each crash begins with a copy of it in the same place.
      const place = join(folder, "lake");
      const kept = join(folder, "kept");
      const lake: OracleLake = oracleFiles(place, mode);
      offerFile(lake, 0, 200);
      await lake.run();
      const before = lake.ledger.good;
      offerFile(lake, 1, 150, mode === "merge" ? [3, 4, 5, 180] : []);
      offerFile(lake, 2, 50);
      renameSync(place, kept);
      const restore = (): void => {
        rmSync(place, { recursive: true, force: true });
        cpSync(kept, place, { recursive: true });
      };
      const program: ChildOptions = { program: "millrace.ts", args: ["run", lake.flow, "--json"], cwd: place };

      const all = await pointsOf(program, durableCalls, restore);
      const points = sample(all, soak ? 90 : 6, random, soak ? 4 : 1);
      const byKind = new Map<string, { fired: number; violations: string[] }>();
      for (const point of points) {
        restore();
        const ended = await runWithFault(program, point);
        const kind = byKind.get(point.kind.name) ?? { fired: 0, violations: [] };
        byKind.set(point.kind.name, kind);
        if (ended.killed) kind.fired++;
        else expect(ended.code, ended.errors).toBe(0);
        const where = `${mode}, ${point.kind.name} ${point.number}: `;
        const rows = await lake.rows();
        if (rows !== before && rows !== lake.ledger.good) kind.violations.push(`${where}${rows} rows are visible`);
        if (ended.lines.length > 0 && rows !== lake.ledger.good)
          kind.violations.push(`${where}acknowledged, but not there`);
        await lake.run();
        kind.violations.push(...(await lake.tally()).violations.map((text) => where + text));
        expect(await lake.run()).toMatchObject({ status: "unchanged" });
        const left = readdirSync(join(place, "lake/runs"), { recursive: true, withFileTypes: true });
        const unended = left.filter((one) => one.isFile() && one.name !== "report.json" && one.name !== "cancelled");
        kind.violations.push(...unended.map((one) => `${where}${one.parentPath}/${one.name} is left`));
      }
      for (const [kind, { fired, violations }] of byKind) {
        const component = `run of files, ${mode}`;
        recordFault({ area: "Crashes", component, fault: `SIGKILL at ${kind}`, fired, violations: violations.length });
      }
      expect([...byKind.values()].flatMap(({ violations }) => violations)).toEqual([]);
      const fired = [...byKind.values()].reduce((sum, kind) => sum + kind.fired, 0);
      expect(fired).toBeGreaterThanOrEqual(points.length * 0.7);
    }),
);

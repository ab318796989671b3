import { cpSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type ChildOptions, finish } from "./child.ts";
import { mutants } from "./mutants.ts";
import { offerFile, oracleFiles, type OracleLake } from "./oracle-lake.ts";
import { seeded } from "./random.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, recordMutant, soak } from "./trust.ts";

const random = seeded("kills-files");
const wanted = soak ? { kills: 100, records: 15_000 } : { kills: 12, records: 2_500 };

const command = ({ folder, flow }: OracleLake): ChildOptions => ({
  program: "millrace.ts",
  args: ["run", flow, "--json"],
  cwd: folder,
});

describe.each(["append", "merge"] as const)("runs of files that are killed (%s)", (mode) => {
  test(
    `${wanted.records} records through ${wanted.kills} kills at random steps: none lost, none twice`,
    { timeout: 900_000 },
    () =>
      inScratch(async (folder) => {
        const lake = oracleFiles(folder, mode);
        let [kills, acknowledgements, steps] = [0, 0, 400];
        const violations: string[] = [];
        for (let round = 0; kills < wanted.kills || lake.ledger.offered < wanted.records; round++) {
          const before = await lake.rows();
          const { next } = lake.ledger;
          const touched = mode === "merge" && next > 0 ? random.sample(Array(next).keys().toArray(), 20) : [];
          offerFile(lake, 2 * round, 250, touched);
          offerFile(lake, 2 * round + 1, 150);
          // Several kills of the same run, each somewhere in what a whole run does.
          for (let kill = 0; kill < 4; kill++) {
            const at = [random.between(1, steps)];
            const ended = await finish({ ...command(lake), steps: { at, action: "kill" } });
            if (!ended.killed) {
              expect(ended.code, ended.errors).toBe(0);
              if (kill === 0) steps = ended.steps;
              break;
            }
            kills++;
            // Readers see the version before or the version after.
            const rows = await lake.rows();
            if (rows !== before && rows !== lake.ledger.good)
              violations.push(`round ${round}: ${rows} rows are visible`);
          }
          await lake.run();
          acknowledgements++;
          const tally = await lake.tally();
          violations.push(...tally.violations.map((text) => `round ${round}: ${text}`));
          if (violations.length > 0) break;
        }
        const { acknowledged, lost, duplicated } = await lake.tally();
        recordFault({
          area: "Kills of whole runs",
          component: `run of files, ${mode}`,
          fault: "SIGKILL of the runner at a random step",
          fired: kills,
          violations: violations.length,
          records: { acknowledged, lost, duplicated },
        });
        expect(violations).toEqual([]);
        expect({ lost, duplicated }).toEqual({ lost: 0, duplicated: 0 });
        expect(kills).toBeGreaterThanOrEqual(wanted.kills);
        expect(acknowledged).toBeGreaterThanOrEqual(wanted.records);
        expect(acknowledgements).toBeGreaterThan(5);
      }),
  );
});

test("the ledger notices a build whose position moves ahead of the data", { timeout: 120_000 }, () =>
  inScratch(async (folder) => {
    const mutant = "position-ahead-of-data";
    const [place, kept] = [join(folder, "lake"), join(folder, "kept")];
    const lake = oracleFiles(place, "append");
    const run = (at: number[]): ReturnType<typeof finish> =>
      finish({ ...command(lake), mutant, steps: { at, action: "kill" } });
    offerFile(lake, 0, 100);
    const { steps, code, errors } = await run([]);
    expect(code, errors).toBe(0);
    offerFile(lake, 1, 100);
    renameSync(place, kept);
    let caught = false;
    // The commits come near the end of a run.
    for (const share of [0.9, 0.88, 0.92, 0.86, 0.94, 0.84, 0.96, 0.82, 0.98, 0.8, 0.78, 0.76, 0.74, 0.72, 0.7]) {
      rmSync(place, { recursive: true, force: true });
      cpSync(kept, place, { recursive: true });
      await run([Math.round(steps * share)]);
      await lake.run();
      caught = (await lake.tally()).lost > 0;
      if (caught) break;
    }
    recordMutant({ mutant, without: mutants[mutant].without, by: "ledger through kills of whole runs", caught });
    expect(caught).toBe(true);
  }),
);

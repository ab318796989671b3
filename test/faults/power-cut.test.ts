import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { beforeAll, expect } from "vitest";
import { type ChildOptions, finish } from "./child.ts";
import { goThrough, look, openWorkbench, problemsOf, statesOf, steps as historySteps } from "./history.ts";
import { type MutantName, mutants } from "./mutants.ts";
import { testWith } from "./needs.ts";
import { offerFile, oracleFiles, stepsOfRun } from "./oracle-lake.ts";
import { afterPower, type Cut, cutAt, makeDisk } from "./power.ts";
import { seeded } from "./random.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, recordMutant, soak } from "./trust.ts";

const test = await testWith("mkfs.ext4", "loop devices");
const random = seeded("power-cut");
const cutsWanted = soak ? 40 : 8;

let states: string[];
beforeAll(async () => {
  states = await inScratch(statesOf);
});

/** What is wrong after a cut: an acknowledged step that is not there, a damaged file, or a history that does not go on. */
function judge(cut: Cut): Promise<string[]> {
  return afterPower(cut.image, async (place) => {
    const acknowledged = Number(cut.lines.at(-1) ?? 0);
    const where = `cut before step ${cut.step}, ${acknowledged} acknowledged: `;
    try {
      await using bench = await openWorkbench(join(place, "lake"));
      const seen = await look(bench);
      const allowed = states.slice(acknowledged, acknowledged + 2);
      const wrong = await problemsOf(bench);
      if (!allowed.includes(seen)) wrong.push(`reads ${seen} instead of ${allowed.join(" or ")}`);
      if (wrong.length > 0) return wrong.map((text) => where + text);
      await goThrough(bench, acknowledged, () => undefined);
      return (await look(bench)) === states.at(-1) ? [] : [`${where}the history ends differently`];
    } catch (error) {
      return [where + String(error)];
    }
  });
}

/** Goes through the history on a disk of its own and cuts the power at random steps; the cuts are judged in order. */
function cutHistory(count: number, mutant?: MutantName): Promise<{ cuts: number; violations: string[] }> {
  return inScratch(async (folder) => {
    const program = (root: string): ChildOptions => ({ program: "history.ts", args: [root, "0"], mutant });
    const whole = await finish(program(join(folder, "rehearsal")));
    expect(whole.code, whole.errors).toBe(0);
    // Right after each acknowledgement, and anywhere.
    const anywhere = random.sample(Array(whole.steps).keys().toArray(), count);
    const at = [...new Set([...whole.outputs, ...anywhere].map((step) => step + 1))];
    let cuts: Cut[];
    {
      using disk = makeDisk(folder);
      const done = await cutAt(disk, program(join(disk.place, "lake")), at);
      expect(done.ended.code, done.ended.errors).toBe(0);
      ({ cuts } = done);
    }
    const violations: string[] = [];
    for (const cut of cuts) {
      violations.push(...(await judge(cut)));
      if (mutant !== undefined && violations.length > 0) break;
    }
    return { cuts: cuts.length, violations };
  });
}

test(
  "the power is cut anywhere in the history of a dataset: what was acknowledged is there",
  { timeout: 600_000 },
  async () => {
    const { cuts, violations } = await cutHistory(cutsWanted);
    const component = "dataset: append, merge, evolve, compact, tag, rollback, gc, alter";
    recordFault({
      area: "Power cuts",
      component,
      fault: "image of a mounted ext4",
      fired: cuts,
      violations: violations.length,
    });
    expect(violations).toEqual([]);
    expect(cuts).toBeGreaterThanOrEqual(cutsWanted - 1);
    expect(states.length).toBe(historySteps.length + 1);
  },
);

test("the power is cut anywhere in whole runs: what was acknowledged is there once", { timeout: 600_000 }, () =>
  inScratch(async (folder) => {
    const violations: string[] = [];
    const judged: { before: number; cut: Cut }[] = [];
    let ledger: ReturnType<typeof oracleFiles>["ledger"];
    let records = { acknowledged: 0, lost: 0, duplicated: 0 };
    let good = 0;
    const steps = await stepsOfRun("merge");
    {
      using disk = makeDisk(folder, 96);
      const lake = oracleFiles(join(disk.place, "lake"), "merge");
      ({ ledger } = lake);
      offerFile(lake, 0, 300);
      await lake.run();
      const before = ledger.good;
      offerFile(lake, 1, 300, [7, 8, 9]);
      // The source is not what is tested: it is on the disk before the power goes.
      execFileSync("sync", ["-f", lake.folder]);
      const at = random.sample(Array(steps).keys().toArray(), cutsWanted).filter((step) => step > 0);
      const program = { program: "millrace.ts", args: ["run", lake.flow, "--json"], cwd: lake.folder };
      const { cuts, ended } = await cutAt(disk, program, at);
      expect(ended.code, ended.errors).toBe(0);
      judged.push(...cuts.map((cut) => ({ before, cut })));
      // And once more when it has said that all is published.
      judged.push({ before: -1, cut: { image: disk.cut("last"), step: ended.steps, lines: ended.lines } });
      ({ good } = ledger);
    }
    for (const { before, cut } of judged) {
      await afterPower(cut.image, async (place) => {
        const lake = oracleFiles(join(place, "lake"), "merge", ledger);
        const where = `cut before step ${cut.step}: `;
        const rows = await lake.rows();
        if (rows !== before && rows !== good) violations.push(`${where}${rows} rows are visible`);
        if (cut.lines.length > 0 && rows !== good) violations.push(`${where}acknowledged, but not there`);
        await lake.run();
        const tally = await lake.tally();
        violations.push(...tally.violations.map((text) => where + text));
        records = {
          acknowledged: tally.acknowledged,
          lost: records.lost + tally.lost,
          duplicated: records.duplicated + tally.duplicated,
        };
      });
    }
    const finding = { area: "Power cuts", component: "run of files, merge", fault: "image of a mounted ext4" };
    recordFault({ ...finding, fired: judged.length, violations: violations.length, records });
    expect(violations).toEqual([]);
    expect(judged.length).toBeGreaterThanOrEqual(cutsWanted - 2);
  }),
);

test.each(["folder-not-synced", "file-not-synced"] as const)(
  "power cuts notice a build with %s",
  { timeout: 600_000 },
  async (name) => {
    const { violations } = await cutHistory(4, name);
    const caught = violations.length > 0;
    recordMutant({
      mutant: name,
      without: mutants[name].without,
      by: "power cuts in the history of a dataset",
      caught,
    });
    expect(caught).toBe(true);
  },
);

import { rmSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect } from "vitest";
import { finish } from "./child.ts";
import { goThrough, look, openWorkbench, orphansOf, problemsOf, statesOf, steps } from "./history.ts";
import { type MutantName, mutants } from "./mutants.ts";
import { testWith } from "./needs.ts";
import { seeded } from "./random.ts";
import { durableCalls, inScratch, type Point, pointsOf, runWithFault, sample } from "./sweep.ts";
import { recordFault, recordMutant, soak } from "./trust.ts";

const test = await testWith("strace", "ptrace");
const random = seeded("crash-dataset");

let states: string[];
beforeAll(async () => {
  states = await inScratch(statesOf);
});

interface Outcome {
  killed: boolean;
  acknowledged: number;
  violations: string[];
}

/** Kills the history at the point, looks at what is there, and lets it go on to its end. */
function crashAt(point: Point, mutant?: MutantName): Promise<Outcome> {
  return inScratch(async (root) => {
    const ended = await runWithFault({ program: "history.ts", args: [root, "0"], mutant }, point);
    if (!ended.killed && ended.code !== 0) throw new Error(`${point.kind.name} ${point.number}: ${ended.errors}`);
    const acknowledged = Number(ended.lines.at(-1) ?? 0);
    const violations: string[] = [];
    await using bench = await openWorkbench(root);
    const check = async (allowed: readonly string[]): Promise<void> => {
      try {
        const seen = await look(bench);
        if (!allowed.includes(seen)) violations.push(`reads ${seen} instead of ${allowed.join(" or ")}`);
        violations.push(...(await problemsOf(bench)));
      } catch (error) {
        violations.push(String(error));
      }
    };
    await check(states.slice(acknowledged, acknowledged + 2));
    if (violations.length === 0) {
      // A mutant goes on as a mutant.
      if (mutant === undefined) await goThrough(bench, acknowledged, () => undefined);
      else await finish({ program: "history.ts", args: [root, String(acknowledged)], mutant });
      await check(states.slice(-1));
    }
    if (violations.length === 0) {
      violations.push(...(await orphansOf(bench)).map((path) => `${path} stays for ever`));
    }
    const where = `${mutant ?? "killed"} at ${point.kind.name} ${point.number} after ${acknowledged} steps: `;
    return { killed: ended.killed, acknowledged, violations: violations.map((text) => where + text) };
  });
}

test(
  "killed at any durable call of commit, merge, evolve, compact, tag, rollback, gc and alter, no acknowledged step is lost and the history ends the same",
  { timeout: 900_000 },
  async () => {
    expect(new Set(states).size).toBe(steps.length + 1);
    const all = await inScratch((folder) => {
      const root = join(folder, "lake");
      const prepare = (): void => rmSync(root, { recursive: true, force: true });
      return pointsOf({ program: "history.ts", args: [root, "0"] }, durableCalls, prepare);
    });
    const points = soak ? all : sample(all, 12, random, 2);
    const byKind = new Map<string, { fired: number; violations: string[] }>();
    const interrupted = new Set<number>();
    for (const point of points) {
      const { killed, acknowledged, violations } = await crashAt(point);
      const kind = byKind.get(point.kind.name) ?? { fired: 0, violations: [] };
      byKind.set(point.kind.name, kind);
      if (killed) {
        kind.fired++;
        interrupted.add(acknowledged);
      }
      kind.violations.push(...violations);
    }
    for (const [kind, { fired, violations }] of byKind) {
      const component = "dataset: append, merge, evolve, compact, tag, rollback, gc, alter";
      const fault = `SIGKILL at ${kind}`;
      recordFault({ area: "Crashes", component, fault, fired, violations: violations.length });
    }
    expect([...byKind.values()].flatMap(({ violations }) => violations)).toEqual([]);
    // A sweep that kills nothing proves nothing.
    const fired = [...byKind.values()].reduce((sum, kind) => sum + kind.fired, 0);
    expect(fired).toBeGreaterThanOrEqual(points.length * 0.8);
    expect(interrupted.size).toBeGreaterThanOrEqual(Math.min(5, steps.length));
  },
);

const caught: [MutantName, string][] = [
  ["acknowledged-before-published", "link"],
  ["manifests-after-metadata", "rename"],
  ["run-not-recognised", "rename"],
];

test.each(caught)("the sweep notices a build that is %s", { timeout: 300_000 }, async (name, kindName) => {
  const kind = durableCalls.find((one) => one.name === kindName)!;
  let found = false;
  for (let number = 1; number <= 18 && !found; number++) {
    found = (await crashAt({ kind, number }, name)).violations.length > 0;
  }
  const by = `crash sweep of the dataset, ${kindName}`;
  recordMutant({ mutant: name, without: mutants[name].without, by, caught: found });
  expect(found).toBe(true);
});

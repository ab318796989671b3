import { cpSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test as plain } from "vitest";
import { type ChildOptions, type Ended, finish } from "./child.ts";
import { datasetName, goThrough, openWorkbench, problemsOf } from "./history.ts";
import { mutants } from "./mutants.ts";
import { testWith } from "./needs.ts";
import { offerFile, oracleFiles, type OracleLake } from "./oracle-lake.ts";
import { seeded } from "./random.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, recordMutant, soak } from "./trust.ts";

const test = await testWith("strace", "ptrace");
const random = seeded("errno");

let place: string;
let kept: string;
let lake: OracleLake;
let before: number;
let release: () => void;
let over: Promise<void>;

// One lake with a version, and files that have not been read; each fault begins with a copy of it.
beforeAll(
  () =>
    new Promise<void>((resolve, reject) => {
      over = inScratch(async (folder) => {
        [place, kept] = [join(folder, "lake"), join(folder, "kept")];
        lake = oracleFiles(place, "append");
        offerFile(lake, 0, 200);
        await lake.run();
        before = lake.ledger.good;
        offerFile(lake, 1, 200);
        renameSync(place, kept);
        resolve();
        await new Promise<void>((done) => (release = done));
      });
      over.catch(reject);
    }),
);
afterAll(async () => {
  release();
  await over;
});

const restore = (): void => {
  rmSync(place, { recursive: true, force: true });
  cpSync(kept, place, { recursive: true });
};
const program = (more: Partial<ChildOptions>): ChildOptions => ({
  program: "millrace.ts",
  args: ["run", lake.flow, "--json"],
  cwd: place,
  ...more,
});

/** What is wrong after a run that met an error: acknowledged and not there, not acknowledged and no clear reason, or not mended. */
async function judge(ended: Ended, where: string, codes: readonly string[]): Promise<string[]> {
  const violations: string[] = [];
  const rows = await lake.rows();
  if (rows !== before && rows !== lake.ledger.good) violations.push(`${rows} rows are visible`);
  if (ended.code === 0) {
    if (rows !== lake.ledger.good) violations.push("acknowledged, but not there");
  } else {
    const text = ended.errors.split("\n").find((line) => line.startsWith("{")) ?? "{}";
    const { error } = JSON.parse(text) as { error?: { code: string; message: string } };
    if (error === undefined || !codes.includes(error.code) || /\n\s+at /.test(ended.errors)) {
      violations.push(`no clear error, but ${ended.code}: ${ended.errors.slice(0, 500)}`);
    }
  }
  await lake.run();
  violations.push(...(await lake.tally()).violations);
  return violations.map((violation) => where + violation);
}

const errors: [code: string, call: string, codes: string[]][] = [
  ["ENOSPC", "writeSync", ["full"]],
  ["EDQUOT", "writeSync", ["full"]],
  ["EIO", "writeSync", ["unreachable", "unknown-outcome"]],
  ["EIO", "fsync", ["unreachable", "unknown-outcome"]],
  ["ENOSPC", "fsync", ["full", "unknown-outcome"]],
  ["EIO", "sync", ["unreachable"]],
  ["ENOSPC", "sync", ["full"]],
  ["EMFILE", "openSync", ["limit", "unknown-outcome"]],
  ["ENOSPC", "linkSync", ["full", "unknown-outcome"]],
  ["EIO", "linkSync", ["unreachable", "unknown-outcome"]],
  ["EIO", "renameSync", ["unreachable", "unknown-outcome"]],
  ["EACCES", "unlinkSync", ["permission"]],
];

describe("a call of the system fails", () => {
  plain.each(errors)(
    "%s of %s anywhere in a run: a clear error or none at all, nothing half, and the next run completes",
    { timeout: 600_000 },
    async (error, only, codes) => {
      restore();
      const whole = await finish(program({ steps: { at: [], action: error as `E${string}`, only } }));
      expect(whole.code, whole.errors).toBe(0);
      const all = Array(whole.steps)
        .keys()
        .map((step) => step + 1)
        .toArray();
      const violations: string[] = [];
      let fired = 0;
      for (const step of random.sample(all, soak ? 14 : 2)) {
        restore();
        const ended = await finish(program({ steps: { at: [step], action: error as `E${string}`, only } }));
        // Cleaning up takes a call that could not be made for done; whatever else happened shows in its steps.
        if (ended.code !== 0 || ended.steps >= step) fired++;
        violations.push(...(await judge(ended, `${error} at ${only} ${step}: `, codes)));
      }
      const finding = {
        area: "Errors of the system",
        component: "run of files",
        fault: `${error} of ${only.replace("Sync", "")}`,
      };
      recordFault({ ...finding, fired, violations: violations.length });
      expect(violations).toEqual([]);
      expect(fired).toBeGreaterThanOrEqual(Math.min(2, all.length));
    },
  );

  test("EINTR again and again changes nothing", { timeout: 120_000 }, async () => {
    restore();
    // What else is interrupted on a local file system, Linux goes on with by itself.
    const strace = ["-e", "trace=fsync", "-e", "inject=fsync:error=EINTR:when=1+2"];
    const ended = await finish(program({ strace }));
    const violations = await judge(ended, "EINTR: ", []);
    if (ended.code !== 0) violations.push(ended.errors);
    recordFault({
      area: "Errors of the system",
      component: "run of files",
      fault: "EINTR of every second fsync",
      fired: 1,
      violations: violations.length,
    });
    expect(violations).toEqual([]);
  });

  test("a source file that the device does not give is no bad data", { timeout: 120_000 }, async () => {
    const violations: string[] = [];
    // The source looks at the file first, then the engine does: for its dialect, and for its rows.
    const cases = soak ? [1, 2, 3, 4, 5, 6, 7, 8].flatMap((n) => [`${n}`, `${n}+`]) : ["1+", "3+", "4"];
    let fired = 0;
    for (const when of cases) {
      restore();
      const file = join(place, "in/part-0001.csv");
      const strace = ["-P", file, "-e", "trace=read", "-e", `inject=read:error=EIO:when=${when}`];
      const ended = await finish(program({ strace }));
      if (ended.code !== 0) fired++;
      violations.push(...(await judge(ended, `EIO of reading a file, ${when}: `, ["unreachable"])));
    }
    const finding = { area: "Errors of the system", component: "run of files", fault: "EIO of reading a source file" };
    recordFault({ ...finding, fired, violations: violations.length });
    expect(violations).toEqual([]);
    expect(fired).toBeGreaterThan(1);
  });

  test("a device that refuses to make things durable is never taken for done", { timeout: 240_000 }, async () => {
    const violations: string[] = [];
    let fired = 0;
    for (const from of soak ? [1, 3, 5, 8, 11, 14, 17, 20, 23, 26] : [1, 5, 17]) {
      restore();
      const strace = ["-e", "trace=fsync", "-e", `inject=fsync:error=EIO:when=${from}+`];
      const ended = await finish(program({ strace }));
      fired++;
      if (ended.code === 0) violations.push(`acknowledged, though each fsync from the ${from}th on failed`);
      violations.push(
        ...(await judge(ended, `EIO of every fsync from ${from} on: `, ["unreachable", "unknown-outcome"])),
      );
    }
    recordFault({
      area: "Errors of the system",
      component: "run of files",
      fault: "EIO of every fsync from one on",
      fired,
      violations: violations.length,
    });
    expect(violations).toEqual([]);
  });

  test(
    "a name that the device refuses to keep is not acknowledged, though it can be read back",
    { timeout: 240_000 },
    () =>
      inScratch(async (folder) => {
        const violations: string[] = [];
        let fired = 0;
        const points = Array.from({ length: 24 }, (_, index) => index + 1);
        for (const number of soak ? points : random.sample(points, 3)) {
          const root = join(folder, String(number));
          const metadata = join(root, datasetName, "metadata");
          const strace = ["-P", metadata, "-e", "trace=fsync", "-e", `inject=fsync:error=EIO:when=${number}`];
          const ended = await finish({ program: "history.ts", args: [root, "0"], strace });
          if (ended.code === 0)
            violations.push(`all was acknowledged, though fsync ${number} of the metadata's folder failed`);
          else if (ended.errors.includes("EIO")) fired++;
          else violations.push(ended.errors);
          const acknowledged = Number(ended.lines.at(-1) ?? 0);
          await using bench = await openWorkbench(root);
          await goThrough(bench, acknowledged, () => undefined);
          violations.push(...(await problemsOf(bench)));
        }
        const component = "dataset: append, merge, evolve, compact, tag, rollback, gc, alter";
        const fault = "EIO of one fsync of the folder of the metadata";
        recordFault({ area: "Errors of the system", component, fault, fired, violations: violations.length });
        expect(violations).toEqual([]);
        expect(fired).toBeGreaterThanOrEqual(soak ? 4 : 1);
      }),
  );

  plain("a build that overlooks errors of fsync is noticed", { timeout: 120_000 }, async () => {
    const mutant = "fsync-errors-overlooked";
    restore();
    const at = Array.from({ length: 500 }, (_, index) => index + 1);
    const ended = await finish(program({ steps: { at, action: "EIO", only: "fsync" }, mutant }));
    const caught = ended.code === 0;
    recordMutant({ mutant, without: mutants[mutant].without, by: "EIO of every fsync", caught });
    expect(caught, ended.errors).toBe(true);
  });
});

import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { isMillraceError, messageOf } from "../../src/core/index.ts";
import { finish } from "./child.ts";
import { type MutantName, mutants } from "./mutants.ts";
import { testWith } from "./needs.ts";
import { offerFile, oracleFiles, type OracleLake } from "./oracle-lake.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, recordMutant, soak } from "./trust.ts";

const test = await testWith("tmpfs");

const limits = {
  bytes: (soak ? Array.from({ length: 40 }, (_, index) => 4 + 4 * index) : [4, 16, 32, 48, 64, 96]).map(
    (k) => `size=${k}k`,
  ),
  inodes: (soak ? Array.from({ length: 40 }, (_, index) => 4 + index) : [4, 8, 12, 18, 24, 30]).map(
    (n) => `nr_inodes=${n}`,
  ),
};

interface Outcome {
  fired: boolean;
  violations: string[];
}

/** A run on a disk with so little left; then the same with space. A mutant runs in a process of its own. */
async function runOut(folder: string, limit: string, mutant?: MutantName): Promise<Outcome> {
  const violations: string[] = [];
  const place = join(folder, limit.replace("=", "-"));
  const disk = join(place, "disk");
  const lake = oracleFiles(place, "append");
  mkdirSync(disk);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=64m,nr_inodes=100000", "tmpfs", disk]);
  let error: Failure | undefined;
  try {
    // The lake lies on the disk, the source and the configuration do not.
    mkdirSync(join(disk, "lake"));
    symlinkSync(join(disk, "lake"), join(place, "lake"));
    offerFile(lake, 0, 300);
    await lake.run();
    const before = lake.ledger.good;
    offerFile(lake, 1, 300);
    const [used, inodes] = usedOf(disk);
    const [name, extra] = limit.split("=");
    const option =
      name === "size" ? `size=${used + Number.parseInt(extra!) * 1024}` : `nr_inodes=${inodes + Number(extra)}`;
    execFileSync("mount", ["-o", `remount,${option}`, disk]);
    error = mutant === undefined ? await failureOf(lake) : await failureOfMutant(lake, mutant);
    const clear = error === undefined || (error.code === "full" && (error.hint ?? "").includes("space"));
    if (!clear && mutant === undefined) violations.push(`no clear error but ${error?.code}: ${error?.message}`);
    const rows = await lake.rows();
    if (rows !== (error === undefined ? lake.ledger.good : before)) violations.push(`${rows} rows are visible`);
    execFileSync("mount", ["-o", "remount,size=64m,nr_inodes=100000", disk]);
    await lake.run();
    violations.push(...(await lake.tally()).violations);
  } catch (problem) {
    // What cannot even be read afterwards.
    violations.push(messageOf(problem));
  } finally {
    execFileSync("umount", ["-l", disk]);
  }
  rmSync(place, { recursive: true, force: true });
  return { fired: error !== undefined, violations: violations.map((text) => `${limit}: ${text}`) };
}

interface Failure {
  code: string | undefined;
  message: string;
  hint?: string | undefined;
}

function failureOf(lake: OracleLake): Promise<Failure | undefined> {
  return lake.run().then(
    () => undefined,
    (error: unknown) => {
      const message = messageOf(error);
      return isMillraceError(error) ? { code: error.code, hint: error.hint, message } : { code: undefined, message };
    },
  );
}

async function failureOfMutant(lake: OracleLake, mutant: MutantName): Promise<Failure | undefined> {
  const ended = await finish({ program: "millrace.ts", args: ["run", lake.flow, "--json"], cwd: lake.folder, mutant });
  if (ended.code === 0) return undefined;
  const text = ended.errors.split("\n").find((line) => line.startsWith("{")) ?? "{}";
  return (JSON.parse(text) as { error?: Failure }).error ?? { code: undefined, message: ended.errors };
}

test.each(["bytes", "inodes"] as const)(
  "a disk that runs out of %s: said clearly, nothing half, earlier versions readable, and with space the same run completes",
  { timeout: 600_000 },
  (kind) =>
    inScratch(async (folder) => {
      const outcomes: Outcome[] = [];
      for (const limit of limits[kind]) outcomes.push(await runOut(folder, limit));
      const violations = outcomes.flatMap((one) => one.violations);
      const fired = outcomes.filter((one) => one.fired).length;
      const finding = { area: "Disk full", component: "run of files, append", fault: `tmpfs without further ${kind}` };
      recordFault({ ...finding, fired, violations: violations.length });
      expect(violations).toEqual([]);
      expect(fired).toBeGreaterThanOrEqual(3);
    }),
);

test("a build that overlooks that a write was refused is noticed", { timeout: 120_000 }, () =>
  inScratch(async (folder) => {
    const mutant = "writes-cut-short";
    let caught = false;
    for (const limit of limits.bytes) caught ||= (await runOut(folder, limit, mutant)).violations.length > 0;
    const by = "tmpfs without further bytes";
    recordMutant({ mutant, without: mutants[mutant].without, by, caught });
    expect(caught).toBe(true);
  }),
);

/** Bytes and inodes in use on a file system. */
function usedOf(place: string): [bytes: number, inodes: number] {
  const numbers = (flags: string[]): number[] => {
    const output = execFileSync("df", [...flags, place], { encoding: "utf8" });
    return output.trim().split("\n").at(-1)!.trim().split(/\s+/).map(Number);
  };
  return [numbers(["--block-size=1", "--output=used"])[0]!, numbers(["--output=iused"])[0]!];
}

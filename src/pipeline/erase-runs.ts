import { isMillraceError, type Store } from "../core/index.ts";
import type { RunReport } from "./report.ts";

const decoder = new TextDecoder();

/** Absent or not JSON: undefined. */
async function readIfJson<T>(store: Store, path: string): Promise<T | undefined> {
  try {
    return JSON.parse(decoder.decode(await store.read(path))) as T;
  } catch (error) {
    if (error instanceof SyntaxError || (isMillraceError(error) && error.code === "not-found")) return undefined;
    throw error;
  }
}

/** Paths of each run that writes the dataset and has neither a report nor been given up and cleared. */
async function filesOfRuns(store: Store, dataset: string): Promise<Map<string, string[]>> {
  const folders = new Map<string, string[]>();
  for await (const { path } of store.list("runs")) {
    const folder = /^runs\/[^/]+\/[^/]+(?=\/)/.exec(path)?.[0];
    if (folder !== undefined) folders.set(folder, [...(folders.get(folder) ?? []), path]);
  }
  const found = new Map<string, string[]>();
  for (const [folder, paths] of folders) {
    if (paths.includes(`${folder}/report.json`)) continue;
    const left = paths.filter((path) => path !== `${folder}/cancelled`);
    if (left.length === 0) continue;
    const plan = await readIfJson<{ dataset?: string }>(store, `${folder}/plan.json`);
    const replay = await readIfJson<{ report?: { dataset?: string } }>(store, `${folder}/replay.json`);
    if ((plan?.dataset ?? replay?.report?.dataset) === dataset) found.set(folder, left);
  }
  return found;
}

/** Folders of unfinished runs that write the dataset, also of those that were given up and lie about. */
export async function runsInto(store: Store, dataset: string): Promise<string[]> {
  return [...(await filesOfRuns(store, dataset)).keys()];
}

/**
 * Gives up every unfinished run of the dataset: its plan and what it staged may hold values of the erased rows. It is planned anew the
 * next time; a process that is at it is refused when it publishes.
 */
export async function cancelRunsOf(store: Store, dataset: string): Promise<number> {
  const runs = await filesOfRuns(store, dataset);
  for (const [folder, paths] of runs) {
    const why = { why: `rows were erased from ${dataset}`, at: new Date().toISOString() };
    await store.write(`${folder}/cancelled`, new TextEncoder().encode(JSON.stringify(why)));
    // The plan goes last: without it nobody would know whose the other files are.
    for (const path of paths.toSorted(
      (left, right) => Number(left.endsWith("/plan.json")) - Number(right.endsWith("/plan.json")),
    ))
      await store.remove(path);
  }
  return runs.size;
}

const scrubbed = "minima, maxima and measured values were removed by an erasure";

/**
 * Removes from the reports of the dataset's runs what may be values of a row: minima, maxima, measured values, and sentences with
 * values in them. Counts and verdicts stay.
 */
export async function scrubReports(store: Store, dataset: string): Promise<number> {
  let count = 0;
  const paths: string[] = [];
  for await (const { path } of store.list("runs")) if (path.endsWith("/report.json")) paths.push(path);
  for (const path of paths) {
    const report = await readIfJson<RunReport>(store, path);
    if (report?.dataset !== dataset || report.warnings.includes(scrubbed)) continue;
    const clean: RunReport = {
      ...report,
      checks: report.checks.map(({ error, ...check }) => ({
        ...check,
        message:
          check.status === "passed"
            ? "held"
            : `did not hold${check.failing === undefined ? "" : ` in ${check.failing} rows`}`,
        measured: {},
        ...(error === undefined ? {} : { error: "it could not be measured" }),
      })),
      columns: Object.fromEntries(Object.entries(report.columns).map(([name, { nulls }]) => [name, { nulls }])),
      warnings: [...report.warnings, scrubbed],
    };
    await store.write(path, new TextEncoder().encode(JSON.stringify(clean)));
    count++;
  }
  return count;
}

import { isMillraceError } from "../core/index.ts";
import { compactDataset, defaultMaximumVersions } from "../dataset/index.ts";
import { collectDataset } from "./gc.ts";
import { rejectedName } from "./rejected.ts";
import type { LakeHandles } from "./lake.ts";
import { openIfExists } from "./plan.ts";
import type { RunReport } from "./report.ts";
import { forgetRuns } from "./runs.ts";
import { stagingFolder } from "./staging.ts";

/** So many files of one order of size become one. */
const fanIn = 16;
/** What was put together leaves its pieces behind, until they are old enough for `gc`. */
const collectEveryMs = 3_600_000;
/** Reports of runs whose versions are no longer kept go. */
const keptRuns = defaultMaximumVersions + 100;

/**
 * Keeps a dataset fit to be read while small versions are added without end. Returns what is to be called after each version; it says what it did, if
 * anything. That another writer was quicker is no failure: there is a next time.
 */
export function tidy(
  lake: LakeHandles,
  flowName: string,
  name: string,
): (report: RunReport, signal: AbortSignal) => Promise<string | undefined> {
  let versions = 0;
  let nextCollection = performance.now() + collectEveryMs;
  return async (report, signal) => {
    if (report.status !== "published" || ++versions % fanIn !== 0) return undefined;
    const done: string[] = [];
    for (const dataset of [name, rejectedName(name)]) {
      const merged = await compacted(lake, dataset, signal);
      if (merged !== undefined) done.push(merged);
    }
    if (versions % (4 * fanIn) === 0) await forgetRuns(lake.store, flowName, keptRuns);
    if (performance.now() > nextCollection) {
      nextCollection = performance.now() + collectEveryMs;
      for (const dataset of [name, rejectedName(name)]) {
        const removed = await collected(lake, dataset);
        if (removed > 0) done.push(`${dataset}: ${removed} files that no version names are gone`);
      }
    }
    return done.length === 0 ? undefined : done.join("; ");
  };
}

async function collected(lake: LakeHandles, name: string): Promise<number> {
  if (!(await lake.catalog.exists(name))) return 0;
  return (await collectDataset(lake, name)).removed.length;
}

async function compacted(lake: LakeHandles, name: string, signal: AbortSignal): Promise<string | undefined> {
  const dataset = await openIfExists(lake, name);
  if (dataset === undefined) return undefined;
  const engine = await lake.engine();
  const folder = await stagingFolder(lake, name);
  let [first, last]: (number | undefined)[] = [];
  try {
    // A merged file may be the last that the next order of size lacked.
    for (;;) {
      const { before, after, version } = await compactDataset(dataset, engine, { folder, fanIn, signal });
      if (version === undefined) break;
      first ??= before;
      last = after;
    }
  } catch (error) {
    if (!isMillraceError(error) || (error.code !== "conflict" && error.code !== "aborted" && !error.temporary))
      throw error;
  }
  return first === undefined ? undefined : `${name}: ${first} files became ${last}`;
}

import type { GcOptions, GcReport } from "../dataset/index.ts";
import { namedObjects } from "./assets.ts";
import { runsInto } from "./erase-runs.ts";
import type { LakeHandles } from "./lake.ts";
import { unfinishedTokens } from "./runs.ts";

/** Removes what no version of the dataset needs, and no run that is going on. */
export async function collectDataset(lake: LakeHandles, name: string, options?: GcOptions): Promise<GcReport> {
  const dataset = await lake.catalog.open(name);
  const tokens = await unfinishedTokens(lake.store);
  // A run that is going on may name objects of a version that expires here.
  const running = (await runsInto(lake.store, name)).length > 0;
  const belongsToRun = (path: string): boolean => {
    const file = path.slice(path.lastIndexOf("/") + 1);
    for (const token of tokens) if (file.startsWith(`${token}-`)) return true;
    return false;
  };
  return dataset.gc({
    ...options,
    protect: (path) => belongsToRun(path) || (options?.protect?.(path) ?? false),
    ...(running ? {} : { objects: async (without) => new Set((await namedObjects(lake, name, without)).keys()) }),
  });
}

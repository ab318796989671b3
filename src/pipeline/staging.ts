import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { LakeHandles } from "./lake.ts";

/** Where the engine writes files that are to become files of a dataset: in place when the store is local. */
export async function stagingFolder(lake: LakeHandles, dataset: string): Promise<string> {
  const folder = lake.store.local ? lake.store.local(`${dataset}/data`) : join(lake.scratch, "stage");
  await mkdir(folder, { recursive: true });
  return folder;
}

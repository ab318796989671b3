import type { LakeHandles } from "./lake.ts";

/** Where the answers of enrichers lie that a dataset was filled with: by model and by hash of what was asked. */
export const answersFolder = (dataset: string): string => `${dataset}/answers`;

/** Removes them all: what was said of erased rows must go, and which it was is not known. Returns how many. */
export async function forgetAnswers(lake: LakeHandles, dataset: string): Promise<number> {
  const paths: string[] = [];
  for await (const { path } of lake.store.list(answersFolder(dataset))) paths.push(path);
  for (const path of paths) await lake.store.remove(path);
  return paths.length;
}

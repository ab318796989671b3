import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { localFile, type Column, type Sql, type StagedFile } from "../core/index.ts";
import { stagedRelation } from "../engine/index.ts";
import type { LakeHandles } from "./lake.ts";

/** Where the engine writes files that are to become files of a dataset: in place when the store is local. */
export async function stagingFolder(lake: LakeHandles, dataset: string): Promise<string> {
  const folder = lake.store.local ? lake.store.local(`${dataset}/data`) : join(lake.scratch, "stage");
  await mkdir(folder, { recursive: true });
  return folder;
}

/** A FROM item over staged files. */
export async function relationOf(
  lake: LakeHandles,
  files: readonly StagedFile[],
  columns: readonly Column[],
): Promise<Sql> {
  await lake.store.fetch?.(files);
  return stagedRelation(
    files.map((file) => localFile(lake.store, file.path)),
    columns,
  );
}

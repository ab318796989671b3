import { isMillraceError, sqlName, type Sql } from "../core/index.ts";
import type { LakeHandles } from "./lake.ts";
import { datasetsIn, datasetNames } from "./views.ts";

/**
 * What a transform reads besides its input: by the name that it gives a dataset (`orders`, `orders@gold`), the version; 0 for one that had no
 * version yet. A run reads these to its end, also when it is resumed, and so does whoever applies the transform later.
 */
export type Reads = Readonly<Record<string, number>>;

/** The versions that the names mean now. */
export async function readsOf(lake: LakeHandles, transform: Sql | undefined): Promise<Reads> {
  const reads: Record<string, number> = {};
  if (transform === undefined) return reads;
  for await (const { name, dataset, version } of datasetsIn(lake, await datasetNames(lake, transform, ["input"]))) {
    reads[name] = (version ?? dataset.current())?.number ?? 0;
  }
  return reads;
}

const known = new WeakMap<Reads, Promise<Sql[]>>();

/**
 * The datasets as queries with names, for a WITH in front of the transform: nothing of them stays in the engine, so that transforms that read
 * other versions do not meet. Throws `not-found` when a version is gone.
 */
export function readsRelations(lake: LakeHandles, reads: Reads): Promise<Sql[]> {
  const before = known.get(reads);
  if (before !== undefined) return before;
  const relations = openReads(lake, reads);
  known.set(reads, relations);
  relations.catch(() => known.delete(reads));
  return relations;
}

async function openReads(lake: LakeHandles, reads: Reads): Promise<Sql[]> {
  const relations: Sql[] = [];
  for await (const { name, dataset } of datasetsIn(lake, Object.keys(reads))) {
    const version = reads[name] === 0 ? undefined : dataset.version(reads[name]);
    const relation = await dataset.relation(version, version === undefined ? [] : undefined);
    relations.push(`${sqlName(name)} AS NOT MATERIALIZED (SELECT * FROM ${relation})`);
  }
  return relations;
}

/** Whether all of it is still there. */
export async function canRead(lake: LakeHandles, reads: Reads): Promise<boolean> {
  try {
    return (await readsRelations(lake, reads)).length === Object.keys(reads).length;
  } catch (error) {
    if (isMillraceError(error) && error.code === "not-found") return false;
    throw error;
  }
}

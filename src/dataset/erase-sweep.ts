import { reachablePaths } from "./gc.ts";
import { ownNumbers } from "./iceberg/log.ts";
import type { TableMetadata } from "./iceberg/metadata.ts";
import type { Table } from "./table.ts";

/**
 * Removes what may hold erased rows or their bounds and that no version names: data files whatever their age, manifests, and the
 * metadata files before the current one. Age need not protect anything here: while the erasure is pending no writer can commit, and
 * whoever staged files before it began is refused afterwards.
 */
export async function sweepErased(table: Table, isPending: (metadata: TableMetadata) => boolean): Promise<number> {
  await table.refresh();
  if (!isPending(table.metadata)) return 0;
  const { folder, store } = table;
  const current = table.loaded.number;
  const reachable = await reachablePaths(table, new Set());
  const unnamed: string[] = [];
  for (const part of [`${folder}/data`, `${folder}/metadata`]) {
    for await (const { path } of store.list(part)) {
      const leftover = part.endsWith("/data") || path.endsWith(".avro");
      if (leftover && !reachable.has(path)) unnamed.push(path);
    }
  }
  // Another process may have finished the same erasure, and what is unnamed now may be staged for a commit.
  await table.refresh();
  if (!isPending(table.metadata)) return 0;
  for (const path of unnamed) await store.remove(path);
  // In ascending order, which the commit protocol relies on.
  const older = (await ownNumbers(store, folder)).filter((number) => number < current);
  for (const number of older) await store.remove(`${folder}/metadata/v${number}.metadata.json`);
  return unnamed.length + older.length;
}

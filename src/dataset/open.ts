import type { Store } from "../core/index.ts";
import { MillraceError } from "../core/index.ts";
import { commit, snapshotOfRun } from "./commit.ts";
import { loadCursors, readCursor } from "./cursor.ts";
import type { Dataset } from "./dataset.ts";
import { assertNoErasure, erasureState } from "./erasure.ts";
import { evolve } from "./evolve.ts";
import { collectGarbage } from "./gc.ts";
import { expire, findVersion, rollback, tag, untag } from "./history.ts";
import { loadNewest } from "./iceberg/log.ts";
import { leaseVersion } from "./lease.ts";
import { currentSnapshot, lineageOf } from "./iceberg/metadata.ts";
import { alter } from "./schema-change.ts";
import { knownData, relation } from "./relation.ts";
import { admittedPredicate, suppressionsOf } from "./suppression.ts";
import { Table } from "./table.ts";

/**
 * The table in a folder of a store. Tables of other engines (also partitioned ones) open for reading; writing to them
 * is `unsupported`. Throws `not-found`, `corrupt`.
 */
export async function openTable(store: Store, folder: string, name: string): Promise<Dataset> {
  const loaded = await loadNewest(store, folder);
  if (loaded === undefined) {
    throw new MillraceError("not-found", `there is no dataset \`${name}\` in \`${store.url}\``, {
      where: { dataset: name },
    });
  }
  return datasetOfLoaded(new Table(name, store, folder, loaded));
}

export async function datasetOfLoaded(table: Table): Promise<Dataset> {
  await loadCursors(table);
  return datasetOf(table);
}

const tables = new WeakMap<Dataset, Table>();

/** The state behind a dataset that `openTable` made. */
export function tableOf(dataset: Dataset): Table {
  const table = tables.get(dataset);
  if (table === undefined) throw new MillraceError("internal", `\`${dataset.name}\` was not opened by the catalog`);
  return table;
}

export function datasetOf(table: Table): Dataset {
  /** Long cursors of the current version are read ahead, because `cursor` gives them at once. */
  const settled = async <T>(result: Promise<T>): Promise<T> => {
    const value = await result;
    await loadCursors(table);
    return value;
  };
  const dataset: Dataset = {
    name: table.name,
    store: table.store,
    folder: table.folder,
    refresh: () => settled(table.refresh()),
    versions: () => table.versions(),
    ancestry(version) {
      const snapshots = [...lineageOf(table.metadata, table.snapshotOf(version))];
      const versions = new Map(table.versions().map((each) => [each.snapshotId, each]));
      return snapshots.map((snapshot) => versions.get(BigInt(snapshot["snapshot-id"]))!);
    },
    current: () => (currentSnapshot(table.metadata) ? findVersion(table, undefined) : undefined),
    version: (reference) => findVersion(table, reference),
    columns: (version) => table.columns(version?.schemaId),
    files: (version, filter) => table.files(version, filter),
    relation: (version, files, options) => relation(table, version, files, options),
    fetch: async (files, signal) => table.store.fetch?.(files.map(knownData), signal),
    cursor: (flow) => readCursor(table, currentSnapshot(table.metadata), flow),
    erasures: () => erasureState(table.metadata),
    assertOpen: () => assertNoErasure(table, table.metadata),
    admitted: (columns) => admittedPredicate(suppressionsOf(table.metadata), columns),
    versionOfRun(runId) {
      const snapshot = snapshotOfRun(table.metadata, runId);
      return snapshot && table.versions().find((version) => version.snapshotId === BigInt(snapshot["snapshot-id"]));
    },
    evolve: (wanted, policy) => evolve(table, wanted, policy),
    commit: (change) => settled(commit(table, change)),
    alter: (columns) =>
      settled(alter(table, columns, (next) => commit(table, { operation: "replace", add: [], columns: next }))),
    tag: (name, version) => settled(tag(table, name, version)),
    untag: (name) => settled(untag(table, name)),
    rollback: (version) => settled(rollback(table, version)),
    expire: (versions) => settled(expire(table, versions)),
    gc: (options) => settled(collectGarbage(table, options)),
    lease: (version, by, options) => settled(leaseVersion(table, version, by, options)),
  };
  tables.set(dataset, table);
  return dataset;
}

import { isDeepStrictEqual } from "node:util";
import { type Column, type Cursor, MillraceError, forEachLimited, isMillraceError } from "../core/index.ts";
import { cursorPrefix, cursorText, forgetCursors, loadCursors, readCursor } from "./cursor.ts";
import type { Change, Version } from "./dataset.ts";
import { assertNoErasure, erasureState } from "./erasure.ts";
import { assertNextSchema, widenedLeaves, withSchema } from "./schema-change.ts";
import { ManifestWriter } from "./manifest-writer.ts";
import { encodeManifestList } from "./iceberg/manifest.ts";
import {
  type Snapshot,
  type TableMetadata,
  currentSnapshot,
  defaultMaximumVersions,
  newSnapshotId,
  property,
  schemaOf,
  sweepsOf,
} from "./iceberg/metadata.ts";
import { fromIcebergSchema } from "../core/iceberg-schema.ts";
import type { Table } from "./table.ts";

/** Key of the run id in a snapshot's summary. */
export const runKey = "millrace.run";

/**
 * Makes a version. Appends are rebased over what others committed meanwhile; whatever removes files conflicts with it.
 * Throws `conflict`, `schema`, `corrupt` (a staged file is absent or has another size), `unknown-outcome`.
 */
export async function commit(table: Table, change: Change): Promise<Version> {
  validate(change);
  const id = newSnapshotId();
  const writer = new ManifestWriter(table, id);
  // Looked at while the newest metadata is read; it matters only when there is something to commit.
  const lookAtStaged = (): Promise<unknown> =>
    assertStaged(table, change).then(
      () => undefined,
      (error: unknown) => error,
    );
  let staged = lookAtStaged();
  const outcome: { snapshot?: Snapshot; known: boolean } = { known: false };
  let attemptFiles: string[] = [];
  let epoch = change.erasures;
  let sweeps: number | undefined;
  await table.update(async (metadata) => {
    // The attempt before lost for certain: nothing names its list and its rewritten manifests.
    for (const path of attemptFiles) await table.store.remove(path);
    attemptFiles = [];
    const earlier = snapshotOfRun(metadata, change.runId);
    if (earlier !== undefined) {
      outcome.snapshot = earlier;
      outcome.known = true;
      return undefined;
    }
    table.assertWritable();
    epoch ??= erasureState(metadata).epoch;
    assertNoErasure(table, metadata, epoch);
    assertBase(table, metadata, change);
    if (sweeps !== undefined && sweeps !== sweepsOf(metadata)) {
      // A gc took what no version named: what the attempt before wrote may be among it.
      writer.forget();
      forgetCursors(table);
      staged = lookAtStaged();
    }
    sweeps = sweepsOf(metadata);
    await loadCursors(table);
    assertCursor(table, metadata, change);
    const problem = await staged;
    if (problem !== undefined) throw problem;
    const next = await apply(table, metadata, change, writer, id);
    attemptFiles = next.files;
    outcome.snapshot = next.snapshot;
    return next.metadata;
  });
  const version = table.versionOf(outcome.snapshot!);
  return outcome.known ? table.versions().find((one) => one.number === version.number)! : version;
}

function validate(change: Change): void {
  const removes = change.removeAll === true || (change.remove?.length ?? 0) > 0;
  if (removes && change.operation === "append") {
    throw new MillraceError("usage", "an append cannot remove files", { hint: "use `overwrite` or `replace`" });
  }
  const key = Object.keys(change.summary ?? {}).find((name) => !name.startsWith("millrace."));
  if (key !== undefined)
    throw new MillraceError("usage", `the summary key \`${key}\` does not start with \`millrace.\``);
  const paths = new Set<string>();
  for (const { path } of change.add) {
    if (paths.has(path))
      throw new MillraceError("usage", `the file \`${path}\` is added twice`, { where: { file: path } });
    paths.add(path);
  }
}

export function snapshotOfRun(metadata: TableMetadata, runId: string | undefined): Snapshot | undefined {
  if (runId === undefined) return undefined;
  return metadata.snapshots.findLast((snapshot) => snapshot.summary[runKey] === runId);
}

function assertBase(table: Table, metadata: TableMetadata, change: Change): void {
  if (change.removeAll !== true && !change.remove?.length) return;
  const current = currentSnapshot(metadata)?.["sequence-number"] ?? 0;
  if (change.base === undefined && current > 0) {
    throw new MillraceError("usage", "`base` must say which version the removed files were seen in");
  }
  if ((change.base ?? 0) !== current) {
    throw new MillraceError(
      "conflict",
      `\`${table.name}\` is at version ${current}, but the ${change.operation} was computed from version ${change.base ?? 0}`,
      { hint: "run again", where: { dataset: table.name } },
    );
  }
}

function assertCursor(table: Table, metadata: TableMetadata, change: Change): void {
  if (change.expectCursor === undefined) return;
  const { flow, cursor } = change.expectCursor;
  const found: Cursor | null = readCursor(table, currentSnapshot(metadata), flow) ?? null;
  if (isDeepStrictEqual(found, cursor)) return;
  throw new MillraceError(
    "conflict",
    `the cursor of flow \`${flow}\` in \`${table.name}\` is no longer where this run began`,
    {
      hint: "another run of the flow has committed; run again",
      where: { dataset: table.name, flow },
    },
  );
}

async function assertStaged(table: Table, change: Change): Promise<void> {
  await forEachLimited(change.add, 16, async ({ path, bytes }) => {
    const problem = (text: string, cause?: unknown): MillraceError =>
      new MillraceError("corrupt", `the staged file \`${path}\` ${text}`, {
        cause,
        where: { dataset: table.name, file: path },
        hint: "nothing was committed; run again",
      });
    try {
      await using file = await table.store.open(path);
      if (file.size !== bytes) throw problem(`has ${file.size} bytes instead of ${bytes}`);
    } catch (error) {
      if (isMillraceError(error) && error.code === "not-found") throw problem("does not exist", error);
      throw error;
    }
  });
}

async function apply(
  table: Table,
  metadata: TableMetadata,
  change: Change,
  writer: ManifestWriter,
  id: number,
): Promise<{ metadata: TableMetadata; snapshot: Snapshot; files: string[] }> {
  const base = change.columns === undefined ? metadata : evolved(table, metadata, change.columns);
  const parent = currentSnapshot(metadata);
  const sequence = metadata["last-sequence-number"] + 1;
  const widened =
    base === metadata ? new Map() : widenedLeaves(table.columns(), fromIcebergSchema(schemaOf(base, undefined)));
  const manifests = await writer.manifests(base, parent, change, sequence, widened);
  const listPath = `${table.folder}/metadata/snap-${id}-${sequence}.avro`;
  const list = encodeManifestList(manifests.list, { id, parent: parent?.["snapshot-id"], sequence });
  await Promise.all([
    table.store.write(listPath, list, { fresh: true }),
    ...manifests.write.map(({ path, bytes }) => table.store.write(path, bytes, { fresh: true })),
  ]);
  table.rememberList(table.uriOf(listPath), manifests.list);
  const snapshot: Snapshot = {
    "snapshot-id": id,
    ...(parent && { "parent-snapshot-id": parent["snapshot-id"] }),
    "sequence-number": sequence,
    "timestamp-ms": Math.max(Date.now(), metadata["last-updated-ms"]),
    "manifest-list": table.uriOf(listPath),
    summary: await summaryOf(table, change, parent, manifests.removed),
    "schema-id": base["current-schema-id"],
  };
  const snapshots = retained(base, [...base.snapshots, snapshot], snapshot);
  const kept = new Set(snapshots.map((one) => one["snapshot-id"]));
  return {
    snapshot,
    files: [listPath, ...manifests.discard],
    metadata: {
      ...base,
      "last-sequence-number": sequence,
      "current-snapshot-id": id,
      refs: { ...base.refs, main: { "snapshot-id": id, type: "branch" } },
      snapshots,
      "snapshot-log": [
        ...base["snapshot-log"].filter((entry) => kept.has(entry["snapshot-id"])),
        { "timestamp-ms": snapshot["timestamp-ms"], "snapshot-id": id },
      ],
    },
  };
}

function evolved(table: Table, metadata: TableMetadata, columns: readonly Column[]): TableMetadata {
  assertNextSchema(table, metadata, columns);
  return withSchema(metadata, columns);
}

/** Drops the oldest versions beyond the configured number; tags and the new version stay. */
function retained(metadata: TableMetadata, snapshots: Snapshot[], newest: Snapshot): Snapshot[] {
  const configured = Number(metadata.properties[property.maximumVersions]);
  const maximum = Number.isInteger(configured) && configured > 0 ? configured : defaultMaximumVersions;
  let excess = snapshots.length - maximum;
  if (excess <= 0) return snapshots;
  const referenced = new Set(Object.values(metadata.refs).map((reference) => reference["snapshot-id"]));
  const main = metadata.refs["main"]?.["snapshot-id"];
  return snapshots.filter((snapshot) => {
    const id = snapshot["snapshot-id"];
    if (excess <= 0 || snapshot === newest || (referenced.has(id) && id !== main)) return true;
    excess--;
    return false;
  });
}

async function summaryOf(
  table: Table,
  change: Change,
  parent: Snapshot | undefined,
  removed: { files: number; rows: number; bytes: number },
): Promise<Record<string, string>> {
  const before = parent?.summary ?? {};
  const added = { files: change.add.length, rows: 0, bytes: 0 };
  for (const file of change.add) {
    added.rows += file.rows;
    added.bytes += file.bytes;
  }
  const total = (key: string, difference: number): string => String(Number(before[key] ?? 0) + difference);
  const summary: Record<string, string> = { operation: change.operation };
  if (added.files > 0) {
    summary["added-data-files"] = String(added.files);
    summary["added-records"] = String(added.rows);
    summary["added-files-size"] = String(added.bytes);
  }
  if (removed.files > 0) {
    summary["deleted-data-files"] = String(removed.files);
    summary["deleted-records"] = String(removed.rows);
    summary["removed-files-size"] = String(removed.bytes);
  }
  summary["total-records"] = total("total-records", added.rows - removed.rows);
  summary["total-data-files"] = total("total-data-files", added.files - removed.files);
  summary["total-files-size"] = total("total-files-size", added.bytes - removed.bytes);
  summary["total-delete-files"] = "0";
  summary["total-position-deletes"] = "0";
  summary["total-equality-deletes"] = "0";
  for (const [key, value] of Object.entries(before)) if (key.startsWith(cursorPrefix)) summary[key] = value;
  for (const [key, value] of Object.entries(change.summary ?? {})) {
    summary[key] = key.startsWith(cursorPrefix) ? await cursorText(table, value) : value;
  }
  if (change.runId !== undefined) summary[runKey] = change.runId;
  return summary;
}

import { randomUUID } from "node:crypto";
import type { Column } from "../core/index.ts";
import { type IcebergSchema, fromIcebergSchema, leavesOf } from "../core/iceberg-schema.ts";
import type { Replacement } from "./erase-rewrite.ts";
import {
  type ManifestEntry,
  type ManifestFile,
  type StoredFile,
  encodeManifest,
  encodeManifestList,
  manifestFileOf,
  status,
  storedFile,
  widenBounds,
} from "./iceberg/manifest.ts";
import { type Snapshot, type TableMetadata, schemaOf } from "./iceberg/metadata.ts";
import type { ReadManifest, Table } from "./table.ts";

/** Every version with its number, time, tags and summary, but with files that do not hold the rows. */
export async function rewriteHistory(
  table: Table,
  metadata: TableMetadata,
  live: ReadonlyMap<string, unknown>,
  replacements: ReadonlyMap<string, Replacement>,
): Promise<TableMetadata> {
  /** By path of the manifest: versions share them. */
  const manifests = new Map<string, { manifest: ManifestFile; entries: ManifestEntry[] }>();
  const rewrite = async (read: ReadManifest): Promise<{ manifest: ManifestFile; entries: ManifestEntry[] }> => {
    const known = manifests.get(read.manifest.manifest_path);
    if (known !== undefined) return known;
    const schema = read.schema ?? schemaOf(metadata, undefined);
    const entries = erasedEntries(table, read.entries, schema, live, replacements);
    let result = { manifest: read.manifest, entries };
    if (entries !== read.entries) {
      const { added_snapshot_id: id, sequence_number: sequence } = read.manifest;
      const path = `${table.folder}/metadata/${String(id)}-${randomUUID()}-m.avro`;
      const bytes = encodeManifest(entries, schema);
      if (entries.length > 0) await table.store.write(path, bytes, { fresh: true });
      result = { manifest: manifestFileOf(table.uriOf(path), bytes.length, entries, id, sequence), entries };
    }
    manifests.set(read.manifest.manifest_path, result);
    return result;
  };
  const snapshots: Snapshot[] = [];
  for (const snapshot of metadata.snapshots) {
    const reads = await table.readManifests(snapshot);
    const written = [];
    for (const read of reads) written.push(await rewrite(read));
    if (written.every(({ manifest }, index) => manifest === reads[index]!.manifest)) {
      snapshots.push(snapshot);
      continue;
    }
    const { "snapshot-id": id, "sequence-number": sequence, "parent-snapshot-id": parent } = snapshot;
    const path = `${table.folder}/metadata/snap-${String(id)}-${sequence}-${randomUUID()}.avro`;
    const kept = written.filter(({ entries }) => entries.length > 0);
    const list = encodeManifestList(
      kept.map(({ manifest }) => manifest),
      { id, parent, sequence },
    );
    await table.store.write(path, list, { fresh: true });
    snapshots.push({
      ...snapshot,
      "manifest-list": table.uriOf(path),
      summary: countedSummary(
        snapshot,
        kept.flatMap(({ entries }) => entries),
      ),
    });
  }
  return { ...metadata, snapshots, "metadata-log": [] };
}

/** Iceberg's counts of the version, where the summary has them, as the manifests now have them; all else stays. */
function countedSummary(snapshot: Snapshot, entries: readonly ManifestEntry[]): Record<string, string> {
  const count = (chosen: readonly ManifestEntry[]): { files: number; rows: number; bytes: number } => ({
    files: chosen.length,
    rows: chosen.reduce((sum, entry) => sum + entry.data_file.record_count, 0),
    bytes: chosen.reduce((sum, entry) => sum + entry.data_file.file_size_in_bytes, 0),
  });
  const own = (state: number): ManifestEntry[] =>
    entries.filter((entry) => entry.status === state && entry.snapshot_id === snapshot["snapshot-id"]);
  const [total, added, deleted] = [
    count(entries.filter((entry) => entry.status !== status.deleted)),
    count(own(status.added)),
    count(own(status.deleted)),
  ];
  const counts: Record<string, number> = {
    "total-records": total.rows,
    "total-data-files": total.files,
    "total-files-size": total.bytes,
    "added-records": added.rows,
    "added-data-files": added.files,
    "added-files-size": added.bytes,
    "deleted-records": deleted.rows,
    "deleted-data-files": deleted.files,
    "removed-files-size": deleted.bytes,
  };
  return Object.fromEntries(
    Object.entries(snapshot.summary).map(([key, value]) => [key, key in counts ? String(counts[key]) : value]),
  );
}

/**
 * The entries of a manifest after an erasure; the same array when nothing changes. A deleted entry names a file that left: where
 * no version has that file, nobody needs its bounds, which may be the values of an erased row.
 */
function erasedEntries(
  table: Table,
  entries: ManifestEntry[],
  schema: IcebergSchema,
  live: ReadonlyMap<string, unknown>,
  replacements: ReadonlyMap<string, Replacement>,
): ManifestEntry[] {
  const columns = fromIcebergSchema(schema);
  const next = entries.flatMap((entry): ManifestEntry[] => {
    const path = table.pathOf(entry.data_file.file_path);
    const replacement = replacements.get(path);
    if (replacement !== undefined) {
      return replacement.files.map((file) => ({
        ...entry,
        data_file: asWideAs(storedFile(file, table.uriOf(file.path), columns), entry.data_file, columns),
      }));
    }
    const bounds = (entry.data_file.lower_bounds?.length ?? 0) + (entry.data_file.upper_bounds?.length ?? 0);
    if (entry.status !== status.deleted || live.has(path) || bounds === 0) return [entry];
    return [{ ...entry, data_file: { ...entry.data_file, lower_bounds: [], upper_bounds: [] } }];
  });
  return next.length === entries.length && next.every((entry, index) => entry === entries[index]) ? entries : next;
}

/** Bounds of columns that were widened after the file was written are wide in the entry, and stay so. */
function asWideAs(file: StoredFile, before: StoredFile, columns: readonly Column[]): StoredFile {
  const widened = new Map<number, "long" | "double">();
  const leaves = leavesOf(columns);
  for (const { key, value } of [...(before.lower_bounds ?? []), ...(before.upper_bounds ?? [])]) {
    const type = leaves.get(key)?.type;
    if (value.length !== 8) continue;
    if (type === "int") widened.set(key, "long");
    if (type === "float") widened.set(key, "double");
  }
  return widenBounds(file, widened);
}

import type { DataFile, Version } from "./dataset.ts";
import { type ManifestEntry, statisticsOf } from "./iceberg/manifest.ts";
import { type Snapshot, type TableMetadata, lineageOf } from "./iceberg/metadata.ts";
import type { Leaf } from "../core/iceberg-schema.ts";

/** All retained versions, oldest first. */
export function versionsOf(metadata: TableMetadata): Version[] {
  const lineage = lineageOf(metadata);
  const tags = new Map<unknown, string[]>();
  for (const [name, reference] of Object.entries(metadata.refs)) {
    if (reference.type !== "tag") continue;
    tags.set(reference["snapshot-id"], [...(tags.get(reference["snapshot-id"]) ?? []), name].sort());
  }
  return metadata.snapshots.map((snapshot) => ({
    ...versionOf(metadata, snapshot),
    tags: tags.get(snapshot["snapshot-id"]) ?? [],
    current: lineage.has(snapshot),
  }));
}

/** Without tags, and taken to be in the current lineage. */
export function versionOf(metadata: TableMetadata, snapshot: Snapshot): Version {
  const { summary } = snapshot;
  return {
    number: snapshot["sequence-number"],
    snapshotId: BigInt(snapshot["snapshot-id"]),
    time: snapshot["timestamp-ms"],
    operation: (summary["operation"] ?? "append") as Version["operation"],
    rows: Number(summary["total-records"] ?? 0),
    files: Number(summary["total-data-files"] ?? 0),
    bytes: Number(summary["total-files-size"] ?? 0),
    summary,
    tags: [],
    current: true,
    // The current version is read with the current schema, which may have been altered since.
    schemaId:
      snapshot["snapshot-id"] === metadata["current-snapshot-id"]
        ? metadata["current-schema-id"]
        : (snapshot["schema-id"] ?? metadata["current-schema-id"]),
  };
}

export function dataFileOf(entry: ManifestEntry, path: string, leaves: ReadonlyMap<number, Leaf>): DataFile {
  const file: DataFile = {
    path,
    rows: entry.data_file.record_count,
    bytes: entry.data_file.file_size_in_bytes,
    version: entry.sequence_number ?? 0,
    statistics: statisticsOf(entry.data_file, leaves),
  };
  if (entry.data_file.millrace_sha256) file.sha256 = entry.data_file.millrace_sha256;
  return file;
}

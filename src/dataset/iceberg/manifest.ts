import { type Column, type LeafStatistics, type StagedFile } from "../../core/index.ts";
import { decodeAvro, encodeAvro } from "./avro.ts";
import { exactText } from "./bounds.ts";
import { manifestListNames, manifestListSchema, manifestNames, manifestSchema } from "./manifest-schema.ts";
import { type IcebergSchema, type Leaf, leavesOf } from "../../core/iceberg-schema.ts";
import { encodeBounds } from "./single-value.ts";

/** A snapshot id: `number` where that is exact (always in what Millrace writes), else `bigint`. */
export type SnapshotId = number | bigint;

type Pairs<Value> = { key: number; value: Value }[] | null;

/** `data_file` as it is stored. */
export interface StoredFile {
  content: number;
  file_path: string;
  file_format: string;
  partition: object;
  record_count: number;
  file_size_in_bytes: number;
  column_sizes: Pairs<number>;
  value_counts: Pairs<number>;
  null_value_counts: Pairs<number>;
  nan_value_counts: Pairs<number>;
  lower_bounds: Pairs<Buffer>;
  upper_bounds: Pairs<Buffer>;
  key_metadata: Buffer | null;
  split_offsets: number[] | null;
  equality_ids: number[] | null;
  sort_order_id: number | null;
  millrace_sha256: string | null;
}

export const status = { existing: 0, added: 1, deleted: 2 } as const;

export interface ManifestEntry {
  status: number;
  snapshot_id: SnapshotId | null;
  sequence_number: number | null;
  file_sequence_number: number | null;
  data_file: StoredFile;
}

/** An entry of a manifest list. */
export interface ManifestFile {
  manifest_path: string;
  manifest_length: number;
  partition_spec_id: number;
  content: number;
  sequence_number: number;
  min_sequence_number: number;
  added_snapshot_id: SnapshotId;
  added_files_count: number;
  existing_files_count: number;
  deleted_files_count: number;
  added_rows_count: number;
  existing_rows_count: number;
  deleted_rows_count: number;
}

/** A staged file as `data_file`; `uri` is what other engines open. */
export function storedFile(file: StagedFile, uri: string, columns: readonly Column[]): StoredFile {
  const leaves = leavesOf(columns);
  const sizes: { key: number; value: number }[] = [];
  const values: { key: number; value: number }[] = [];
  const nulls: { key: number; value: number }[] = [];
  const nans: { key: number; value: number }[] = [];
  const lower: { key: number; value: Buffer }[] = [];
  const upper: { key: number; value: Buffer }[] = [];
  for (const [id, statistics] of Object.entries(file.statistics)) {
    const key = Number(id);
    const leaf = leaves.get(key);
    if (leaf === undefined) continue;
    sizes.push({ key, value: statistics.bytes });
    // Readers take counts and bounds as one value a row, which elements of lists and maps are not.
    if (leaf.repeated) continue;
    values.push({ key, value: statistics.values });
    nulls.push({ key, value: statistics.nulls });
    if (statistics.nan === false) nans.push({ key, value: 0 });
    const bounds = encodeBounds(leaf.type, statistics.min, statistics.max);
    if (bounds.lower) lower.push({ key, value: bounds.lower });
    if (bounds.upper) upper.push({ key, value: bounds.upper });
  }
  return {
    content: 0,
    file_path: uri,
    file_format: "PARQUET",
    partition: {},
    record_count: file.rows,
    file_size_in_bytes: file.bytes,
    column_sizes: sizes,
    value_counts: values,
    null_value_counts: nulls,
    nan_value_counts: nans,
    lower_bounds: lower,
    upper_bounds: upper,
    key_metadata: null,
    split_offsets: null,
    equality_ids: null,
    sort_order_id: 0,
    millrace_sha256: file.sha256 ?? null,
  };
}

/** The file with the four-byte bounds of the given fields as eight bytes: int → long, float → double. The same object when it has none. */
export function widenBounds(file: StoredFile, widened: ReadonlyMap<number, "long" | "double">): StoredFile {
  const narrow = (bound: { key: number; value: Buffer }): boolean => bound.value.length === 4 && widened.has(bound.key);
  const widen = (pairs: Pairs<Buffer>): Pairs<Buffer> =>
    pairs?.map((bound) => {
      if (!narrow(bound)) return bound;
      const value = Buffer.alloc(8);
      if (widened.get(bound.key) === "long") value.writeBigInt64LE(BigInt(bound.value.readInt32LE()));
      else value.writeDoubleLE(bound.value.readFloatLE());
      return { key: bound.key, value };
    }) ?? null;
  if (!file.lower_bounds?.some(narrow) && !file.upper_bounds?.some(narrow)) return file;
  return { ...file, lower_bounds: widen(file.lower_bounds), upper_bounds: widen(file.upper_bounds) };
}

/** What the manifest knows of the leaves of a file; `min` and `max` only where the bound is a value that occurs. */
export function statisticsOf(file: StoredFile, leaves: ReadonlyMap<number, Leaf>): Record<number, LeafStatistics> {
  const result: Record<number, LeafStatistics> = {};
  for (const { key, value } of file.column_sizes ?? []) result[key] = { values: 0, nulls: 0, bytes: value };
  const at = (key: number): LeafStatistics => (result[key] ??= { values: 0, nulls: 0, bytes: 0 });
  for (const { key, value } of file.value_counts ?? []) at(key).values = value;
  for (const { key, value } of file.null_value_counts ?? []) at(key).nulls = value;
  for (const { key, value } of file.nan_value_counts ?? []) at(key).nan = value > 0;
  const bound = (which: "min" | "max", pairs: Pairs<Buffer>): void => {
    for (const { key, value } of pairs ?? []) {
      const leaf = leaves.get(key);
      const text = leaf && exactText(leaf.type, value);
      if (text !== undefined) at(key)[which] = text;
    }
  };
  bound("min", file.lower_bounds);
  bound("max", file.upper_bounds);
  return result;
}

export function encodeManifest(entries: readonly ManifestEntry[], schema: IcebergSchema): Buffer {
  return encodeAvro(manifestSchema, entries, {
    schema: JSON.stringify(schema),
    "schema-id": String(schema["schema-id"]),
    "partition-spec": "[]",
    "partition-spec-id": "0",
    "format-version": "2",
    content: "data",
  });
}

/** Counts of a manifest for the list. `min_sequence_number` is of the live entries; those without a number get `sequence`. */
export function manifestFileOf(
  uri: string,
  length: number,
  entries: readonly ManifestEntry[],
  snapshotId: SnapshotId,
  sequence: number,
): ManifestFile {
  const counts = { files: [0, 0, 0], rows: [0, 0, 0] };
  let minimum = sequence;
  for (const entry of entries) {
    counts.files[entry.status]!++;
    counts.rows[entry.status]! += entry.data_file.record_count;
    if (entry.status !== status.deleted) minimum = Math.min(minimum, entry.sequence_number ?? sequence);
  }
  return {
    manifest_path: uri,
    manifest_length: length,
    partition_spec_id: 0,
    content: 0,
    sequence_number: sequence,
    min_sequence_number: minimum,
    added_snapshot_id: snapshotId,
    added_files_count: counts.files[status.added]!,
    existing_files_count: counts.files[status.existing]!,
    deleted_files_count: counts.files[status.deleted]!,
    added_rows_count: counts.rows[status.added]!,
    existing_rows_count: counts.rows[status.existing]!,
    deleted_rows_count: counts.rows[status.deleted]!,
  };
}

/** The entries of a manifest with what they inherit from the list filled in, and the schema that it was written with. */
export function decodeManifest(
  bytes: Uint8Array,
  manifest: ManifestFile,
  path: string,
): { entries: ManifestEntry[]; schema: IcebergSchema | undefined } {
  const { records, metadata } = decodeAvro(bytes, manifestNames, path);
  const entries = records as unknown as ManifestEntry[];
  for (const entry of entries) {
    entry.snapshot_id ??= manifest.added_snapshot_id;
    entry.sequence_number ??= manifest.sequence_number;
    entry.file_sequence_number ??= manifest.sequence_number;
    // Format v1 has none.
    entry.data_file.content = (entry.data_file.content as number | undefined) ?? 0;
  }
  const schema = metadata["schema"];
  return { entries, schema: schema === undefined ? undefined : (JSON.parse(schema) as IcebergSchema) };
}

export function encodeManifestList(
  manifests: readonly ManifestFile[],
  snapshot: { id: SnapshotId; parent: SnapshotId | undefined; sequence: number },
): Buffer {
  return encodeAvro(manifestListSchema, manifests, {
    "snapshot-id": String(snapshot.id),
    "parent-snapshot-id": String(snapshot.parent ?? "null"),
    "sequence-number": String(snapshot.sequence),
    "format-version": "2",
  });
}

export function decodeManifestList(bytes: Uint8Array, path: string): ManifestFile[] {
  const { records } = decodeAvro(bytes, manifestListNames, path);
  return records.map((record) => {
    const manifest = record as unknown as ManifestFile;
    return { ...manifest, ...withDefaults(manifest) };
  });
}

/** What manifest lists of format v1 leave out. */
function withDefaults(
  manifest: Partial<ManifestFile>,
): Pick<ManifestFile, "content" | "sequence_number" | "min_sequence_number"> {
  const { content = 0, sequence_number = 0, min_sequence_number = 0 } = manifest;
  return { content, sequence_number, min_sequence_number };
}

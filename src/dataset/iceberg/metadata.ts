import { randomInt, randomUUID } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { type Column, MillraceError, messageOf } from "../../core/index.ts";
import type { SnapshotId } from "./manifest.ts";
import { type IcebergSchema, highestId, toIcebergSchema } from "../../core/iceberg-schema.ts";

/** Table metadata: https://iceberg.apache.org/spec/#table-metadata-fields */
export interface TableMetadata {
  "format-version": number;
  "table-uuid": string;
  location: string;
  "last-sequence-number": number;
  "last-updated-ms": number;
  "last-column-id": number;
  schemas: IcebergSchema[];
  "current-schema-id": number;
  "partition-specs": { "spec-id": number; fields: unknown[] }[];
  "default-spec-id": number;
  "last-partition-id": number;
  "sort-orders": unknown[];
  "default-sort-order-id": number;
  properties: Record<string, string>;
  "current-snapshot-id": SnapshotId;
  refs: Record<string, { "snapshot-id": SnapshotId; type: "branch" | "tag" }>;
  snapshots: Snapshot[];
  "snapshot-log": { "timestamp-ms": number; "snapshot-id": SnapshotId }[];
  "metadata-log": { "timestamp-ms": number; "metadata-file": string }[];
}

export interface Snapshot {
  "snapshot-id": SnapshotId;
  "parent-snapshot-id"?: SnapshotId;
  "sequence-number": number;
  "timestamp-ms": number;
  "manifest-list": string;
  summary: Record<string, string>;
  "schema-id"?: number;
}

/** Properties of ours in table metadata. */
export const property = {
  /** Identifies who wrote this metadata file, so that a lost reply can be told from a lost race. */
  commit: "millrace.commit",
  /** The same of the metadata file before. */
  previousCommit: "millrace.previous-commit",
  /** How many versions are retained; tagged ones and the current one always are. */
  maximumVersions: "millrace.history.max-versions",
  /** Snapshots that a rollback left behind: ids, separated by commas. */
  leftBehind: "millrace.history.left-behind",
  /** How many times gc removed files: a commit that was prepared before one prepares its files again. */
  sweeps: "millrace.gc.sweeps",
  /** How many erasures were begun. */
  erasureEpoch: "millrace.erasure.epoch",
  /** The erasure that is going on: JSON of `PendingErasure`. */
  pendingErasure: "millrace.erasure.pending",
  /** What was erased: a JSON array of `Erasure`. */
  erasures: "millrace.erasures",
  /** Values whose rows must not come back: a JSON array of `Suppression`. */
  suppressed: "millrace.suppressed",
} as const;

/** Each commit writes the whole list of versions, so its length decides what a commit costs. */
export const defaultMaximumVersions = 500;

/** So many of the newest metadata files are never removed. */
export const retainedMetadataFiles = 100;

export function newMetadata(location: string, columns: readonly Column[]): TableMetadata {
  return {
    "format-version": 2,
    "table-uuid": randomUUID(),
    location,
    "last-sequence-number": 0,
    "last-updated-ms": Date.now(),
    "last-column-id": highestId(columns),
    schemas: [toIcebergSchema(columns, 0)],
    "current-schema-id": 0,
    "partition-specs": [{ "spec-id": 0, fields: [] }],
    "default-spec-id": 0,
    "last-partition-id": 999,
    "sort-orders": [{ "order-id": 0, fields: [] }],
    "default-sort-order-id": 0,
    properties: {
      "write.format.default": "parquet",
      "write.parquet.compression-codec": "zstd",
      "write.metadata.delete-after-commit.enabled": "true",
      "write.metadata.previous-versions-max": String(retainedMetadataFiles),
      [property.maximumVersions]: String(defaultMaximumVersions),
    },
    "current-snapshot-id": -1,
    refs: {},
    snapshots: [],
    "snapshot-log": [],
    "metadata-log": [],
  };
}

/** Snapshots never change, so their text is made once. */
const snapshotTexts = new WeakMap<Snapshot, string>();

export function encodeMetadata(metadata: TableMetadata): Buffer {
  const texts = metadata.snapshots.map((snapshot) => {
    let text = snapshotTexts.get(snapshot);
    if (text === undefined) {
      text = JSON.stringify(snapshot, exactIds);
      snapshotTexts.set(snapshot, text);
    }
    return text;
  });
  const { snapshots: _, ...rest } = metadata;
  const head = JSON.stringify(rest, exactIds);
  return Buffer.from(`${head.slice(0, -1)},"snapshots":[${texts.join(",\n")}]}`);
}

/** `JSON.rawJSON` of ECMAScript 2026, which TypeScript does not know yet. */
const json = JSON as typeof JSON & { rawJSON(text: string): unknown };

function exactIds(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? json.rawJSON(String(value)) : value;
}

/** Ids of other writers exceed 2^53; they are kept exact by way of strings. */
const wideId = /("(?:current-|parent-)?snapshot-id"\s*:\s*)(-?\d{16,})/g;
const idKeys = new Set(["snapshot-id", "current-snapshot-id", "parent-snapshot-id"]);

/** Throws `corrupt` or `unsupported`. What older or sparser writers leave out is filled in. */
export function decodeMetadata(bytes: Uint8Array, path: string): TableMetadata {
  let metadata: Readable;
  try {
    const plain = bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes;
    const text = new TextDecoder("utf8", { fatal: true }).decode(plain);
    const wide = wideId.test(text);
    wideId.lastIndex = 0;
    const parsed: unknown = wide
      ? JSON.parse(text.replace(wideId, '$1"$2"'), (key, value: unknown) =>
          idKeys.has(key) && typeof value === "string" ? exactId(value) : value,
        )
      : JSON.parse(text);
    if (!isReadable(parsed)) throw new Error("it has no `location`");
    metadata = parsed;
  } catch (cause) {
    throw new MillraceError("corrupt", `\`${path}\` is not readable table metadata: ${messageOf(cause)}`, {
      cause,
      where: { file: path },
    });
  }
  const version = metadata["format-version"];
  if (version !== 1 && version !== 2) {
    throw new MillraceError(
      "unsupported",
      `\`${path}\` has Iceberg format version ${String(version)}; Millrace reads 1 and 2`,
      {
        where: { file: path },
      },
    );
  }
  return complete(metadata, path);
}

type Readable = Partial<TableMetadata> & Pick<TableMetadata, "format-version" | "location">;

function isReadable(value: unknown): value is Readable {
  return typeof value === "object" && value !== null && typeof (value as { location?: unknown }).location === "string";
}

function exactId(text: string): SnapshotId {
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : BigInt(text);
}

function complete(partial: Readable, path: string): TableMetadata {
  const metadata = {
    "table-uuid": "",
    "last-sequence-number": 0,
    "last-updated-ms": 0,
    "last-column-id": 0,
    "current-schema-id": 0,
    "partition-specs": [],
    "default-spec-id": 0,
    "last-partition-id": 999,
    "sort-orders": [],
    "default-sort-order-id": 0,
    ...partial,
    schemas: partial.schemas ?? legacySchemas(partial, path),
    properties: partial.properties ?? {},
    refs: partial.refs ?? {},
    snapshots: partial.snapshots ?? [],
    "snapshot-log": partial["snapshot-log"] ?? [],
    "metadata-log": partial["metadata-log"] ?? [],
    "current-snapshot-id": partial["current-snapshot-id"] ?? -1,
  };
  metadata.snapshots.forEach((snapshot: Partial<Snapshot>, index) => {
    if (typeof snapshot["manifest-list"] !== "string") {
      throw new MillraceError(
        "unsupported",
        `\`${path}\` has a snapshot without a manifest list (an early form of format v1)`,
      );
    }
    snapshot.summary ??= {};
    if ((snapshot["parent-snapshot-id"] as unknown) === null) delete snapshot["parent-snapshot-id"];
    // Format v1 has no sequence numbers: people still need a number to say which version they mean.
    snapshot["sequence-number"] ??= index + 1;
  });
  metadata.snapshots.sort((left, right) => left["sequence-number"] - right["sequence-number"]);
  if (metadata["current-snapshot-id"] !== -1 && metadata.refs["main"] === undefined) {
    metadata.refs["main"] = { "snapshot-id": metadata["current-snapshot-id"], type: "branch" };
  }
  return metadata;
}

function legacySchemas(partial: Partial<TableMetadata>, path: string): IcebergSchema[] {
  const { schema } = partial as { schema?: Omit<IcebergSchema, "schema-id"> & { "schema-id"?: number } };
  if (schema === undefined) throw new MillraceError("corrupt", `\`${path}\` has no schema`, { where: { file: path } });
  return [{ ...schema, "schema-id": schema["schema-id"] ?? 0 }];
}

export function schemaOf(metadata: TableMetadata, id: number | undefined): IcebergSchema {
  const wanted = id ?? metadata["current-schema-id"];
  const schema = metadata.schemas.find((candidate) => candidate["schema-id"] === wanted);
  if (schema === undefined) throw new MillraceError("corrupt", `the table metadata has no schema ${wanted}`);
  return schema;
}

export function sweepsOf(metadata: TableMetadata): number {
  return Number(metadata.properties[property.sweeps] ?? 0);
}

export function currentSnapshot(metadata: TableMetadata): Snapshot | undefined {
  return snapshotById(metadata, metadata["current-snapshot-id"]);
}

export function snapshotById(metadata: TableMetadata, id: SnapshotId | undefined): Snapshot | undefined {
  return metadata.snapshots.findLast((snapshot) => snapshot["snapshot-id"] === id);
}

/** A random id below 2^53 that JSON numbers of every language carry exactly. */
export function newSnapshotId(): number {
  return randomInt(1, 2 ** 48 - 1) * 16 + randomInt(0, 16);
}

/** The snapshots that one came from, itself first, as far as they are retained; default those of the current one. */
export function lineageOf(metadata: TableMetadata, newest = currentSnapshot(metadata)): Set<Snapshot> {
  const leftBehind = new Set((metadata.properties[property.leftBehind] ?? "").split(","));
  const byId = new Map(metadata.snapshots.map((snapshot) => [snapshot["snapshot-id"], snapshot]));
  const lineage = new Set<Snapshot>();
  for (let snapshot = newest; snapshot !== undefined && !lineage.has(snapshot);) {
    lineage.add(snapshot);
    const parent = snapshot["parent-snapshot-id"];
    if (parent === undefined) break;
    // An expired parent breaks the chain: the next one is the newest older version that no rollback left behind.
    const number = snapshot["sequence-number"];
    snapshot =
      byId.get(parent) ??
      metadata.snapshots.findLast(
        (older) => older["sequence-number"] < number && !leftBehind.has(String(older["snapshot-id"])),
      );
  }
  return lineage;
}

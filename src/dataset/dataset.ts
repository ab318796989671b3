import type { Column, Cursor, Entry, LeafStatistics, MillraceError, Sql, StagedFile, Store } from "../core/index.ts";
import type { ErasureState } from "./erasure.ts";
import type { RowFilter } from "./row-filter.ts";

/** One snapshot of a dataset. People write `orders@7`; 7 is the Iceberg sequence number of the snapshot. */
export interface Version {
  number: number;
  snapshotId: bigint;
  /** Milliseconds since the epoch. */
  time: number;
  operation: "append" | "overwrite" | "replace" | "delete";
  rows: number;
  files: number;
  bytes: number;
  /** Iceberg's summary, ours included: keys of ours start with `millrace.`. */
  summary: Record<string, string>;
  tags: string[];
  /** False for versions that a rollback left behind. */
  current: boolean;
  schemaId: number;
}

/** A data file as the current or a past version names it. */
export interface DataFile {
  /** Path in the store. */
  path: string;
  rows: number;
  bytes: number;
  /** Lower-case hexadecimal; undefined for files of other writers. */
  sha256?: string;
  /** Version that added it. */
  version: number;
  statistics: Record<number, LeafStatistics>;
}

export type SchemaPolicy = "evolve" | "freeze" | "reject";

/** A column as somebody wants it, matched to the dataset by name (or by `renamedFrom`). */
export interface WantedColumn extends Column {
  renamedFrom?: string;
}

/** What to commit. The dataset reads its newest state, rebases where that is safe and throws `conflict` where it is not. */
export interface Change {
  operation: "append" | "overwrite" | "replace" | "delete";
  add: StagedFile[];
  /** Paths of data files that leave the dataset. */
  remove?: string[];
  /** `replace`: all files of the current version leave. */
  removeAll?: boolean;
  /** Idempotency: when a snapshot in the history has this id, nothing is committed and that version is returned. */
  runId?: string;
  /** The dataset's cursor for the flow must still be this, else `conflict`. `null`: none yet. Undefined: not checked. */
  expectCursor?: { flow: string; cursor: Cursor | null };
  /** The version the change was computed from. Required when `remove` or `removeAll` is given; any newer version then conflicts. */
  base?: number;
  /** The `epoch` of `erasures()` when the rows were staged: an erasure since then conflicts. Default: when `commit` is called. */
  erasures?: number;
  /** Columns of the new schema with ids from `evolve`, when the schema changes. */
  columns?: Column[];
  /** Written into the snapshot summary; keys must start with `millrace.`. */
  summary?: Record<string, string>;
}

export interface VerifyProblem {
  version: number;
  file: string;
  problem: string;
}

export interface VerifyReport {
  versions: number;
  files: number;
  rows: number;
  bytes: number;
  problems: VerifyProblem[];
}

export interface GcOptions {
  /** Only say what would go. */
  dryRun?: boolean;
  /** Unreferenced files younger than this stay: they may belong to a running writer. Default 24 h. Milliseconds. */
  minimumAgeMs?: number;
  /** Versions older than this expire first, tags and the newest `keepVersions` excepted. Milliseconds. */
  expireOlderThanMs?: number;
  keepVersions?: number;
  /** The moment that ages are counted from: milliseconds since the epoch. Default: the clock of this machine. */
  now?: number;
  /** Paths that must stay whatever the metadata says: staged files of unfinished runs. */
  protect?: (path: string) => boolean;
  /** Paths of all objects that rows of versions name, those `without` excepted. Absent: what lies in `assets/` stays. */
  objects?: (without: ReadonlySet<bigint>) => Promise<ReadonlySet<string>>;
}

export interface LeaseOptions {
  /** Milliseconds that it counts for when it is not renewed. Default 15 minutes. It is renewed three times as often. */
  ttlMs?: number;
}

/** Ends with `await using`. */
export interface Lease extends AsyncDisposable {
  /** Why there is none: the store cannot be written to. Reading goes on, and a gc may come between. */
  readonly missing?: MillraceError;
}

/** Somebody reads a version, and gc leaves it. */
export interface LeaseInfo {
  version: number;
  /** `feed`, `export`, `publish`, `lookup`. */
  by: string;
  host: string;
  pid: number;
  /** When it ends if it is not renewed: milliseconds since the epoch. */
  until: number;
}

export interface GcReport {
  expired: number[];
  /** Versions that are being read, which therefore stayed. */
  leased: LeaseInfo[];
  removed: Entry[];
  kept: number;
  bytes: number;
}

export interface Dataset {
  readonly name: string;
  readonly store: Store;
  /** Folder of the dataset in the store. */
  readonly folder: string;
  /** Reads the newest metadata again. */
  refresh(): Promise<void>;
  /** All versions that are retained, oldest first. */
  versions(): Version[];
  /** A version and those that it came from, newest first, as far as they are retained. Not what a rollback left behind. */
  ancestry(version: Version): Version[];
  /** The current version; undefined for a dataset that has no snapshot yet. */
  current(): Version | undefined;
  /** `7`, a tag, or undefined for the current one. Throws `not-found` with what there is. */
  version(reference?: string | number): Version;
  /** Columns with field ids, of the current schema or of a version. */
  columns(version?: Version): Column[];
  /** Data files of a version, default the current one; with a filter those that may hold such rows, by the bounds in the manifests. */
  files(version?: Version, filter?: RowFilter): Promise<DataFile[]>;
  /** A FROM item that reads a version with the engine, columns resolved by field id. An empty version gives a typed empty relation. */
  relation(
    version?: Version,
    files?: readonly DataFile[],
    /**
     * `rowNumber`: adds `file_row_number`, the place of the row in its file. `fetched: false`: copies of files in a store that is
     * elsewhere are named and not made; `fetch` makes them.
     */
    options?: { rowNumber?: boolean; fetched?: boolean },
  ): Promise<Sql>;
  /** Brings copies of data files to this machine, where the store is elsewhere. */
  fetch(files: readonly DataFile[], signal?: AbortSignal): Promise<void>;
  /** The cursor that the newest snapshot of the current history holds for a flow. */
  cursor(flow: string): Cursor | undefined;
  /** What was erased from the dataset, and what is being erased. */
  erasures(): ErasureState;
  /** Throws `conflict` while an erasure is going on. */
  assertOpen(): void;
  /** A predicate of the rows that may come in, over these columns; undefined when nothing is suppressed. */
  admitted(columns: readonly Column[]): Sql | undefined;
  /** The version that a run committed, if it did. */
  versionOfRun(runId: string): Version | undefined;
  /** The columns after taking in `wanted` by the policy; ids assigned. Throws `schema` naming column, both types and the setting. */
  evolve(wanted: readonly WantedColumn[], policy: SchemaPolicy): { columns: Column[]; changed: boolean };
  commit(change: Change): Promise<Version>;
  /** A schema change without data: add, widen, rename, drop. */
  alter(columns: Column[]): Promise<void>;
  tag(name: string, version: Version): Promise<void>;
  untag(name: string): Promise<void>;
  /** Makes an earlier version the current one again. Nothing is lost: later versions stay until they expire. */
  rollback(version: Version): Promise<void>;
  /** Drops versions from the metadata; files go with `gc`. */
  expire(versions: readonly Version[]): Promise<void>;
  gc(options?: GcOptions): Promise<GcReport>;
  /** Keeps `gc` from a version and its files until it ends. `by`: what reads it, for people. Throws `not-found` for one that has expired. */
  lease(version: Version, by: string, options?: LeaseOptions): Promise<Lease>;
}

/** The built-in catalog: a folder per dataset in one store. */
export interface Catalog {
  readonly store: Store;
  /** Names of the datasets, sorted. */
  list(): Promise<string[]>;
  exists(name: string): Promise<boolean>;
  /** Throws `not-found` with the nearest name. */
  open(name: string): Promise<Dataset>;
  /** Throws `already-exists`. The first metadata file is created conditionally. */
  create(name: string, columns: readonly Column[]): Promise<Dataset>;
}

import type { ColumnBatch } from "./source.ts";
import type { Column } from "./types.ts";

/** The rows of one version of a dataset, as often as they are asked for and always the same. */
export interface VersionRows {
  dataset: string;
  /** Number of the version: with `dataset` it names these rows for ever. */
  version: number;
  /** The run that made it, when one did. */
  run?: string;
  /** How many erasures have been through the dataset: rows of the version may be gone since a copy with a smaller number. Default 0. */
  erasures?: number;
  columns: readonly Column[];
  rows: number;
  /**
   * CSV (header line, RFC 4180, null is an empty unquoted field, the empty string is `""`) or NDJSON, in the engine's notation:
   * times as ISO 8601, binary as hexadecimal, nested values as JSON; 64-bit integers and decimals exact.
   * Inside of JSON a decimal, NaN and the infinities may be text, because JSON numbers would lose them.
   */
  bytes(options: { format: "csv" | "ndjson"; signal?: AbortSignal }): AsyncIterable<Uint8Array>;
  /** Columns in Arrow layout. Decimals, dates, times and uuids are text in the engine's notation. */
  batches(options?: { rows?: number; signal?: AbortSignal }): AsyncIterable<ColumnBatch>;
}

export interface PublishRequest {
  /** Table, key prefix or collection that holds the copy. */
  target: string;
  /** `replace`: afterwards the copy is the version. `merge`: rows of the version take the place of rows with the same key; the others stay. */
  mode: "replace" | "merge";
  /** Columns that identify a row. Required for `merge` and for lookups. */
  key: readonly string[];
  signal?: AbortSignal;
}

export interface PublishReport {
  /** `unchanged`: this version was there already, and nothing was written. */
  status: "published" | "unchanged";
  /** Rows written. */
  rows: number;
}

/**
 * A value as a lookup gives it, from an index and from every copy alike: 64-bit integers are `bigint`; decimals are exact text; dates and times
 * are ISO 8601 text, those with a zone in UTC (see `momentText`); maps are objects, whose keys are text; null stays null.
 */
export type LookupValue =
  | string
  | number
  | bigint
  | boolean
  | Uint8Array
  | null
  | LookupValue[]
  | { [field: string]: LookupValue };

export interface LookupRequest {
  target: string;
  /** Values of the key columns, in the order of `key` of the publish, one entry for each row wanted. */
  keys: readonly (readonly LookupValue[])[];
  /** Columns wanted; all when absent. */
  columns?: readonly string[];
  signal?: AbortSignal;
}

export interface LookupReply {
  /** The version that all rows are of: how stale the answer is can be said. */
  version: number;
  /** In the order of `keys`; a key that is not there is `undefined`. */
  rows: (Record<string, LookupValue> | undefined)[];
}

/** A database medium that holds a published copy of a dataset. */
export interface Sink extends AsyncDisposable {
  /** Reaches the system and proves that it may write there; changes nothing that lasts. */
  check(signal?: AbortSignal): Promise<void>;
  /**
   * Idempotent: the same version of the same dataset twice (with the same `erasures`) is a no-op. Whoever reads the copy meanwhile, or after an
   * interrupted publish, sees the copy before or the copy after. Throws `value` where a value has no exact place.
   */
  publish(version: VersionRows, request: PublishRequest): Promise<PublishReport>;
  /** Rows by key. Throws `not-found` when nothing was published under `target`. */
  get?(request: LookupRequest): Promise<LookupReply>;
}

export interface SinkCapabilities {
  /** Implements `get`. */
  lookup: boolean;
  /** Accepts `mode: merge`. */
  merge: boolean;
  /** What other systems read meanwhile is the copy before or after (false: they may see parts of both). */
  atomic: boolean;
}

export interface SinkContext {
  /** The name of the connection, for messages. */
  connection: string;
  /** Relative paths in options are taken from here. */
  folder: string;
}

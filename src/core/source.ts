import type { KeepAsset } from "./asset.ts";
import type { Store } from "./store.ts";
import type { Column } from "./types.ts";
import type { EngineView } from "./engine-view.ts";

/** An opaque, versioned JSON position in a stream. It is committed in the snapshot with the data it covers. */
export type Cursor = { [key: string]: CursorValue };
export type CursorValue = string | number | boolean | null | CursorValue[] | { [key: string]: CursorValue };

/** What `discover` shows of one stream. */
export interface StreamInfo {
  name: string;
  columns: Column[];
  /** Columns of the primary key, in order. Empty when there is none. */
  key: string[];
  /** Columns that can serve as a cursor: ordered, and only growing as far as the source knows. */
  cursors: string[];
  /** Estimates of the source's own statistics, when it has them. */
  rows?: number;
  bytes?: number;
  kind?: "table" | "view" | "query" | "files" | "topic" | "endpoint";
}

/** What a flow asks of a stream. */
export interface ReadRequest {
  /** The name of the stream, or undefined when `query` is given. */
  stream?: string;
  /** A statement in the source's own language whose result is the stream. */
  query?: string;
  /** Column to read incrementally by. Without it the whole stream is read each time, or what the source itself knows as new. */
  cursor?: string;
  /** Read this much before the cursor again to catch late rows: seconds for times, units for numbers. */
  lag?: number;
  /** Columns to read; all when absent. */
  columns?: string[];
  /** A bound on one part, bytes of source data. */
  partBytes?: number;
  /** Options of the stream that the source itself defines. */
  options?: Record<string, unknown>;
  /** Columns that identify a row of the dataset: the key of the flow. */
  key?: string[];
  /** The flow that asks. Absent where somebody only looks. */
  flow?: string;
  /** All flows of the configuration that read the connection: what a source keeps for its readers stays until each of them has it. */
  readers?: string[];
}

/** An independent, serialisable unit of work. `spec` is the source's own business; it must survive JSON. */
export interface Part {
  id: string;
  spec: { [key: string]: CursorValue };
  rows?: number;
  bytes?: number;
}

export interface Plan {
  columns: Column[];
  key: string[];
  parts: Part[];
  /** Where the stream stands once all parts are committed. Undefined: the stream has no position (it is read whole). */
  cursor?: Cursor;
  /** The source had more than one plan may hold: the next one can be made at once. */
  more?: boolean;
  /** True when re-read rows of earlier runs may be among the parts (lag, boundary rows) and `dedupe` names what tells them apart. */
  overlap?: boolean;
  /**
   * Name of a boolean column of `columns` that marks deletions. In a merge the row with the key of such a record goes and none is added;
   * with `mode: append` it is a row like any other.
   */
  deleted?: string;
  /** Columns that tell in a merge which of two rows with one key is newer, the most significant first, where the flow has no cursor column. */
  order?: string[];
  /** Records whose `column` is `value` say that all records before them, by `order`, are gone. They need no key. */
  emptied?: { column: string; value: string };
  /** What a person should know though the run goes on. */
  warnings?: string[];
}

/** A file on a store or on the local disk. */
export interface FileRef {
  /** A path on this machine that the engine can open. */
  path: string;
  /** How people name it: the path in the source. */
  name: string;
  size: number;
  /** Milliseconds since the epoch. */
  modified: number;
  etag?: string;
}

/**
 * How the text of a column is to be decoded when it is not the engine's own notation.
 * `json`: the cell is JSON of the column's (nested) type. `hex`, `base64`: bytes. `pg-hex`: PostgreSQL's `\x…`.
 */
export type Encoding = "json" | "hex" | "base64" | "pg-hex";

/** Columns in Arrow layout: one typed array per column, strings as an array of JavaScript strings. */
export interface ColumnBatch {
  rows: number;
  /** One entry per column, in the order of `columns`. Null is `null` in arrays; typed arrays carry `validity`. */
  columns: ColumnData[];
}
export interface ColumnData {
  values:
    | Int8Array
    | Int16Array
    | Int32Array
    | BigInt64Array
    | Float32Array
    | Float64Array
    | readonly (string | Uint8Array | boolean | bigint | number | null)[];
  /** One byte a row, 1 = present. Absent: a typed array has no nulls. */
  validity?: Uint8Array;
  /** Lists of numbers: the elements of all rows, and where those of each row begin. `values` is empty then. */
  list?: { starts: Int32Array; lengths: Int32Array; elements: ColumnData };
}

/** One unstructured object. */
export interface Asset {
  uri: string;
  mediaType: string;
  size: number;
  /** Lower-case hexadecimal. */
  sha256: string;
  /** Milliseconds since the epoch. */
  modified: number;
  bytes?: Uint8Array;
}

/** A line or row that cannot become a row of the stream. */
export interface RejectedRecord {
  reason: string;
  /** File and line, topic and offset, table and key: enough to find it again. */
  origin: string;
  /** The record as it was, as text. */
  record: string;
}

export type Payload =
  | {
      form: "files";
      format: string;
      files: FileRef[];
      options?: Record<string, unknown>;
      columns?: Column[];
      /**
       * Looks at what the engine does not when it reads the files: checksums, limits. Runs beside the reading, and what was read is
       * not kept when it throws.
       */
      verify?: (signal: AbortSignal) => Promise<void>;
      /** The files were read: what was fetched for them may go. */
      release?: () => Promise<void>;
    }
  | {
      form: "bytes";
      format: "csv" | "ndjson";
      columns: Column[];
      /** By column name; a column that is not named is in the engine's own notation. */
      encodings?: Record<string, Encoding>;
      chunks: AsyncIterable<Uint8Array>;
      /** Once `chunks` has ended: how many records it held, as the source counted them. */
      rows?: () => number;
      /** Once `chunks` has ended: records that the source itself could not bring into the form. */
      rejected?: () => RejectedRecord[];
      /** The chunks were read: what was fetched for them may go. */
      release?: () => Promise<void>;
    }
  | { form: "columns"; columns: Column[]; batches: AsyncIterable<ColumnBatch> }
  | { form: "assets"; assets: AsyncIterable<Asset> };

/** What `Source.measure` reports of a column; checksums as `docs/reference/checksums.md` defines them. */
export interface ColumnFacts {
  nulls: number;
  /** Order-independent sum over the canonical text of each value, as a decimal string. */
  checksum?: string;
  min?: string;
  max?: string;
}

export interface ReadOptions {
  signal?: AbortSignal;
  /** Where the content of assets is kept; without it, it is in their rows or nowhere. */
  keep?: KeepAsset;
}

/** How far a reader is behind the end of a stream; what the source cannot tell is absent. */
export interface Lag {
  records?: number;
  bytes?: number;
  /** Age of the oldest record that was not read yet, seconds. */
  seconds?: number;
}

export interface Source extends AsyncDisposable {
  /** Reaches the system and may read it; moves no rows. Throws what is wrong and how to mend it. */
  check(signal?: AbortSignal): Promise<void>;
  streams(signal?: AbortSignal): AsyncIterable<StreamInfo>;
  /**
   * Bounded parts that are together exactly what is new after `after`. Zero parts: nothing is new. With `peek` only the columns are asked about:
   * a source that records what cannot be asked for again does not record for it. `instead` is where the dataset stands when all is to be read
   * again instead of what is new: what the source keeps for that position is not needed once the plan is committed.
   */
  plan(
    request: ReadRequest,
    options: { after?: Cursor; instead?: Cursor; signal?: AbortSignal; peek?: boolean },
  ): Promise<Plan>;
  /** May be called again, also from another process: the same part gives the same records, or a clear error. */
  read(part: Part, request: ReadRequest, options: ReadOptions): Promise<Payload>;
  /**
   * Resolves with true as soon as there may be something after `after`, with false when the time is up or the signal was given. Without it, a
   * flow that goes on for ever plans again after a while.
   */
  wait?(
    request: ReadRequest,
    options: { after?: Cursor; milliseconds: number; signal?: AbortSignal },
  ): Promise<boolean>;
  /** What lies between `after` and the end of the stream. Cheap: it is asked several times a second. */
  lag?(request: ReadRequest, options: { after?: Cursor; signal?: AbortSignal }): Promise<Lag>;
  /** Rows, nulls, minimum, maximum and checksum of the stream as it is now, computed by the source itself. */
  measure?(
    request: ReadRequest,
    options: { upTo?: Cursor; columns: Column[]; signal?: AbortSignal },
  ): Promise<{ rows: number; columns: Record<string, ColumnFacts> }>;
}

/** What a source is given when it is opened. */
export interface SourceContext {
  /** The name of the connection, for messages. */
  connection: string;
  /** Relative paths in options are taken from here: the folder of the configuration file. */
  folder: string;
  /** The engine, as far as a source may use it: schema inference and reading of files. */
  engine: EngineView;
  /** A local folder for temporary files that the engine is let into. Its owner removes it. Default: a folder of the source's own. */
  scratch?: string;
  /** A store by the name of its connection, or by its address. Its owner closes it. Throws `not-found`, `config`. */
  store?: (reference: string) => Promise<Store>;
  /** Gives a store of the source's own copies on this machine, in the read cache of the lake. The source closes it. */
  cached?: () => Promise<(store: Store) => Store>;
}

export interface SourceCapabilities {
  /** `stream` is a glob or a name that exists only in the source (false: files), or a table listed by `streams`. */
  discover: boolean;
  /** Reads only what is new after a cursor. */
  incremental: boolean;
  /** Accepts `query`. */
  query: boolean;
  /** The same part can be read again later (false: the source forgets). */
  replayable: boolean;
  /** Parts are read from one consistent moment of the source. */
  snapshot: boolean;
  /** Deleted records can be seen. */
  deletes: boolean;
  /** Implements `measure`. */
  measure: boolean;
}

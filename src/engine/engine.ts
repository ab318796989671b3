import type {
  Column,
  ColumnBatch,
  EngineView,
  Format,
  Payload,
  RejectedRecord,
  Sql,
  StagedFile,
} from "../core/index.ts";
import type { VectorBatch } from "./vectors.ts";

export interface EngineOptions {
  /** DuckDB's notation. Default `500MB`, so that a process stays below 0.7 GB. */
  memoryLimit?: string;
  /** Default: the number of processors. */
  threads?: number;
  /** Where the engine spills what does not fit into memory. Made when absent; its contents are removed on close. */
  spillFolder: string;
  /** Folders and files that SQL may touch. Everything else, and the network, is refused. */
  allowed: string[];
  /** Rows leave in the order of the files and rows that they come from; costs memory. Default false. */
  keepOrder?: boolean;
}

/** What `land` is to do with one payload. */
export interface LandRequest {
  payload: Payload;
  /** How to read `payload.files`. Required for the form `files`. */
  format?: Format;
  /**
   * The SELECT that makes output rows from the input, given the name of the input relation:
   * transform, casts, split column. Its columns must be those of `columns`, by name. Default: `SELECT * FROM input`.
   */
  select?: (input: string) => Sql;
  /** True when `select` gives exactly one row for each input row, so that what was read need not be counted apart. */
  rowwise?: boolean;
  /**
   * For the second reading of a stream whose first `land` failed with `parse`: records that do not fit are set apart instead of
   * failing the whole. Files need no such call: the engine reads them again by itself.
   */
  tolerant?: boolean;
  /** Columns of the output with their field ids; what `select` gives is cast to these types, strictly. */
  columns: Column[];
  /** Local folder for the files. They are named `<prefix>-<n>.parquet`. */
  folder: string;
  prefix: string;
  /** A new file is begun near this size. Default 256 MiB. */
  fileBytes?: number;
  /** Rows read and bytes consumed so far, at most a few times a second. */
  onProgress?: (progress: { rows: number; bytes: number }) => void;
  signal?: AbortSignal;
}

export interface Landed {
  /** `path` is the local path; files are fsynced. Zero rows give zero files. */
  files: StagedFile[];
  /** Records read from the payload: `written + rejected + filtered`. */
  read: number;
  written: number;
  /** Read, good, and left out (or added, when negative) by `select`. */
  filtered: number;
  rejected: RejectedRecord[];
  /** How many records were rejected; `rejected` holds all of them. */
  bytes: number;
}

/**
 * DuckDB, locked down. The only place that speaks to it.
 * Lossless: BIGINT arrives as `bigint`; DECIMAL, DATE, TIMESTAMP, UUID as exact text; NULL as null.
 */
export interface Engine extends EngineView, AsyncDisposable {
  /** Runs statements; the result is not read. */
  run(sql: string, signal?: AbortSignal): Promise<void>;
  /** A result that fits into memory, one object a row. */
  query(sql: string, signal?: AbortSignal): Promise<Record<string, unknown>[]>;
  /** Columns of any SELECT. */
  columnsOf(select: Sql): Promise<Column[]>;
  /** A result of any size, in batches of columns, pulled. */
  stream(
    select: Sql,
    signal?: AbortSignal,
    /** `flatLists`: lists of numbers as `ColumnData.list`; bytes are good until the next batch only. */
    options?: { flatLists?: boolean },
  ): AsyncIterable<{ columns: Column[]; batch: ColumnBatch }>;
  /** As `stream`, in Arrow's layout, nested columns too, without a JavaScript value for each. */
  vectors(select: Sql, signal?: AbortSignal): AsyncIterable<VectorBatch>;
  /** Payload → Parquet files with field ids and statistics. Strict first; the tolerant second pass only when the data does not fit. */
  land(request: LandRequest): Promise<Landed>;
  /** The rows of a SELECT → Parquet files, as `land` does. For merge, compaction and quarantine. */
  write(select: Sql, request: Omit<LandRequest, "payload" | "format" | "select" | "onProgress">): Promise<StagedFile[]>;
  /** The rows of a SELECT → one file of any format: `copy` holds the options of COPY … TO. Returns the number of rows. */
  export(select: Sql, file: string, copy: string, signal?: AbortSignal): Promise<number>;
  /** The same as bytes, pulled; nothing is kept on disk. */
  exportStream(select: Sql, copy: string, signal?: AbortSignal): AsyncIterable<Uint8Array>;
}

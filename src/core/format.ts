import type { Column } from "./types.ts";
import type { EngineView } from "./engine-view.ts";
import type { CursorValue, FileRef } from "./source.ts";
import type { Sql } from "./check.ts";

/** How the engine reads files of a format by itself. */
export interface NativeReader {
  /**
   * A FROM item that reads `files` and fails on the first record that does not fit.
   * Without `columns` the engine infers them.
   */
  scan(files: readonly FileRef[], columns?: readonly Column[]): Sql;
  /**
   * For the second pass, when `scan` failed on the data: statements and FROM items that give the good records and the bad ones.
   * `prepare` runs first. `rejected` has columns reason, origin, record (all text).
   * Absent: the format cannot tell good from bad inside a file, so the whole file is refused.
   */
  tolerant?(files: readonly FileRef[], columns: readonly Column[]): TolerantScan;
  /**
   * The columns of one file, by its first records, and the options that make every later read of files like it the same
   * (dialect, header). Throws `parse` naming the file.
   */
  infer?(file: FileRef, engine: EngineView): Promise<Inferred>;
}

export interface Inferred {
  columns: Column[];
  /** Options of the format; they replace what the user left open. Must survive JSON. */
  options: { [key: string]: CursorValue };
}

export interface TolerantScan {
  prepare?: Sql[];
  good: Sql;
  rejected: Sql;
  cleanup?: Sql[];
}

/** A format that the engine cannot read: a child process turns one file into typed text, within a deadline and a memory cap. */
export interface Converter {
  /** Module whose default export is a `ConvertFile`; loaded in the child. */
  module: URL;
  /**
   * Set for files that are assets: the columns of all of them, those of `assetColumns` first. Many are read in one part, and one that
   * cannot be read is rejected while the others go on. The option `asset` gives the converter the `AssetFacts` of its file.
   */
  columns?: readonly Column[];
  /** The module loads native code. */
  native?: boolean;
  /** The bytes of the assets are not kept, whatever is configured: they hold what the rows must not. */
  withholdsBytes?: boolean;
  /** Programs that the module starts, within the same limits; the option `programs` gives it their paths by these names. */
  programs?: readonly string[];
}

/** Runs in the child. Yields the columns first, then bytes of CSV or NDJSON that have them. */
export type ConvertFile = (file: FileRef, options: Record<string, unknown>) => AsyncIterable<Converted>;
export type Converted =
  | { columns: Column[]; format: "csv" | "ndjson"; encodings?: Record<string, "json" | "hex" | "base64"> }
  | Uint8Array
  | { rejected: { reason: string; origin: string; record: string } }
  /** Given now and then by who works long on what comes next, so that it is not taken for stuck. */
  | { alive: true }
  /** At the end: how many records the file holds, rejected ones included. */
  | { rows: number };

export interface Format {
  native?: NativeReader;
  converter?: Converter;
  /** Options of the engine's COPY … TO for export: `FORMAT parquet, COMPRESSION zstd`. */
  copy?: Sql;
}

export interface FormatCapabilities {
  read: boolean;
  write: boolean;
  /** Bad records are told apart from good ones within one file. */
  rejects: boolean;
  /** Each file is an asset: a document, an image, a recording. Such a format is never guessed: a flow names it. */
  assets?: boolean;
}

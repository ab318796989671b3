import type { Sql } from "../core/index.ts";
import type { Dataset, Version } from "../dataset/index.ts";
import type { Engine } from "../engine/index.ts";
import type { WrittenField } from "../feed/export/format.ts";
import type { ExportedFile } from "../feed/export/shard.ts";
import type { ChosenRows } from "./export-rows.ts";
import type { Selection } from "./folds.ts";

export interface FormatOptions {
  /**
   * A new file is begun before this size, in bytes before compression. Default: 64 MB for webdataset, mds and tfrecord, where it also says
   * how much memory a shard of mds takes; one file for the others.
   */
  shardBytes?: number;
  /** tfrecord: `gzip`. mds: `zstd`. Default: none. */
  compression?: string;
  /** webdataset: columns that are files of their own, and their extensions, such as `{ photo: "jpg", label: "cls" }`. */
  files?: Record<string, string>;
  /** webdataset: the column whose values name the samples. Default: their place in the export. */
  key?: string;
  /** tfrecord: doubles as floats of 32 bits, rounded. Default false: they keep all bits. */
  float32?: boolean;
  /**
   * csv and tsv: puts `'` before text that a spreadsheet would take for a formula (it begins with `=`, `+`, `-`, `@`, tab or carriage
   * return and is no number). False writes it as it is, which is right for readers that are no spreadsheets. Default true.
   */
  escapeFormulas?: boolean;
}

export interface WritePart {
  split: string | undefined;
  /** What stands before the paths of the files: `train/`, or nothing. */
  prefix: string;
  onProgress: (rows: number, bytes: number) => void;
}

/** Writes the parts of an export in one format. */
export interface ExportWriter extends AsyncDisposable {
  /** How each column is found again, in the order of the columns. */
  written: WrittenField[];
  count(split: string | undefined): Promise<number>;
  /** The files, with paths relative to the export. */
  write(part: WritePart): Promise<ExportedFile[]>;
}

/** What tells the files of one version apart: `-train`, `-fold2of5-train`. */
export function suffixOf({ folds, fold }: Selection, split: string | undefined): string {
  const part = folds === undefined ? "" : fold === undefined ? `-${folds}folds` : `-fold${fold}of${folds}`;
  return `${part}${split === undefined ? "" : `-${split}`}`;
}

export interface WriterSubject {
  dataset: Dataset;
  version: Version;
  rows: ChosenRows;
  /** Local folder of the export. */
  folder: string;
  options: FormatOptions & Pick<Selection, "folds" | "fold"> & { signal?: AbortSignal };
}

/** How many rows `FROM …` gives. */
export async function countRows(engine: Engine, from: Sql, signal?: AbortSignal): Promise<number> {
  const [row] = await engine.query(`SELECT count(*) AS rows ${from}`, signal);
  return Number(row!["rows"]);
}

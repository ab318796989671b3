import type { Column } from "./types.ts";

/** SQL of the engine. */
export type Sql = string;

export type OnFail = "warn" | "mask" | "reject" | "fail";

/** How much may fail before the check does: an absolute count or a share (0–1) of the rows. Default: none. */
export interface Threshold {
  max?: number;
  max_share?: number;
}

interface AlikeOrder {
  /** Terms of ORDER BY, a total order of the rows: of two that are alike, the first one stays. */
  order: Sql[];
  /** Whether the rows of `previous` come before all others. */
  previous: boolean;
}

/** Texts are alike when so great a share of their pieces of five characters is in both, 0 to 1. Several columns are compared together. */
export interface AlikeText extends AlikeOrder {
  text: string[];
  similarity: number;
}

/** 64-bit perceptual hashes are alike when at most so many bits differ. */
export interface AlikeHash extends AlikeOrder {
  hash: string;
  bits: number;
}

export type AlikeQuestion = AlikeText | AlikeHash;

export interface Alike {
  /** What tells the values of a row of `data` from others; null where there is nothing to compare. */
  value: Sql;
  /**
   * A FROM item of the values that are like one before them: `millrace_value`; `millrace_like`, the row that they are like; `millrace_known`,
   * whether that one is in the dataset already; `millrace_whole`, whether all rows of the value go, or all but their first.
   */
  found: Sql;
}

export interface CheckContext {
  /** The columns of the rows that are measured. */
  columns: Column[];
  /** Key columns of the dataset; empty when it has none. */
  key: string[];
  /** The column that holds the split, when the flow assigns one. */
  split?: string;
  /** A FROM item with the rows of another dataset. Throws `not-found`. */
  dataset(name: string): Sql;
  /** A FROM item with the rows that are already in the dataset (append, merge), or undefined for the first version and for replace. */
  previous?: Sql;
  /**
   * A FROM item with at least those rows of `previous` that have a value of a new row in each of these columns; it may spare reading
   * the others. Only where `previous` is. Default: `previous`.
   */
  previousLike?(columns: readonly string[]): Sql;
  /** Looks for rows that are almost the same; before the rows are there, none seem to be. */
  alike?(question: AlikeQuestion): Alike;
  /** A FROM item with the rows of the version before this run, whatever the mode: what drift compares with. Default: `previous`. */
  baseline?: Sql;
  /** How many rows `baseline` has, where that is known without reading it. */
  baselineRows?: number;
  /** Columns of `previous` and `baseline`, where they may differ from `columns`. */
  previousColumns?: Column[];
  /** How the rows go into the dataset: with `merge`, a row may replace the earlier one of the same `key`. Default `append`. */
  mode?: "append" | "replace" | "merge";
  /** The moment of the run: milliseconds since the epoch. */
  now: number;
}

export interface Verdict {
  status: "passed" | "warned" | "failed";
  /** One sentence for people, with the numbers in it. */
  message: string;
  /** Rows that fail, when the check is about rows. */
  failing?: number;
  /** What was measured, for machines. */
  measured: Record<string, number | string | boolean | null>;
}

/** Values of the expressions that `measure` named; counts arrive as `bigint` or `number`, all else as the engine gives it. */
export type Measured = Record<string, unknown>;

/**
 * A check is two pure halves, so that all checks of a dataset share one scan.
 *
 * `measure` gives aggregate expressions over the relation `data`; `judge` turns their values into a verdict; `failing` is the
 * predicate of the rows that fail (never null: wrap in `coalesce(…, false)`), which quarantine uses.
 */
export interface Check<Options> {
  measure(options: Options, context: CheckContext): Record<string, Sql>;
  judge(options: Options, measured: Measured, context: CheckContext): Verdict;
  failing?(options: Options, context: CheckContext): Sql;
  /** When `failing` needs window functions (duplicates): a predicate over `data` that is put into QUALIFY instead of WHERE. It may select from `data` too. */
  qualify?(options: Options, context: CheckContext): Sql;
  /** Why a row fails, for the person who mends it: a text expression over `data`, read only for rows that fail. */
  reason?(options: Options, context: CheckContext): Sql;
  /** With `on_fail: mask`: the columns whose values change, and an expression over `data` of what stands there then, of the same type. */
  mask?(options: Options, context: CheckContext): Record<string, Sql>;
  /** Facts that Parquet footers already give (rows, nulls, min, max) may answer the check without a scan. */
  fromStatistics?(options: Options, statistics: Statistics): Measured | undefined;
}

/** What is known without a scan. `min` and `max` are in the engine's notation and undefined where unknown. */
export interface Statistics {
  rows: number;
  columns: Record<string, { nulls?: number; min?: string; max?: string; nan?: boolean }>;
}

import type { CheckSpec } from "./flow.ts";
import type { EnrichedCount } from "./runs.ts";
import type { ColumnFacts, Verdict } from "../core/index.ts";

/** The verdict of one check of a run. `error` is set when the check itself could not be measured, which is never a pass. */
export interface CheckResult extends Verdict {
  check: string;
  /** The options as configured. */
  options: CheckSpec;
  rejected?: number;
  error?: string;
}

/** What a run did: written to `runs/<run>/report.json`, and in short into the snapshot's summary. */
export interface RunReport {
  run: string;
  flow: string;
  dataset: string;
  /** `published`: a new version. `unchanged`: the source had nothing new. `failed`: nothing was published. */
  status: "published" | "unchanged" | "failed";
  version?: number;
  /** The version before. */
  base?: number;
  resumed: boolean;
  startedAt: string;
  seconds: number;
  parts: number;
  bytesRead: number;
  /** `read = written + rejected + filtered`. */
  read: number;
  written: number;
  rejected: number;
  filtered: number;
  /** Merge only: rows of the written ones that took the place of an earlier row. */
  updated?: number;
  /** Merge of changes only: earlier rows that deletions took out of the dataset. */
  deleted?: number;
  /** Merge of changes only: records that say that a row, or all rows, are gone; counted in `filtered`. */
  deletions?: number;
  /** Merge only: rows of the batch that a later row of the same batch superseded; counted in `filtered`. */
  superseded?: number;
  checks: CheckResult[];
  /** Nulls, minimum, maximum per column of what was written. */
  columns: Record<string, ColumnFacts>;
  /** In the order of the flow's `enrich`. */
  enriched?: EnrichedCount[];
  splits?: Record<string, number>;
  warnings: string[];
  /** The source has more than one run may take: run again. */
  more?: boolean;
  /** Copies in sinks, brought up to date after the commit. `error` is set for one that could not be. */
  publications?: PublicationOutcome[];
}

export interface PublicationOutcome {
  connection: string;
  target: string;
  status: "published" | "unchanged" | "failed";
  /** Rows written. */
  rows: number;
  seconds: number;
  error?: { code: string; message: string; hint?: string };
}

export interface RunProgress {
  phase: "plan" | "read" | "check" | "publish" | "write" | "done";
  rows: number;
  bytes: number;
  /** Estimates from the plan. */
  totalRows?: number;
  totalBytes?: number;
  partsDone: number;
  parts: number;
}

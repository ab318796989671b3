import type { Column, ColumnBatch, RejectedRecord } from "../core/index.ts";

/** The dataset that takes what another one refused. */
export const rejectedName = (dataset: string): string => `${dataset}__rejected`;

/** Columns of every rejected dataset. Their field ids never change. */
export const rejectedColumns: Column[] = [
  { id: 1, name: "reason", type: "string", doc: "Why the record was refused, as a sentence." },
  { id: 2, name: "check", type: "string", doc: "The check that refused it; null when it could not be read at all." },
  { id: 3, name: "origin", type: "string", doc: "Where it came from: stream, file and line, key." },
  {
    id: 4,
    name: "record",
    type: "string",
    doc: "The record itself: JSON, or the raw text when it could not be parsed.",
  },
  { id: 5, name: "run", type: "string", doc: "The run that refused it." },
  { id: 6, name: "rejected_at", type: "timestamptz", doc: "When the run began." },
];

/** Records as one batch of `rejectedColumns`. */
export function rejectedBatch(records: readonly RejectedRecord[], run: string, at: string): ColumnBatch {
  const stamp = at.replace("T", " ").replace("Z", "+00");
  return {
    rows: records.length,
    columns: [
      { values: records.map((record) => record.reason) },
      { values: records.map(() => null) },
      { values: records.map((record) => record.origin) },
      { values: records.map((record) => record.record) },
      { values: records.map(() => run) },
      { values: records.map(() => stamp) },
    ],
  };
}

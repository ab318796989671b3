import type { Column } from "../../core/index.ts";

/** What a request holds, record by record. */
export type CollectedRecord =
  /** The JSON of each column, in their order. `id`: what tells it from others of the same sender. `isLeftOut`: it is no row, by configuration. */
  | { values: readonly string[]; id?: string | undefined; isLeftOut?: boolean }
  | { reason: string; record: string; id?: string | undefined };

/** A row of the inbox as the sources see it. */
export interface CollectedRow {
  number: number;
  /** Microseconds since the epoch. */
  received: number;
  sender: string;
  meta: Meta;
  body: Buffer;
}

export type Meta = Readonly<Record<string, unknown>>;

/** The JSON of a column of one record. */
export interface CollectedKind {
  columns: readonly Column[];
  /** Names of the streams: the senders. */
  senders: readonly string[];
  records(row: CollectedRow): Iterable<CollectedRecord>;
  /** How long an id is remembered after it was last new, milliseconds. Absent: records have none. */
  remembersMs?: number;
}

/** `id`: when it is known what it is, it is told of once, however often it is sent. */
export const rejected = (reason: string, record: string, id?: string): CollectedRecord => ({
  id,
  reason,
  record: record.length > 65_536 ? `${record.slice(0, 65_536)}…` : record,
});

/** Columns that every source of this kind has at its end. */
export const originColumns: readonly Column[] = [
  { name: "_sender", type: "string", doc: "Name of the key, or of the sender, that it came with." },
  { name: "_row", type: "long", doc: "Number of the request in the inbox." },
  { name: "_index", type: "int", doc: "Which record of the request it is, from 0." },
];

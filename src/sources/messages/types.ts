import type { Column } from "../../core/index.ts";

/** Messages as a source receives them, in two lists of one length. */
export interface MessageBatch {
  /** The meta columns of each as members of JSON, without braces: `"_topic":"a","_partition":0,"_offset":17`. Never empty. */
  meta: readonly string[];
  /** Null: a message without a value (a tombstone); its row has the meta columns only. */
  values: readonly (Uint8Array | null)[];
  /** Where a message stands, for those that are rejected. Default: its meta columns. */
  origin?: (index: number) => string;
}

/** What gives the rows of a value. */
export interface Decoder {
  /** The columns of its rows, where a schema says them. Absent: they are inferred from a sample. */
  columns?: readonly Column[];
  /** Fetches what the values need before they are decoded: schemas by their ids. */
  prepare?(values: readonly (Uint8Array | null)[], signal?: AbortSignal): Promise<void>;
  /**
   * JSON text of an object for each row of the value, nearly always one; bytes in it are base64. Throws where it cannot be decoded: the message is
   * rejected with what is said.
   */
  decode(value: Uint8Array): string | readonly string[];
}

/** JSON text of members that no column has. */
export const restColumn: Column = {
  name: "_rest",
  type: "string",
  doc: "JSON object of members that have no column",
};

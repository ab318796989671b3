import type { Column } from "../../core/index.ts";
import type { ByteWriter } from "./bytes.ts";
import type { FlatBatch, FlatField } from "./flat.ts";

/** What was found of the version in a column, so that the shape of an export does not depend on the split. */
export interface ColumnFacts {
  nulls: number;
  /** Dates and timestamps that are infinite. */
  infinite: number;
  /** Lists: elements that are null, and the lengths there are. */
  list?: { nulls: number; shortest: number; longest: number };
  /** What its first values look like: `jpg`, or undefined. Looked for on request only. */
  media?: string | undefined;
}

export interface MeasuredColumn extends Column {
  facts: ColumnFacts;
}

/** How one column is found again in what was written. */
export interface WrittenField {
  column: string;
  /** Its name there, where that differs. */
  name?: string;
  /** In the words of the format: `int64`, `ndarray:float32:3`. */
  as: string;
  /** What the number counts, or how the bytes are to be read, where the name does not say. */
  meaning?: string;
  /** How null is shown. Absent: there is none. */
  null?: string;
}

/** A format that is written sample by sample into shards. */
export interface SampleFormat {
  fields: FlatField[];
  written: WrittenField[];
  /** Name of a shard without its folder. */
  fileName(shard: number): string;
  /** Appends a sample. `index`: its place in the export. */
  encode(batch: FlatBatch, row: number, out: ByteWriter, index: number): void;
  /** Bytes at the end of each shard. */
  tail?: Uint8Array;
  gzip?: boolean;
  /** Bytes that a shard and a sample take beside what `encode` appends. */
  overhead?: { shard: number; sample: number };
  /** For formats whose shards begin with what is known at their end: the file from its samples and where each begins. */
  seal?(samples: Uint8Array, offsets: readonly number[]): Promise<{ bytes: Uint8Array; raw?: Uint8Array }>;
  /** Files beside the shards, once these are known. */
  beside?(shards: readonly SealedShard[]): { name: string; bytes: Uint8Array }[];
}

export interface SealedShard {
  name: string;
  rows: number;
  bytes: number;
  sha256: string;
  /** Bytes before compression, and their SHA-256, where `seal` compresses. */
  raw?: { bytes: number; sha256: string };
}

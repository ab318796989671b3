import type { Asset, CursorValue } from "./source.ts";
import type { Column } from "./types.ts";

/** One row or asset that columns are added to. */
export interface EnricherInput {
  /** Lower-case hexadecimal SHA-256 of the content that the answer depends on, and of nothing else. */
  hash: string;
  /** Columns of the row that the enricher asked for, when it works on rows. */
  values?: Readonly<Record<string, CursorValue>>;
  /** When it works on assets. */
  asset?: Asset & { bytes: Uint8Array };
}

/** The answer for one input. Values are JSON in the order of `columns`; 64-bit integers and decimals are text. */
export type Enriched =
  | { values: CursorValue[]; /** What this answer cost, in `currency` of `estimate`. */ cost?: number }
  /** The input is not fit for it (encrypted, too large): the row is rejected with this reason and the others go on. */
  | { rejected: string; /** Another setting would take it: it is asked about again next time. */ again?: true };

/** What is known of inputs whose answer is under way, so that who asks again goes on with it: jobs that run, parts that were paid for. */
export interface EnricherNotes {
  /** The note of the input of this index, also of an earlier run. */
  read(index: number): Promise<string | undefined>;
  /** Replaces it. It goes when the answer is kept. */
  write(index: number, note: string): Promise<void>;
}

/** Adds columns to rows or assets: extracted text, labels, transcripts, embeddings. */
export interface Enricher extends AsyncDisposable {
  /** Model and version and every setting that changes answers: with the hash of an input it names the answer for ever. */
  readonly model: string;
  /** Columns of `input` whose values it wants to know. Throws `config` when one that it needs is not there. Absent: none. */
  reads?(input: readonly Column[]): string[];
  /** The columns that are added to `input`. Throws `config` or `schema` when `input` lacks what it needs. */
  columns(input: readonly Column[]): Column[];
  /** Reaches the model and may use it; costs nothing. */
  check(signal?: AbortSignal): Promise<void>;
  /** What so many inputs will cost, before anything is spent. Absent: nothing. */
  estimate?(inputs: readonly EnricherInput[]): { cost: number; currency: string };
  /**
   * One answer for each input, in their order. Throws when the service fails; then no input is lost and all can be asked again. Answers that cost
   * money are told to `keep` as they come, so that they are kept when another input of the call fails.
   */
  enrich(
    inputs: readonly EnricherInput[],
    options: { signal?: AbortSignal; keep?: (index: number, answer: Enriched) => Promise<void>; notes?: EnricherNotes },
  ): Promise<Enriched[]>;
}

export interface EnricherCapabilities {
  /** What it works on. */
  input: "rows" | "assets";
  /** The same input gives the same answer to the byte. */
  deterministic: boolean;
  /** Answers cost money. */
  paid: boolean;
  /** Most inputs of one call. */
  maximumBatch: number;
}

export interface EnricherContext {
  /** The name of the connection or flow, for messages. */
  connection: string;
  folder: string;
}

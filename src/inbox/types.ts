/** What a receiver hands over: the bytes as they came, and what it noted of them. */
export interface InboxEntry {
  /** The stream it belongs to: a topic, a kind of event. */
  topic: string;
  /** JSON text of what the receiver noted: headers, address, key, quality of service. */
  meta: string;
  body: Uint8Array;
}

/** A row as it is read back. Numbers grow by one; between two files of an inbox there may be a gap. */
export interface InboxRow extends InboxEntry {
  number: number;
  /** When it arrived, microseconds since the epoch, by the clock of this machine. */
  received: number;
}

/** Rows of the inbox that are damaged on the disk. */
export interface InboxDamage {
  number: number;
  /** The last of them. */
  upTo: number;
  problem: string;
}

export interface InboxStatus {
  /** Number of the newest row, 0 when there is none. */
  last: number;
  /** Rows up to here are in a committed version of every reader. */
  committed: number;
  /** On the disk. */
  bytes: number;
  /** What lies in `quarantine`: bytes that were found when an inbox was opened after a crash, and belong to no row. */
  quarantined: number;
}

export interface InboxReader extends AsyncDisposable {
  readonly folder: string;
  /** Number of the newest row that is durable, 0 when there is none. */
  last(): number;
  /** Number of the oldest row that is kept, 1 more than `last` when there is none. */
  first(): number;
  /** Rows `from` to `to`, both included, in their order. The same call gives the same rows, for as long as they are kept. */
  rows(from: number, to: number): Iterable<(InboxRow | InboxDamage)[]>;
  /**
   * Rows up to `upTo` are in a version that `reader` has committed. What all `readers` have is removed once it is older than `keepMs`
   * (default 0), and sooner where the inbox is full.
   */
  committed(reader: string, upTo: number, options: { readers: readonly string[]; keepMs?: number }): Promise<void>;
  /** True as soon as there is a row after `after`; false when the time is up or the signal was given. */
  wait(after: number, options: { milliseconds: number; signal?: AbortSignal }): Promise<boolean>;
  /** How many rows there are after `after`, and the age of the oldest of them in seconds. */
  lag(after: number): { records: number; seconds: number };
  status(): InboxStatus;
}

export interface InboxWriter extends AsyncDisposable {
  readonly folder: string;
  /**
   * Resolves with the number of the first of the rows once they survive the loss of power. Rows that wait together share one `fsync`.
   * Throws `full` (temporary) when the inbox or the disk is, or too much waits; `unknown-outcome` (temporary) when the disk failed: the rows may
   * be there or not, and must not be acknowledged.
   */
  append(entries: readonly InboxEntry[]): Promise<number>;
  /** Bytes that wait for the disk. */
  waiting(): number;
  /** What was found when the inbox was opened, in sentences: torn ends that were set aside, files that are damaged. */
  readonly findings: readonly string[];
}

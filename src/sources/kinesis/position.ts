import { MillraceError, type Column, type Cursor } from "../../core/index.ts";

/** Name or ARN of a stream. */
export type StreamName = string;

/** Where reading of a shard begins. Sequence numbers have more digits than a double holds, and are strings everywhere. */
export type Position =
  | { at: "horizon" }
  | { at: "time"; milliseconds: number }
  /** At this record, or the first after it when the stream has forgotten it. */
  | { at: "record"; sequence: string }
  | { at: "after"; sequence: string };

/** The same in the words of the service. */
export function placeOf(position: Position): {
  type: "TRIM_HORIZON" | "AT_TIMESTAMP" | "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER";
  time?: Date;
  sequence?: string;
} {
  switch (position.at) {
    case "horizon":
      return { type: "TRIM_HORIZON" };
    case "time":
      return { type: "AT_TIMESTAMP", time: new Date(position.milliseconds) };
    case "record":
      return { type: "AT_SEQUENCE_NUMBER", sequence: position.sequence };
    case "after":
      return { type: "AFTER_SEQUENCE_NUMBER", sequence: position.sequence };
  }
}

/** How far one shard was read. Times are milliseconds since the epoch, by the clock of the service. */
export interface ShardState {
  /** Last record that was read; absent before the first. */
  after?: string;
  /** The first run began at this time; stands until there is a record. */
  since?: number;
  /** All that arrived before this time was read; what came later is there until the stream's retention has passed. */
  seen?: number;
  /** Read to its end, and nothing more is written to it: those made of it may be read. */
  closed?: true;
}

/** How far a stream was read. */
export interface StreamState {
  /** A stream that was made anew has another time, and other records. */
  created: number;
  shards: Record<string, ShardState>;
  /** The columns that its values have had so far. */
  columns: Column[];
}

export function cursorOf(state: StreamState): Cursor {
  return { version: 1, ...state } as unknown as Cursor;
}

/** Throws `unsupported` for a cursor of a newer version. */
export function stateOf(cursor: Cursor | undefined): StreamState | undefined {
  if (cursor === undefined) return undefined;
  if (cursor["version"] !== 1) {
    throw new MillraceError(
      "unsupported",
      `the cursor of the stream has version ${JSON.stringify(cursor["version"])}`,
      {
        hint: "use the version of Millrace that wrote it, or a newer one",
      },
    );
  }
  return cursor as unknown as StreamState;
}

/** Where a shard is to be read from. */
export function positionOf(state: ShardState): Position {
  if (state.after !== undefined) return { at: "after", sequence: state.after };
  if (state.since !== undefined) return { at: "time", milliseconds: state.since };
  return { at: "horizon" };
}

/** Order of sequence numbers of one shard. */
export function compareSequences(left: string, right: string): number {
  return left.length - right.length || (left < right ? -1 : left > right ? 1 : 0);
}

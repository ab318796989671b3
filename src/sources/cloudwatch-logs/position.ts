import { MillraceError, type Column, type Cursor } from "../../core/index.ts";
import type { SeenState } from "./seen.ts";

/** How far a group was read. */
export interface GroupState extends SeenState {
  /** What happened before this time was read, but for what comes late; milliseconds since the epoch. */
  to: number;
}

/** How far the groups of a flow were read. */
export interface LogsState {
  groups: Record<string, GroupState>;
  /** The columns that messages have had so far. */
  columns: Column[];
}

export const cursorOf = (state: LogsState): Cursor => ({ version: 1, ...state }) as unknown as Cursor;

/** Throws `unsupported` for a cursor of a newer version. */
export function stateOf(cursor: Cursor | undefined): LogsState | undefined {
  if (cursor === undefined) return undefined;
  if (cursor["version"] !== 1) {
    throw new MillraceError("unsupported", `the cursor of the logs has version ${JSON.stringify(cursor["version"])}`, {
      hint: "use the version of Millrace that wrote it, or a newer one",
    });
  }
  return cursor as unknown as LogsState;
}

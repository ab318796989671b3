import type { Part, Plan } from "../../core/index.ts";
import { formatLsn, parseLsn, type ChangePosition } from "./position.ts";

/** Bytes of the server's log that one part covers unless the request says otherwise. */
const defaultPartBytes = 256 * 1024 * 1024;
/**
 * So much of the log may pass without a change of the table before the position is committed without one: until it is, the server cannot
 * remove what others have written.
 */
const idleBytes = 64n * 1024n * 1024n;

/** What a merge is to know of the columns. */
export const marks: Pick<Plan, "deleted" | "order" | "emptied"> = {
  deleted: "_deleted",
  order: ["_lsn", "_index"],
  emptied: { column: "_op", value: "truncate" },
};

export interface ChangeSpec {
  /** `emptying`: one record that says that all rows before are gone. */
  kind: "changes" | "emptying";
  version: 1;
  slot: string;
  /** Transactions whose commit record begins at `from` or later, and before `to`. */
  from: string;
  to: string;
  columns: string;
}

/** Divides the log after a position. `first`: where the first change is committed; undefined: there is none. */
export function changeParts(
  position: ChangePosition,
  flushed: bigint,
  first: bigint | undefined,
  columns: string,
  bounds: { partBytes?: number; maxBytes?: number },
): { parts: Part[]; to: bigint } {
  const from = parseLsn(position.lsn);
  if (first === undefined && flushed - from < idleBytes) return { parts: [], to: from };
  const { maxBytes, partBytes = defaultPartBytes } = bounds;
  let last = flushed;
  if (first !== undefined && maxBytes !== undefined) {
    const bound = from + BigInt(maxBytes);
    // At least one transaction, however far it is.
    last = bound > first ? bound : first + 1n;
    if (last > flushed) last = flushed;
  }
  const parts: Part[] = [];
  const step = first === undefined ? last - from : BigInt(partBytes);
  for (let at = from; at < last; at += step) {
    const to = at + step < last ? at + step : last;
    const spec: ChangeSpec = {
      kind: "changes",
      version: 1,
      slot: position.slot,
      from: formatLsn(at),
      to: formatLsn(to),
      columns,
    };
    parts.push({
      id: `log-${String(parts.length).padStart(4, "0")}`,
      spec: spec as unknown as Part["spec"],
      bytes: Number(to - at),
    });
  }
  return { parts, to: last };
}

import type { Cursor, Part, Plan, ReadRequest } from "../../core/index.ts";
import { toCursor } from "../sql/index.ts";
import { planIncrement } from "./incremental.ts";
import { pageGroups } from "../../protocols/postgres/pages.ts";
import type { Session } from "../../protocols/postgres/session.ts";
import { partSelect, toSpec, type PartSpec, type Slice } from "./slice.ts";
import type { Snapshot } from "../../protocols/postgres/snapshot.ts";
import { planColumns, type Subject } from "../../protocols/postgres/subject.ts";

/** Bytes of a table that one part reads unless the request says otherwise. */
const defaultPartBytes = 64 * 1024 * 1024;

/** Plans in the transaction that holds the snapshot. */
export async function planParts(
  session: Session,
  snapshot: Snapshot,
  subject: Subject,
  request: ReadRequest,
  options: { after?: Cursor; signal?: AbortSignal },
): Promise<Plan> {
  const { after, signal } = options;
  const base = { columns: planColumns(subject.columns), key: subject.key };
  const partBytes = request.partBytes ?? defaultPartBytes;
  if (request.cursor === undefined) {
    return { ...base, parts: await partsOf(session, snapshot, subject, undefined, partBytes, "") };
  }
  const increment = await planIncrement(session, subject, { ...request, cursor: request.cursor }, after, signal);
  const parts: Part[] = [];
  for (const slice of increment.slices) {
    parts.push(...(await partsOf(session, snapshot, subject, slice, partBytes, prefixOf(slice))));
  }
  return {
    ...base,
    parts,
    ...(increment.position === undefined ? {} : { cursor: toCursor(increment.position) }),
    ...(increment.overlap ? { overlap: true } : {}),
  };
}

function prefixOf(slice: Slice | undefined): string {
  return slice?.kind === "boundary" ? "boundary-" : "";
}

async function partsOf(
  session: Session,
  snapshot: Snapshot,
  subject: Subject,
  slice: Slice | undefined,
  partBytes: number,
  prefix: string,
): Promise<Part[]> {
  const spec = (ranges: PartSpec["ranges"]): PartSpec => ({
    version: 1,
    snapshot,
    ranges,
    slice: slice ?? null,
  });
  const whole = spec(null);
  if (slice !== undefined) {
    const estimate = await estimateOf(session, partSelect(subject, whole));
    // Few rows are better found by one scan of an index than by a scan of the table for each part.
    if (slice.kind === "boundary" || estimate.bytes <= partBytes) {
      return [{ id: `${prefix}0000`, spec: toSpec(whole), ...estimate }];
    }
  }
  const groups = subject.relation === undefined ? undefined : await pageGroups(session, subject.relation, partBytes);
  if (groups === undefined || groups.length === 0) {
    const estimate = await estimateOf(session, partSelect(subject, whole));
    return [{ id: `${prefix}0000`, spec: toSpec(whole), ...estimate }];
  }
  return groups.map((group, index) => ({
    id: `${prefix}${String(index).padStart(4, "0")}`,
    spec: toSpec(spec(group.ranges)),
    // Of a table that was never analysed the server does not know how many rows it has.
    ...(group.rows === undefined || slice !== undefined ? {} : { rows: group.rows }),
    bytes: Math.round(group.bytes),
  }));
}

async function estimateOf(session: Session, select: string): Promise<{ rows: number; bytes: number }> {
  const [row] = await session.query(`EXPLAIN (FORMAT json) ${select}`);
  const [plan] = JSON.parse(row!["QUERY PLAN"]!) as [{ Plan: { "Plan Rows": number; "Plan Width": number } }];
  const rows = plan.Plan["Plan Rows"];
  return { rows, bytes: rows * plan.Plan["Plan Width"] };
}

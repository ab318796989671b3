import type { Cursor, Part, Plan, ReadRequest } from "../../core/index.ts";
import { countHashes, toCursor } from "../sql/index.ts";
import { toColumns } from "../../protocols/mysql/discover.ts";
import { planIncrement, rowHash, type Slice } from "./incremental.ts";
import { quoteName } from "../../protocols/mysql/names.ts";
import { splitRows } from "../../protocols/mysql/ranges.ts";
import type { Relation } from "../../protocols/mysql/relations.ts";
import type { Session } from "../../protocols/mysql/session.ts";
import { selected, type MappedColumn } from "../../protocols/mysql/types.ts";

/** A part as its `spec` holds it. */
export interface PartSpec extends Slice {
  version: 1;
  /** The `Snapshot` that it is read from. */
  snapshot: string;
}

const defaultPartBytes = 64 * 1024 * 1024;
/** What InnoDB adds to each row, and a column holds at least on average, bytes. */
const rowOverhead = 20;
const leastCell = 8;

/** How many parts the server's estimates suggest, before any snapshot is taken. */
export function suggestedParts({ table }: Relation, request: ReadRequest): number {
  if (table === undefined || !table.transactional || table.key.length === 0) return 1;
  // The count of rows follows the table at once, the count of bytes only when the server has leisure.
  const least = (table.rows ?? 0) * (rowOverhead + leastCell * table.columns.length);
  return Math.max(1, Math.ceil(Math.max(table.bytes ?? 0, least) / (request.partBytes ?? defaultPartBytes)));
}

/** Bounded parts of everything that is new after `after`, as `session` (a transaction with a snapshot) sees it. */
export async function planParts(
  session: Session,
  snapshot: string,
  relation: Relation,
  request: ReadRequest,
  wanted: number,
  after: Cursor | undefined,
  signal?: AbortSignal,
): Promise<Plan> {
  const { cursor } = request;
  const increment =
    cursor === undefined
      ? { slices: [{ where: "" }], position: undefined, overlap: false }
      : await planIncrement(session, relation, { ...request, cursor }, after, signal);
  const parts: Part[] = [];
  for (const slice of increment.slices) {
    // What is told apart row by row is one value of the cursor column; it is not cut any smaller.
    const ranges =
      slice.without === undefined
        ? await splitRows(session, relation, slice.where, wanted, signal)
        : [{ condition: slice.where }];
    for (const { condition, rows, bytes } of ranges) {
      const spec: PartSpec = { ...slice, version: 1, snapshot, where: condition };
      parts.push({
        id: `part-${parts.length}`,
        spec: spec as unknown as Part["spec"],
        ...(rows === undefined ? {} : { rows }),
        ...(bytes === undefined ? {} : { bytes }),
      });
    }
  }
  return {
    columns: toColumns(relation.columns),
    key: relation.key,
    parts,
    ...(increment.position === undefined ? {} : { cursor: toCursor(increment.position) }),
    ...(increment.overlap ? { overlap: true } : {}),
  };
}

/** The SELECT that gives the rows of a part. */
export function partSelect(relation: Relation, spec: PartSpec): string {
  const list = relation.columns.map(selectedAs).join(", ");
  const where = spec.where === "" ? "" : ` WHERE ${spec.where}`;
  const known = countHashes(spec.without ?? "");
  if (known.size === 0) return `SELECT ${list} FROM ${relation.from}${where}`;
  // Of identical rows it does not matter which are the new ones, only how many there are.
  const hashed = (spec.columns ?? []).map((name) => relation.all.find((column) => column.name === name)!);
  const hash = `LEFT(${rowHash(hashed)}, 16)`;
  const [own, number] = ["hash", "number"].map((name) => quoteName(freeName(relation, `millrace_${name}`)));
  const numbered = `SELECT ${list}, ${hash} AS ${own}, ROW_NUMBER() OVER (PARTITION BY ${hash}) AS ${number} FROM ${relation.from}${where}`;
  // The server looks a list of constants up by bisection, and a CASE one by one.
  const once = `${own} IN (${[...known.keys()].map((text) => `'${text}'`).join(", ")})`;
  const often = [...known].filter(([, count]) => count > 1).map(([text, count]) => ` WHEN '${text}' THEN ${count}`);
  const seen = often.length === 0 ? once : `(CASE ${own}${often.join("")} ELSE ${once} END)`;
  const names = relation.columns.map((column) => quoteName(column.name)).join(", ");
  return `SELECT ${names} FROM (${numbered}) AS numbered WHERE ${number} > ${seen}`;
}

function selectedAs(column: MappedColumn): string {
  const name = quoteName(column.name);
  const expression = selected(column);
  return expression === name ? name : `${expression} AS ${name}`;
}

function freeName(relation: Relation, wanted: string): string {
  return relation.all.some((column) => column.name === wanted) ? freeName(relation, `${wanted}_`) : wanted;
}

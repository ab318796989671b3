import { literal } from "./literals.ts";
import { quoteName } from "./names.ts";
import type { Relation } from "./relations.ts";
import type { Session } from "./session.ts";
import type { MappedColumn } from "./types.ts";

/** Some rows of a relation, and what they are estimated at. */
export interface Range {
  condition: string;
  rows?: number;
  bytes?: number;
}

/** More parts than this cost more in planning than they help. */
const maximumParts = 10_000;

/** Cuts the rows that match `where` into about `parts` ranges of the first column of the primary key. */
export async function splitRows(
  session: Session,
  relation: Relation,
  where: string,
  parts: number,
  signal?: AbortSignal,
): Promise<Range[]> {
  const { table } = relation;
  if (table === undefined) return [{ condition: where }];
  let { rows, bytes } = table;
  let wanted = Math.min(parts, maximumParts);
  if (where !== "" && rows !== undefined && rows > 0) {
    const share = Math.min(1, (await estimatedRows(session, relation.from, where, signal)) / rows);
    rows = Math.round(rows * share);
    if (bytes !== undefined) bytes = Math.round(bytes * share);
    wanted = Math.ceil(wanted * share);
  }
  const lead = relation.all.find((column) => column.name === table.key[0]);
  const bounds =
    wanted > 1 && lead !== undefined ? await boundsOf(session, relation.from, lead, wanted, rows, signal) : [];
  const conditions = lead === undefined || bounds.length === 0 ? [""] : between(lead, bounds);
  return conditions.map((condition) => ({
    condition: [condition, where].filter((text) => text !== "").join(" AND "),
    ...(rows === undefined ? {} : { rows: Math.ceil(rows / conditions.length) }),
    ...(bytes === undefined ? {} : { bytes: Math.ceil(bytes / conditions.length) }),
  }));
}

/** The first range has no lower bound and the last no upper one: together they are everything, whatever the estimates say. */
function between(column: MappedColumn, bounds: readonly string[]): string[] {
  const name = quoteName(column.name);
  const conditions = [];
  for (let index = 0; index <= bounds.length; index++) {
    const lower = index === 0 ? "" : `${name} >= ${literal(column, bounds[index - 1]!)}`;
    const upper = index === bounds.length ? "" : `${name} < ${literal(column, bounds[index]!)}`;
    conditions.push([lower, upper].filter((text) => text !== "").join(" AND "));
  }
  return conditions;
}

async function boundsOf(
  session: Session,
  from: string,
  column: MappedColumn,
  parts: number,
  rows: number | undefined,
  signal?: AbortSignal,
): Promise<string[]> {
  const name = quoteName(column.name);
  const { type, form } = column.mapping;
  if (type === "int" || type === "long" || type === "decimal(20,0)") {
    const shown = (expression: string): string => column.mapping.select?.(expression) ?? expression;
    const sql = `SELECT ${shown(`MIN(${name})`)} AS low, ${shown(`MAX(${name})`)} AS high FROM ${from}`;
    const [row] = await session.query(sql, signal);
    const { low = null, high = null } = row ?? {};
    return low === null || high === null ? [] : evenBounds(BigInt(low), BigInt(high), parts);
  }
  const isBytes = form === "hex";
  if (!column.mapping.ordered && !isBytes && type !== "uuid") return [];
  const shown = isBytes ? `HEX(${name})` : name;
  const step = Math.ceil((rows ?? 0) / parts);
  if (step === 0) return [];
  const bounds: string[] = [];
  // Each step passes over the index once more from where the last one ended; together they read it once.
  while (bounds.length < parts - 1) {
    const last = bounds.at(-1);
    const where = last === undefined ? "" : ` WHERE ${name} > ${literal(column, last)}`;
    const [row] = await session.query(
      `SELECT ${shown} AS v FROM ${from}${where} ORDER BY ${name} LIMIT 1 OFFSET ${step}`,
      signal,
    );
    const { v = null } = row ?? {};
    if (v === null) break;
    bounds.push(v);
  }
  return bounds;
}

function evenBounds(low: bigint, high: bigint, parts: number): string[] {
  const width = high - low + 1n;
  const count = width < BigInt(parts) ? Number(width) : parts;
  return Array.from({ length: count - 1 }, (_, index) => String(low + (width * BigInt(index + 1)) / BigInt(count)));
}

/** What the optimizer expects; no row is read. */
async function estimatedRows(session: Session, from: string, where: string, signal?: AbortSignal): Promise<number> {
  const rows = await session.query(`EXPLAIN SELECT 1 FROM ${from} WHERE ${where}`, signal);
  return rows.reduce((most, row) => Math.max(most, Number(row["rows"] ?? 0)), 0);
}

import { MillraceError, suggestion, type Cursor, type ReadRequest } from "../../core/index.ts";
import {
  countHashes,
  fromCursor,
  maximumBoundaryRows,
  packHashes,
  type Boundary,
  type SqlPosition,
} from "../sql/index.ts";
import { lagStart, literal } from "../../protocols/mysql/literals.ts";
import { quoteName } from "../../protocols/mysql/names.ts";
import type { Relation } from "../../protocols/mysql/relations.ts";
import type { Session } from "../../protocols/mysql/session.ts";
import { hashedText, type MappedColumn } from "../../protocols/mysql/types.ts";

/** Some rows of a relation. */
export interface Slice {
  /** Their condition; empty: all. */
  where: string;
  /** Of these rows, those that the last run has not read: it has read the ones with these hashes (`packHashes`). */
  without?: string;
  /** The columns that the hashes are made of. */
  columns?: string[];
}

export interface IncrementalPlan {
  /** What is to be read; together exactly what is new. Empty: nothing is new. */
  slices: Slice[];
  position: SqlPosition | undefined;
  /** Rows of earlier runs may be among them. */
  overlap: boolean;
}

interface Reader {
  session: Session;
  relation: Relation;
  column: MappedColumn;
  signal: AbortSignal | undefined;
}

/**
 * What is new after a position, decided in one snapshot. No value of the column is passed over: the rows with exactly the
 * last value are told apart by their contents, because more of them may have been committed since.
 */
export async function planIncrement(
  session: Session,
  relation: Relation,
  request: ReadRequest & { cursor: string },
  after: Cursor | undefined,
  signal?: AbortSignal,
): Promise<IncrementalPlan> {
  const column = cursorColumn(relation, request.cursor);
  const lag = request.lag ?? 0;
  if (lag > 0) lagStart(column, "", lag);
  const reader: Reader = { session, relation, column, signal };
  await refuseUnordered(reader);
  const before = after === undefined ? undefined : fromCursor(after, column.name, relation.stream);
  const bound = await greatest(reader);
  if (bound === undefined) return { slices: [], position: before, overlap: false };
  const name = quoteName(column.name);
  // Tables without transactions go on changing while they are read.
  const upTo = `${name} <= ${literal(column, bound)}`;
  if (before === undefined) {
    return { slices: [{ where: upTo }], position: await positionAt(reader, bound, lag), overlap: false };
  }

  checkType(reader, before);
  const start = literal(column, before.value);
  const newer = await isAny(reader, `${name} > ${start}`);
  const again = await readAgain(reader, before, lag);
  if (!newer && again === undefined) return { slices: [], position: before, overlap: false };
  const position = await positionAt(reader, newer ? bound : before.value, lag);
  if (again === "all") {
    const from = lag > 0 ? lagStart(column, before.value, lag) : start;
    return { slices: [{ where: `${name} >= ${from} AND ${upTo}` }], position, overlap: true };
  }
  const slices: Slice[] = newer ? [{ where: `${name} > ${start} AND ${upTo}` }] : [];
  if (again !== undefined) slices.unshift(again);
  return { slices, position, overlap: false };
}

/** The column that a flow reads by. Throws `not-found` and `config`. */
function cursorColumn({ all, stream }: Relation, name: string): MappedColumn {
  const column = all.find((candidate) => candidate.name === name);
  if (column === undefined) {
    throw new MillraceError("not-found", `\`${stream}\` has no column \`${name}\``, {
      where: { stream, column: name },
      hint: suggestion(
        name,
        all.map((candidate) => candidate.name),
      ),
    });
  }
  if (column.mapping.ordered) return column;
  throw new MillraceError(
    "config",
    `\`cursor\` names the column \`${name}\`, whose type \`${column.server.type}\` has no usable order`,
    {
      where: { column: name },
      hint: "take a time, a date, a number or a text; `millrace discover` shows which columns suit",
    },
  );
}

async function isAny({ session, relation, signal }: Reader, condition: string): Promise<boolean> {
  const sql = `SELECT EXISTS (SELECT 1 FROM ${relation.from} WHERE ${condition}) AS found`;
  const [row] = await session.query(sql, signal);
  return row?.["found"] === "1";
}

/** A row without a place in the order would never be new, and so be lost without a word once it is not read with everything else. */
async function refuseUnordered(reader: Reader): Promise<void> {
  const { column, relation } = reader;
  if (column.server.required || !(await isAny(reader, `${quoteName(column.name)} IS NULL`))) return;
  throw new MillraceError(
    "value",
    `\`${column.name}\` is empty in some rows, which therefore have no place in the order`,
    {
      where: { stream: relation.stream, column: column.name },
      hint: `read by another column, or by an expression that always has a value: \`query: select *, coalesce(${column.name}, created_at) as changed_at from ${relation.stream}\` with \`cursor: changed_at\``,
    },
  );
}

/** The greatest value of the column; undefined when there are no rows. */
async function greatest({ session, relation, column, signal }: Reader): Promise<string | undefined> {
  const maximum = `MAX(${quoteName(column.name)})`;
  const sql = `SELECT ${column.mapping.select?.(maximum) ?? maximum} AS value FROM ${relation.from}`;
  const [row] = await session.query(sql, signal);
  return row?.["value"] ?? undefined;
}

/** The stored value must still be one of the column's type: the column may have another one by now. */
function checkType({ column, relation }: Reader, before: SqlPosition): void {
  if (familyOf(before.type) === familyOf(column.server.type)) return;
  throw new MillraceError(
    "conflict",
    `the dataset's position \`${before.value}\` is of type \`${before.type}\`, and \`${column.name}\` now has the type \`${column.server.type}\``,
    {
      where: { stream: relation.stream, column: column.name },
      hint: "run once with `--full` to read the stream from its start",
    },
  );
}

function familyOf(type: string): string {
  if (/int$|^(integer|decimal|numeric|float|double|real|bit|year)$/.test(type)) return "number";
  return /char$|text$/.test(type) ? "text" : type;
}

/** The rows up to the last position that are not in the dataset yet: changed since, or committed late. Undefined: there are none. */
async function readAgain(reader: Reader, before: SqlPosition, lag: number): Promise<Slice | "all" | undefined> {
  const { boundary, value } = before;
  const columns = boundary.columns.map((name) => reader.relation.all.find((candidate) => candidate.name === name));
  if (before.lag !== lag || !columns.every((column) => column !== undefined)) return "all";
  const now = await boundaryAt(reader, value, lag, columns);
  if (now.rows === boundary.rows && now.sum === boundary.sum) return undefined;
  if (boundary.hashes === undefined) return "all";
  if (now.hashes !== undefined) {
    const seen = countHashes(boundary.hashes);
    const unseen = [...countHashes(now.hashes)].some(([hash, count]) => count > (seen.get(hash) ?? 0));
    if (!unseen) return undefined;
  }
  return { where: boundaryCondition(reader.column, value, lag), without: boundary.hashes, columns: boundary.columns };
}

async function positionAt(reader: Reader, value: string, lag: number): Promise<SqlPosition> {
  const { column, relation } = reader;
  const boundary = await boundaryAt(reader, value, lag, relation.columns);
  return { version: 1, column: column.name, type: column.server.type, value, lag, boundary };
}

/** The contents of a row as 32 hexadecimal digits. */
export function rowHash(columns: readonly MappedColumn[]): string {
  const cells = columns.map((column) => `COALESCE(MD5(${hashedText(column)}), '-')`);
  return `MD5(CONCAT_WS(',', ${cells.join(", ")}))`;
}

function boundaryCondition(column: MappedColumn, value: string, lag: number): string {
  const name = quoteName(column.name);
  const upper = literal(column, value);
  return lag > 0 ? `${name} >= ${lagStart(column, value, lag)} AND ${name} <= ${upper}` : `${name} = ${upper}`;
}

async function boundaryAt(
  { session, relation, column, signal }: Reader,
  value: string,
  lag: number,
  columns: readonly MappedColumn[],
): Promise<Boundary> {
  const hash = rowHash(columns);
  const within = `${relation.from} WHERE ${boundaryCondition(column, value, lag)}`;
  const number = `CAST(CONV(LEFT(${hash}, 15), 16, 10) AS UNSIGNED)`;
  const [total] = await session.query(
    `SELECT COUNT(*) AS n, COALESCE(SUM(${number}), 0) AS total FROM ${within}`,
    signal,
  );
  const rows = Number(total!["n"]);
  const boundary: Boundary = { rows, sum: total!["total"]!, columns: columns.map((candidate) => candidate.name) };
  if (lag > 0 || rows > maximumBoundaryRows) return boundary;
  const hashes = await session.query(`SELECT LEFT(${hash}, 16) AS hash FROM ${within}`, signal);
  return { ...boundary, hashes: packHashes(hashes.map((row) => row["hash"]!)) };
}

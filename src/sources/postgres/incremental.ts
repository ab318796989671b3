import { MillraceError, type Cursor, type ReadRequest } from "../../core/index.ts";
import {
  countHashes,
  fromCursor,
  maximumBoundaryRows,
  packHashes,
  type Boundary,
  type SqlPosition,
} from "../sql/index.ts";
import { cursorLiteral, cursorType, lagStart } from "./cursor-types.ts";
import type { Session } from "../../protocols/postgres/session.ts";
import type { Slice } from "./slice.ts";
import { rowHash, type Subject, type SubjectColumn } from "../../protocols/postgres/subject.ts";

export interface IncrementalPlan {
  /** What is to be read; together exactly what is new. Undefined among them: all rows. Empty: nothing is new. */
  slices: (Slice | undefined)[];
  position: SqlPosition | undefined;
  /** Rows of earlier runs may be among them. */
  overlap: boolean;
}

/**
 * What is new after a position, decided in one snapshot. No value of the column is passed over: the rows with exactly the
 * last value are told apart by their contents, because more of them may have been committed since.
 */
export async function planIncrement(
  session: Session,
  subject: Subject,
  request: ReadRequest & { cursor: string },
  after: Cursor | undefined,
  signal?: AbortSignal,
): Promise<IncrementalPlan> {
  const column = subject.all.find((candidate) => candidate.name === request.cursor)!;
  const type = cursorType(column.typeName, column.name);
  const lag = request.lag ?? 0;
  if (lag > 0) lagStart(type, "", lag, column.name);
  const reader = { session, subject, column, signal };
  const bound = await greatest(reader);
  await refuseUnordered(reader);
  const before = after === undefined ? undefined : fromCursor(after, column.name, subject.stream);
  if (bound === undefined) return { slices: [], position: before, overlap: false };
  if (before === undefined)
    return { slices: [undefined], position: await positionAt(reader, bound, lag), overlap: false };

  checkType(subject, column, before);
  const [compared] = await session.query(
    `SELECT ${cursorLiteral(type, bound)} > ${cursorLiteral(type, before.value)} AS newer`,
    [],
    signal,
  );
  const newer = compared!.newer === "t";
  const again = await readAgain(reader, before, lag);
  if (!newer && again === undefined) return { slices: [], position: before, overlap: false };
  const position = await positionAt(reader, newer ? bound : before.value, lag);
  if (again?.kind === "from") return { slices: [again], position, overlap: true };
  const slices: Slice[] = newer ? [{ kind: "after", column: column.name, value: before.value }] : [];
  if (again !== undefined) slices.unshift(again);
  return { slices, position, overlap: false };
}

interface Reader {
  session: Session;
  subject: Subject;
  column: SubjectColumn;
  signal: AbortSignal | undefined;
}

/** The greatest value of the column that is a position; undefined when there is none. */
async function greatest({ session, subject, column, signal }: Reader): Promise<string | undefined> {
  const { unordered } = cursorType(column.typeName, column.name);
  const ordered = unordered === undefined ? "" : `AND NOT (${unordered(column.sql)})`;
  const [row] = await session.query(
    `SELECT ${column.sql}::text AS value FROM ${subject.from} WHERE ${column.sql} IS NOT NULL ${ordered} ORDER BY ${column.sql} DESC LIMIT 1`,
    [],
    signal,
  );
  return row?.value ?? undefined;
}

/** A row without a place in the order would never be new, and so be lost without a word once it is not read with everything else. */
async function refuseUnordered({ session, subject, column, signal }: Reader): Promise<void> {
  const { unordered } = cursorType(column.typeName, column.name);
  const conditions = column.required ? [] : [`${column.sql} IS NULL`];
  if (unordered !== undefined) conditions.push(unordered(column.sql));
  if (conditions.length === 0) return;
  const [found] = await session.query(
    `SELECT ${column.sql}::text AS value FROM ${subject.from} WHERE ${conditions.join(" OR ")} LIMIT 1`,
    [],
    signal,
  );
  if (found === undefined) return;
  const what = found.value === null ? "empty" : `\`${found.value}\``;
  throw new MillraceError(
    "value",
    `\`${column.name}\` is ${what} in some rows, which therefore have no place in the order`,
    {
      where: { stream: subject.stream, column: column.name },
      hint: `read by another column, or by an expression that always has a value: \`query: select *, coalesce(${column.name}, created_at) as changed_at from ${subject.stream}\` with \`cursor: changed_at\``,
    },
  );
}

/** The stored value must still be one of the column's type: the column may have another one by now. */
function checkType(subject: Subject, column: SubjectColumn, before: SqlPosition): void {
  const type = cursorType(column.typeName, column.name);
  if (familyOf(before.type) === familyOf(column.typeName)) return;
  throw new MillraceError(
    "conflict",
    `the dataset's position \`${before.value}\` is of type \`${before.type}\`, and \`${column.name}\` now has the type \`${type.sql}\``,
    {
      where: { stream: subject.stream, column: column.name },
      hint: "run once with `--full` to read the stream from its start",
    },
  );
}

function familyOf(type: string): string {
  if (["int2", "int4", "int8", "numeric", "oid"].includes(type)) return "number";
  if (type === "text" || type === "varchar") return "text";
  return type;
}

/** The rows up to the last position that are not in the dataset yet: changed since, or committed late. Undefined: there are none. */
async function readAgain(reader: Reader, before: SqlPosition, lag: number): Promise<Slice | undefined> {
  const { subject, column } = reader;
  const from: Slice = { kind: "from", column: column.name, value: before.value, lag };
  const known = new Set(subject.all.map((candidate) => candidate.name));
  const comparable = before.boundary.columns.every((name) => known.has(name)) && before.lag === lag;
  if (!comparable) return from;
  const now = await boundaryAt(reader, before.value, lag, before.boundary.columns);
  if (now.rows === before.boundary.rows && now.sum === before.boundary.sum) return undefined;
  if (before.boundary.hashes === undefined) return from;
  const { hashes, columns } = before.boundary;
  if (now.hashes !== undefined) {
    const seen = countHashes(hashes);
    const unseen = [...countHashes(now.hashes)].some(([hash, count]) => count > (seen.get(hash) ?? 0));
    if (!unseen) return undefined;
  }
  return { kind: "boundary", column: column.name, value: before.value, hashes, columns };
}

async function positionAt(reader: Reader, value: string, lag: number): Promise<SqlPosition> {
  const { column, subject } = reader;
  const columns = subject.columns.map((candidate) => candidate.name);
  const boundary = await boundaryAt(reader, value, lag, columns);
  return { version: 1, column: column.name, type: column.typeName, value, lag, boundary };
}

async function boundaryAt(
  { session, subject, column, signal }: Reader,
  value: string,
  lag: number,
  columns: readonly string[],
): Promise<Boundary> {
  const type = cursorType(column.typeName, column.name);
  const upper = cursorLiteral(type, value);
  const within =
    lag > 0
      ? `${column.sql} >= ${lagStart(type, value, lag, column.name)} AND ${column.sql} <= ${upper}`
      : `${column.sql} = ${upper}`;
  const hash = rowHash(subject, columns);
  const hashed = `SELECT ${hash} AS hash FROM ${subject.from} WHERE ${within}`;
  const [total] = await session.query(
    `SELECT count(*) AS rows, coalesce(sum(('x' || substr(hash, 1, 15))::bit(60)::bigint), 0)::text AS sum FROM (${hashed}) AS hashed`,
    [],
    signal,
  );
  const rows = Number(total!.rows);
  const boundary: Boundary = { rows, sum: total!.sum!, columns: [...columns] };
  if (lag > 0 || rows > maximumBoundaryRows) return boundary;
  const hashes = await session.query(`SELECT substr(hash, 1, 16) AS hash FROM (${hashed}) AS hashed`, [], signal);
  return { ...boundary, hashes: packHashes(hashes.map((row) => row.hash!)) };
}

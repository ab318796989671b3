import { MillraceError, suggestion } from "../../core/index.ts";
import { maximumBoundaryRows, packHashes, type Boundary, type SqlPosition } from "../sql/index.ts";
import { quoteName, quoteText } from "./names.ts";
import type { Session } from "./session.ts";
import { hashedText, isNumber, type MappedColumn } from "./types.ts";

/** The column that a flow reads by. Throws `not-found`, `config` (no order) or `value` (rows without a value). */
export async function cursorColumn(
  session: Session,
  from: string,
  columns: readonly MappedColumn[],
  name: string,
  signal?: AbortSignal,
): Promise<MappedColumn> {
  const column = columns.find((other) => other.name === name);
  if (column === undefined) {
    throw new MillraceError("not-found", `there is no column \`${name}\` to read by`, {
      where: { column: name },
      hint: suggestion(
        name,
        columns.map((other) => other.name),
      ),
    });
  }
  if (!column.mapping.ordered) {
    throw new MillraceError("config", `the column \`${name}\` (${column.server.type}) has no order to read by`, {
      where: { column: name },
      hint: "name a time or a number that grows",
    });
  }
  if (!column.server.required) {
    const sql = `SELECT EXISTS (SELECT 1 FROM ${from} WHERE ${quoteName(name)} IS NULL) AS n`;
    const [row] = await session.query(sql, signal);
    if (row?.["n"] === "1") {
      throw new MillraceError("value", `some rows have no \`${name}\`: they would never be read`, {
        where: { column: name },
        hint: `fill it, or use \`query\` with coalesce(${name}, …)`,
      });
    }
  }
  return column;
}

/** The highest value of the cursor column, or undefined when there are no rows. */
export async function highest(
  session: Session,
  from: string,
  column: MappedColumn,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const maximum = `MAX(${quoteName(column.name)})`;
  const [row] = await session.query(`SELECT ${column.mapping.select?.(maximum) ?? maximum} AS v FROM ${from}`, signal);
  return row?.["v"] ?? undefined;
}

/** Condition of the rows from `value` less the lag to `value`. */
export function boundaryCondition(column: MappedColumn, value: string, lag: number): string {
  const name = quoteName(column.name);
  const top = literal(column, value);
  return lag > 0 ? `${name} >= ${lagged(column, value, lag)} AND ${name} <= ${top}` : `${name} = ${top}`;
}

/** Measures the boundary rows: how many, and the sum of their hashes over `columns`. */
export async function measureBoundary(
  session: Session,
  from: string,
  condition: string,
  columns: readonly MappedColumn[],
  signal?: AbortSignal,
): Promise<Boundary> {
  const number = `CAST(CONV(${rowHash(columns)}, 16, 10) AS UNSIGNED)`;
  const sql = `SELECT COUNT(*) AS n, COALESCE(SUM(${number}), 0) AS total FROM ${from} WHERE ${condition}`;
  const [row] = await session.query(sql, signal);
  return { rows: Number(row?.["n"]), sum: String(row?.["total"]), columns: columns.map((column) => column.name) };
}

/** The position after a plan that reads everything up to `value`. */
export async function positionAt(
  session: Session,
  from: string,
  column: MappedColumn,
  value: string,
  lag: number,
  columns: readonly MappedColumn[],
  signal?: AbortSignal,
): Promise<SqlPosition> {
  const condition = boundaryCondition(column, value, lag);
  const boundary = await measureBoundary(session, from, condition, columns, signal);
  if (lag === 0 && boundary.rows <= maximumBoundaryRows) {
    const rows = await session.query(`SELECT ${rowHash(columns)} AS h FROM ${from} WHERE ${condition}`, signal);
    boundary.hashes = packHashes(rows.map((row) => row["h"]!));
  }
  return { version: 1, column: column.name, type: column.server.type, value, lag, boundary };
}

/** Sixteen hexadecimal digits: identical rows have the same, and others another. */
export function rowHash(columns: readonly MappedColumn[]): string {
  const cells = columns.map((column) => `COALESCE(MD5(${hashedText(column)}), '-')`);
  return `LEFT(MD5(CONCAT_WS(',', ${cells.join(", ")})), 16)`;
}

/** A value of the column as SQL. */
export function literal(column: MappedColumn, value: string): string {
  return isNumber(column) && /^[-+0-9.eE]+$/.test(value) ? value : quoteText(value);
}

/** `value` less the lag: seconds for times, units for numbers. */
function lagged(column: MappedColumn, value: string, lag: number): string {
  if (isNumber(column)) return `(${literal(column, value)} - ${lag})`;
  const { type } = column.mapping;
  if (type === "date" || type === "timestamp" || type === "timestamptz") {
    return `(CAST(${quoteText(value)} AS DATETIME(6)) - INTERVAL ${lag} SECOND)`;
  }
  throw new MillraceError(
    "config",
    `\`lag\` needs a time or a number to read by, and \`${column.name}\` is ${column.server.type}`,
    { where: { column: column.name }, hint: "leave `lag` out, or read by another column" },
  );
}

import { parseDecimal, type Column, type ColumnFacts, type Cursor, type ReadRequest } from "../../core/index.ts";
import { fromCursor } from "../sql/index.ts";
import { literal } from "../../protocols/mysql/literals.ts";
import { quoteName } from "../../protocols/mysql/names.ts";
import type { Relation } from "../../protocols/mysql/relations.ts";
import type { Session } from "../../protocols/mysql/session.ts";
import type { MappedColumn } from "../../protocols/mysql/types.ts";

/** Columns measured by one statement: the server allows 4,096 expressions. */
const columnsAtOnce = 300;

/** Rows, nulls, checksums, minima and maxima of a relation, computed by the server in one transaction. */
export async function measureRelation(
  session: Session,
  relation: Relation,
  request: ReadRequest,
  columns: readonly Column[],
  upTo: Cursor | undefined,
  signal?: AbortSignal,
): Promise<{ rows: number; columns: Record<string, ColumnFacts> }> {
  await session.query("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", signal);
  const condition = measuredWhere(relation, request, upTo);
  const wanted = columns.flatMap((column) => {
    const found = relation.all.find((candidate) => candidate.name === column.name);
    return found === undefined ? [] : [{ column, found }];
  });
  const result: { rows: number; columns: Record<string, ColumnFacts> } = { rows: 0, columns: {} };
  for (let start = 0; start === 0 || start < wanted.length; start += columnsAtOnce) {
    const batch = wanted.slice(start, start + columnsAtOnce);
    const list = ["COUNT(*) AS n", ...batch.flatMap(({ column, found }, index) => factsSql(column, found, index))];
    const [row] = await session.query(`SELECT ${list.join(", ")} FROM ${relation.from}${condition}`, signal);
    result.rows = Number(row!["n"]);
    for (const [index, { column }] of batch.entries()) {
      const facts: ColumnFacts = { nulls: Number(row![`nulls_${index}`]) };
      for (const name of ["checksum", "min", "max"] as const) {
        const value = row![`${name}_${index}`];
        if (value !== undefined && value !== null) facts[name] = value;
      }
      result.columns[column.name] = facts;
    }
  }
  return result;
}

function measuredWhere(relation: Relation, request: ReadRequest, upTo: Cursor | undefined): string {
  if (upTo === undefined || request.cursor === undefined) return "";
  const position = fromCursor(upTo, request.cursor, relation.stream);
  const column = relation.all.find((candidate) => candidate.name === position.column);
  return column === undefined ? "" : ` WHERE ${quoteName(column.name)} <= ${literal(column, position.value)}`;
}

function factsSql(column: Column, found: MappedColumn, index: number): string[] {
  const name = quoteName(found.name);
  const expressions = [`COUNT(*) - COUNT(${name}) AS nulls_${index}`];
  const text = canonicalFor(column, found);
  if (text !== undefined) {
    // Sixty bits of each hash; the sum does not depend on the order of rows, and is a decimal of 41 digits.
    const number = `CAST(CONV(LEFT(MD5(${text}), 15), 16, 10) AS UNSIGNED)`;
    expressions.push(`COALESCE(SUM(${number}), 0) AS checksum_${index}`);
  }
  for (const [label, aggregate] of [
    ["min", "MIN"],
    ["max", "MAX"],
  ] as const) {
    const extreme = extremeOf(found, aggregate);
    if (extreme !== undefined) expressions.push(`${extreme} AS ${label}_${index}`);
  }
  return expressions;
}

/** The text of a value as the dataset has it: its column may be wider than the source's by now. */
function canonicalFor(column: Column, { name, mapping }: MappedColumn): string | undefined {
  const quoted = quoteName(name);
  if (mapping.canonical === undefined || typeof column.type !== "string" || typeof mapping.type !== "string")
    return undefined;
  const integers = ["int", "long"];
  const isInteger = integers.includes(mapping.type);
  if (column.type === mapping.type || (isInteger && integers.includes(column.type))) return mapping.canonical(quoted);
  const decimal = parseDecimal(column.type);
  const isExact = isInteger || parseDecimal(mapping.type) !== undefined;
  if (!decimal || !isExact) return undefined;
  return `CAST(CAST(${quoted} AS DECIMAL(${decimal.precision},${decimal.scale})) AS CHAR)`;
}

/** The least or the greatest value as canonical text. Text is compared byte by byte, as the dataset does. */
function extremeOf({ name, mapping }: MappedColumn, aggregate: "MIN" | "MAX"): string | undefined {
  const { canonical, ordered, select, type } = mapping;
  if (!ordered) return undefined;
  const column = quoteName(name);
  if (type === "string") {
    const bytes = `CAST(${canonical!(column)} AS BINARY)`;
    return `CONVERT(${aggregate}(${bytes}) USING utf8mb4)`;
  }
  const extreme = `${aggregate}(${column})`;
  return canonical?.(extreme) ?? select?.(extreme) ?? extreme;
}

import type { Column, ColumnFacts, Cursor, ReadRequest } from "../../core/index.ts";
import { fromCursor } from "../sql/index.ts";
import { literal } from "./literals.ts";
import { quoteName } from "./names.ts";
import type { Relation } from "./relations.ts";
import type { Session } from "./session.ts";
import type { MappedColumn } from "./types.ts";

/** Rows, nulls, extremes and checksums, computed by the server in one pass over what a run with this request reads. */
export async function measureRelation(
  session: Session,
  relation: Relation,
  request: ReadRequest,
  wanted: readonly Column[],
  upTo: Cursor | undefined,
  signal?: AbortSignal,
): Promise<{ rows: number; columns: Record<string, ColumnFacts> }> {
  const measured = relation.columns.filter((column) => wanted.some((other) => other.name === column.name));
  const list = ["COUNT(*) AS n"];
  for (const [index, column] of measured.entries()) {
    list.push(`COALESCE(SUM(${quoteName(column.name)} IS NULL), 0) AS n${index}`);
    const text = column.mapping.canonical?.(quoteName(column.name));
    // Sixty bits of each hash, so that the sum of 2^60 rows still fits; a sum does not depend on the order of rows.
    if (text !== undefined) {
      list.push(`COALESCE(SUM(CAST(CONV(LEFT(MD5(${text}), 15), 16, 10) AS UNSIGNED)), 0) AS c${index}`);
    }
    const [low, high] = extremes(column) ?? [];
    if (low !== undefined && high !== undefined) list.push(`${low} AS l${index}`, `${high} AS h${index}`);
  }
  const where = measuredWhere(relation, request, upTo);
  const [row] = await session.query(`SELECT ${list.join(", ")} FROM ${relation.from}${where}`, signal);
  const columns: Record<string, ColumnFacts> = {};
  for (const [index, { name }] of measured.entries()) {
    const facts: ColumnFacts = { nulls: Number(row?.[`n${index}`] ?? 0) };
    for (const [field, key] of [
      ["checksum", `c${index}`],
      ["min", `l${index}`],
      ["max", `h${index}`],
    ] as const) {
      const value = row?.[key];
      if (typeof value === "string") facts[field] = value;
    }
    columns[name] = facts;
  }
  return { rows: Number(row?.["n"] ?? 0), columns };
}

function measuredWhere(relation: Relation, request: ReadRequest, upTo: Cursor | undefined): string {
  const column = relation.all.find((other) => other.name === request.cursor);
  if (upTo === undefined || column === undefined) return "";
  return ` WHERE ${quoteName(column.name)} <= ${literal(column, fromCursor(upTo, column.name, relation.stream).value)}`;
}

/** Expressions for the least and the greatest value as canonical text. Text is compared byte by byte, as the dataset does. */
function extremes({ name, mapping }: MappedColumn): [string, string] | undefined {
  const column = quoteName(name);
  const both = (of: (aggregate: string) => string): [string, string] => [of("MIN"), of("MAX")];
  const { canonical, select, type } = mapping;
  if (type === "string" && canonical !== undefined) {
    return both((aggregate) => `CONVERT(${aggregate}(CAST(${canonical(column)} AS BINARY)) USING utf8mb4)`);
  }
  if (type === "boolean" || type === "binary" || type === "uuid") return undefined;
  if (canonical !== undefined) return both((aggregate) => canonical(`${aggregate}(${column})`));
  return both((aggregate) => select?.(`${aggregate}(${column})`) ?? `${aggregate}(${column})`);
}

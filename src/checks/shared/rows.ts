import { sqlName, type CheckContext, type Column, type Sql } from "../../core/index.ts";
import { columnNamed, kindOf } from "./columns.ts";

/** Any FROM item as one that can be given an alias. */
export function rowsOf(item: Sql): Sql {
  return `(SELECT * FROM ${item})`;
}

export function namesOf(columns: readonly Column[], alias?: string): Sql[] {
  return columns.map((column) => (alias === undefined ? sqlName(column.name) : `${alias}.${sqlName(column.name)}`));
}

/** `"a" IS NOT NULL AND "b" IS NOT NULL` */
export function noneIsNull(columns: readonly Column[]): Sql {
  return namesOf(columns)
    .map((name) => `${name} IS NOT NULL`)
    .join(" AND ");
}

/** An order that is total but for rows that are equal in every column that can be ordered, so that two passes agree. */
export function totalOrder(context: CheckContext): Sql[] {
  return namesOf(context.columns.filter((column) => kindOf(column) !== "nested"));
}

/** `[time desc, id]` as terms of ORDER BY, nulls last. Throws `config` for columns that are not there. */
export function orderTerms(check: string, texts: readonly string[], context: CheckContext): Sql[] {
  return texts.map((text) => {
    const match = /^(.*?)(?:\s+(asc|desc))?$/i.exec(text.trim());
    const exact = context.columns.some((column) => column.name === text);
    const column = columnNamed(check, exact ? text : (match?.[1] ?? text), context);
    return `${sqlName(column.name)} ${!exact && match?.[2]?.toLowerCase() === "desc" ? "DESC" : "ASC"} NULLS LAST`;
  });
}

/** Columns of the earlier version that are still there under their name. */
export function earlierColumns(context: CheckContext): Set<string> {
  return new Set((context.previousColumns ?? context.columns).map((column) => column.name));
}

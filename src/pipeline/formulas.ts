import { sqlName, sqlString, type Column, type Sql } from "../core/index.ts";

/**
 * What a spreadsheet takes for the start of a formula when it opens a CSV, full-width forms included (OWASP, "CSV Injection").
 * Numbers begin with a sign too, and stay as they are.
 */
const dangerous = "^[=+\\-@\\t\\r\\x00＝＋－＠]";
const number = "^[+-]?[0-9]+([.,][0-9]+)?([eE][+-]?[0-9]+)?$";

const isDangerous = (text: string): boolean => /^[=+\-@\t\r\0＝＋－＠]/.test(text);

/**
 * The rows of a SELECT with `'` before each cell, and each name of a column, that a spreadsheet would take for a formula.
 * For export to CSV only: stored data is never changed.
 */
export function withoutFormulas(select: Sql, columns: readonly Column[]): Sql {
  const list = columns.map(({ name, type }) => {
    const alias = sqlName(isDangerous(name) ? `'${name}` : name);
    // No other type is written with such a start and is not a number: base64 has no signs that a call needs.
    if (type !== "string") return `${sqlName(name)} AS ${alias}`;
    const text = sqlName(name);
    const guarded = `regexp_matches(${text}, ${sqlString(dangerous)}) AND NOT regexp_matches(${text}, ${sqlString(number)})`;
    return `CASE WHEN ${guarded} THEN '''' || ${text} ELSE ${text} END AS ${alias}`;
  });
  return `SELECT ${list.join(", ")} FROM (${select})`;
}

import { sqlName, sqlString, type Column, type Sql } from "../../core/index.ts";
import { kindOf } from "./columns.ts";

/** The predicate of values that are none of `values`, compared as the column's type compares. Null gives null. */
export function notAmong(column: Column, values: readonly (string | number | boolean)[], ignoreCase = false): Sql {
  const name = sqlName(column.name);
  const kind = kindOf(column);
  if (kind === "number" || kind === "float") {
    const type = kind === "float" ? "DOUBLE" : "DECIMAL(38,10)";
    // A text that is no number equals none of them.
    const numbers = values
      .filter((value) => Number.isFinite(Number(value)))
      .map((value) => `CAST(${sqlString(String(value))} AS ${type})`);
    return numbers.length === 0 ? `${name} IS NOT NULL` : `${name} NOT IN (${numbers.join(", ")})`;
  }
  const texts = values.map((value) => sqlString(ignoreCase ? String(value).toLowerCase() : String(value)));
  const compared = kind === "text" ? name : `CAST(${name} AS VARCHAR)`;
  return `${ignoreCase ? `lower(${compared})` : compared} NOT IN (${texts.join(", ")})`;
}

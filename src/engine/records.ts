import { sqlName, sqlString, type Column, type Sql } from "../core/index.ts";
import { converted, memberText, misfit } from "./bytes.ts";

/** Names of `typedRecords` beside the columns. */
export const recordNumber = "millrace_record_number";
export const recordProblem = "millrace_record_problem";

/**
 * A SELECT of JSON objects as typed rows: `recordNumber`, from 0, in the order of `records`; `recordProblem`, null where all members fit; and
 * the columns. A member that is not there is null; bytes are base64.
 */
export function typedRecords(records: readonly string[], columns: readonly Column[]): Sql {
  const encodings = Object.fromEntries(
    columns.filter(({ type }) => type === "binary").map(({ name }) => [name, "base64" as const]),
  );
  const conversions = columns.map((column) => {
    const name = sqlName(column.name);
    return { column, name, value: converted({ encodings }, column, name) };
  });
  const texts = columns.map((column) => `${memberText(column)} AS ${sqlName(column.name)}`);
  const lines = records.map((record, index) => `(${index}, ${sqlString(record)})`);
  const values = conversions.map(({ name, value }) => `${value} AS ${name}`);
  return `SELECT ${[recordNumber, `nullif(concat_ws('; ', ${conversions.map(misfit).join(", ")}), '') AS ${recordProblem}`, ...values].join(", ")}
    FROM (SELECT ${[recordNumber, ...texts].join(", ")} FROM (VALUES ${lines.join(", ")}) AS given(${recordNumber}, line))`;
}

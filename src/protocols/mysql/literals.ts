import { MillraceError } from "../../core/index.ts";
import { quoteText } from "./names.ts";
import type { MappedColumn } from "./types.ts";

/** A value of the column, as the server printed it, as SQL. Bytes are given in hexadecimal. */
export function literal(column: MappedColumn, value: string): string {
  if (column.mapping.type === "binary") return `X'${value}'`;
  return isNumber(column) && /^[-+0-9.eE]+$/.test(value) ? value : quoteText(value);
}

/** Where the window of a lag begins: `value` less seconds for times, days for dates, units for numbers. Throws `config` for other types. */
export function lagStart(column: MappedColumn, value: string, lag: number): string {
  if (column.mapping.type === "date")
    return `(CAST(${quoteText(value)} AS DATE) - INTERVAL ${Math.ceil(lag / 86_400)} DAY)`;
  if (column.mapping.type === "timestamp" || column.mapping.type === "timestamptz") {
    return `(CAST(${quoteText(value)} AS DATETIME(6)) - INTERVAL ${lag} SECOND)`;
  }
  if (isNumber(column)) {
    const isWhole = column.mapping.type === "int" || column.mapping.type === "long";
    return `(${literal(column, value)} - ${isWhole ? Math.ceil(lag) : lag})`;
  }
  throw new MillraceError(
    "config",
    `\`lag\` does not go with the column \`${column.name}\` of type \`${column.server.type}\``,
    {
      where: { column: column.name },
      hint: "leave `lag` out, or read by a time or a number",
    },
  );
}

function isNumber({ mapping: { type } }: MappedColumn): boolean {
  return typeof type === "string" && (/^(int|long|float|double)$/.test(type) || type.startsWith("decimal"));
}

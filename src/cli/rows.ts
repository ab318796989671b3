import { formatType, type Column } from "../core/index.ts";
import type { Output } from "./output.ts";
import { table } from "./text/table.ts";
import { cell, csvField } from "./text/values.ts";

interface Rows {
  columns: Column[];
  rows: Record<string, unknown>[];
  more: boolean;
}

const numeric = /^(int|long|float|double|decimal)/;

/** Rows as a table, as JSON or as CSV. */
export function printRows(output: Output, result: Rows, form: "table" | "json" | "csv"): void {
  const names = result.columns.map((column) => column.name);
  if (form === "json") {
    const columns = result.columns.map((column) => ({ name: column.name, type: formatType(column.type) }));
    output.json({ columns, rows: result.rows, more: result.more });
    return;
  }
  if (form === "csv") {
    const lines = [names.map(csvField).join(",")];
    for (const row of result.rows) lines.push(names.map((name) => csvField(row[name])).join(","));
    output.print(lines.join("\n"));
    return;
  }
  const columns = result.columns.map((column) => ({
    title: column.name,
    align: typeof column.type === "string" && numeric.test(column.type) ? ("right" as const) : ("left" as const),
  }));
  output.print(
    table(
      columns,
      result.rows.map((row) => names.map((name) => cell(row[name]))),
      output.width,
    ),
  );
}

import * as z from "zod";
import { defineCheck, sqlName, type Statistics } from "../core/index.ts";
import { columnShape, hasOneOfColumns, oneOfColumns, type ColumnOptions } from "./shared/columns.ts";
import { valueCheck } from "./shared/values.ts";

/** Answers from the footers when every null count is known and they can be added without counting a row twice. */
function fromStatistics(options: ColumnOptions, statistics: Statistics): Record<string, number> | undefined {
  const names = options.columns ?? [options.column ?? ""];
  const measured: Record<string, number> = {};
  let total = 0;
  for (const [index, name] of names.entries()) {
    const nulls = statistics.columns[name]?.nulls;
    if (nulls === undefined) return undefined;
    if (names.length > 1) measured[`failing${index}`] = nulls;
    total += nulls;
  }
  if (names.length > 1 && total > 0) return undefined;
  return { ...measured, failing: total };
}

export default defineCheck({
  name: "not-null",
  title: "Not null",
  summary: "Every row has a value in the columns.",
  options: z.strictObject(columnShape).refine(hasOneOfColumns, oneOfColumns),
  needs: [],
  capabilities: { rows: true },
  examples: [
    { title: "Identifiers are always there", yaml: "check: not-null\ncolumns: [id, customer_id]\n" },
    {
      title: "At most one row in a hundred may lack the price",
      yaml: "check: not-null\ncolumn: price\nmax_share: 0.01\non_fail: warn\n",
    },
  ],
  load: async () =>
    valueCheck<ColumnOptions>({
      check: "not-null",
      failing: (column) => `${sqlName(column.name)} IS NULL`,
      problem: () => "is null",
      holds: () => "has a value",
      aboutNulls: true,
      fromStatistics,
    }),
});

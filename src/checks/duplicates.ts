import * as z from "zod";
import { defineCheck, type Check, type CheckContext, type Column } from "../core/index.ts";
import { columnNamed } from "./shared/columns.ts";
import { countOf, ofRows } from "./shared/numbers.ts";
import { namesOf } from "./shared/rows.ts";

const options = z.strictObject({
  ignore: z
    .array(z.string())
    .default([])
    .describe("Columns that do not count: a time of receipt, a generated identifier. Default: none."),
});
type Options = z.output<typeof options>;

function compared(options: Options, context: CheckContext): Column[] {
  const ignored = new Set(options.ignore.map((name) => columnNamed("duplicates", name, context).name));
  if (context.split !== undefined) ignored.add(context.split);
  return context.columns.filter((column) => !ignored.has(column.name));
}

const check: Check<Options> = {
  /** Hashes first, so that whole rows are grouped only where their hash is not alone: exact, and small where there are few copies. */
  measure(options, context) {
    const columns = compared(options, context);
    if (columns.length === 0) return { failing: "greatest(count(*) - 1, 0)" };
    const names = namesOf(columns).join(", ");
    return {
      failing:
        `(SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM data ` +
        `WHERE hash(${names}) IN (SELECT hash(${names}) FROM data GROUP BY 1 HAVING count(*) > 1) GROUP BY ${names} HAVING count(*) > 1))`,
    };
  },

  judge(options, measured) {
    const rows = countOf(measured["rows"]);
    const failing = countOf(measured["failing"]);
    const without =
      options.ignore.length === 0 ? "" : ` (without ${options.ignore.map((name) => `\`${name}\``).join(", ")})`;
    const facts = { rows, failing };
    return failing === 0
      ? { status: "passed", message: `no row${without} is there twice among ${rows} rows`, failing, measured: facts }
      : {
          status: "failed",
          message: `${ofRows(failing, rows)} repeat an earlier row exactly${without}`,
          failing,
          measured: facts,
        };
  },

  qualify(options, context) {
    const columns = compared(options, context);
    const names = namesOf(columns).join(", ");
    const rest = namesOf(
      context.columns.filter((column) => !columns.includes(column) && typeof column.type === "string"),
    );
    const order = rest.length === 0 ? "" : ` ORDER BY ${rest.join(", ")}`;
    return `(row_number() OVER (${columns.length === 0 ? "" : `PARTITION BY ${names}`}${order}) > 1)`;
  },

  reason: () => "'repeats an earlier row exactly'",
};

export default defineCheck({
  name: "duplicates",
  title: "Duplicates",
  summary: "No row is there twice; with `on_fail: reject` one of the equal rows stays.",
  options,
  needs: [],
  capabilities: { rows: true },
  examples: [
    { title: "Drop exact copies", yaml: "check: duplicates\non_fail: reject\n" },
    {
      title: "Copies that differ in the time of receipt only",
      yaml: "check: duplicates\nignore: [received_at]\non_fail: warn\n",
    },
  ],
  load: async () => check,
});

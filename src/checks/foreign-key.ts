import * as z from "zod";
import {
  defineCheck,
  sqlName,
  sqlString,
  type Check,
  type CheckContext,
  type Column,
  type Sql,
} from "../core/index.ts";
import { columnShape, columnsOf, hasOneOfColumns, listNames, oneOfColumns, shownValue } from "./shared/columns.ts";
import { countOf, ofRows } from "./shared/numbers.ts";
import { namesOf, noneIsNull, rowsOf } from "./shared/rows.ts";

const options = z
  .strictObject({
    ...columnShape,
    dataset: z.string().describe("Dataset that must hold the values, in its current version."),
    references: z
      .array(z.string())
      .min(1)
      .optional()
      .describe("Columns of that dataset, in the same order. Default: the same names."),
  })
  .refine(hasOneOfColumns, oneOfColumns)
  .refine(
    ({ column, columns, references }) =>
      references === undefined || references.length === (columns?.length ?? (column === undefined ? 0 : 1)),
    {
      message: "`references` needs as many columns as `columns`",
      path: ["references"],
    },
  );
type Options = z.output<typeof options>;

/** The keys that exist, without nulls: one null in them would make `NOT IN` null for every row, which hides failures. */
function known(columns: Column[], options: Options, context: CheckContext): Sql {
  const names = (options.references ?? columns.map((column) => column.name)).map(sqlName);
  return `(SELECT ${names.map((name, index) => `${name} AS k${index}`).join(", ")} FROM ${rowsOf(context.dataset(options.dataset))} WHERE ${names.map((name) => `${name} IS NOT NULL`).join(" AND ")})`;
}

const check: Check<Options> = {
  measure(options, context) {
    const columns = columnsOf("foreign-key", options, context);
    const match = namesOf(columns, "d").map((name, index) => `${name} = o.k${index}`);
    const orphans = `(SELECT ${namesOf(columns).join(", ")} FROM data WHERE ${noneIsNull(columns)}) AS d ANTI JOIN ${known(columns, options, context)} AS o ON ${match.join(" AND ")}`;
    return {
      orphans: `(SELECT CAST(to_json({failing: count(*), example: min(${shown(columns)})}) AS VARCHAR) FROM ${orphans})`,
    };
  },

  judge(options, measured, context) {
    const names = listNames(columnsOf("foreign-key", options, context).map((column) => column.name));
    const rows = countOf(measured["rows"]);
    const { failing, example } = JSON.parse(String(measured["orphans"])) as { failing: number; example: string | null };
    const facts = { rows, failing };
    if (failing === 0)
      return {
        status: "passed",
        message: `${names} is in \`${options.dataset}\` for all ${rows} rows`,
        failing,
        measured: facts,
      };
    const shownExample = example === null ? "" : `, for instance \`${example}\``;
    return {
      status: "failed",
      message: `${names} is not in \`${options.dataset}\` for ${ofRows(failing, rows)}${shownExample}`,
      failing,
      measured: facts,
    };
  },

  failing(options, context) {
    const columns = columnsOf("foreign-key", options, context);
    const keys = namesOf(columns);
    const row = keys.length === 1 ? keys[0]! : `(${keys.join(", ")})`;
    return `coalesce(${noneIsNull(columns)} AND ${row} NOT IN ${known(columns, options, context)}, false)`;
  },

  reason(options, context) {
    const columns = columnsOf("foreign-key", options, context);
    return `${sqlString(`${listNames(columns.map((column) => column.name))} is not in \`${options.dataset}\`: `)} || ${shown(columns)}`;
  },
};

function shown(columns: Column[]): Sql {
  return columns.length === 1 ? shownValue(columns[0]!) : `concat_ws(', ', ${columns.map(shownValue).join(", ")})`;
}

export default defineCheck({
  name: "foreign-key",
  title: "Foreign key",
  summary: "Every value exists in a column of another dataset; null is allowed.",
  options,
  needs: [],
  capabilities: { rows: true },
  examples: [
    {
      title: "Orders of customers that exist",
      yaml: "check: foreign-key\ncolumn: customer_id\ndataset: customers\nreferences: [id]\n",
    },
  ],
  load: async () => check,
});

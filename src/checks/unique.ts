import * as z from "zod";
import {
  defineCheck,
  MillraceError,
  sqlString,
  type Check,
  type CheckContext,
  type Column,
  type Sql,
} from "../core/index.ts";
import {
  columnNamed,
  columnShape,
  columnsOf,
  hasOneOfColumns,
  listNames,
  oneOfColumns,
  shownValue,
} from "./shared/columns.ts";
import { countOf, ofRows } from "./shared/numbers.ts";
import { namesOf, noneIsNull, orderTerms, rowsOf, totalOrder } from "./shared/rows.ts";

const options = z
  .strictObject({
    ...columnShape,
    column: z.string().optional().describe("Column whose values must be unique."),
    columns: z
      .array(z.string())
      .min(1)
      .optional()
      .describe("Columns whose values together must be unique. Rows with a null in them are not compared."),
    order_by: z
      .array(z.string())
      .min(1)
      .optional()
      .describe(
        "With `on_fail: reject`, the first row in this order is kept: `[updated_at desc, id]`. Default: the smallest row by all columns.",
      ),
    previous: z
      .boolean()
      .default(true)
      .describe(
        "Compare with the rows that are already in the dataset as well. Default true; costs a read of these columns of the dataset.",
      ),
  })
  .refine(hasOneOfColumns, oneOfColumns);
type Options = z.output<typeof options>;

const check: Check<Options> = {
  measure(options, context) {
    const columns = columnsOf("unique", options, context);
    const keys = namesOf(columns).join(", ");
    order(options, context);
    const measures: Record<string, Sql> = {
      within:
        `(SELECT CAST(to_json({repeated: coalesce(sum(n - 1), 0)::BIGINT, example: min(example)}) AS VARCHAR) FROM ` +
        `(SELECT count(*) AS n, ${shownKey(columns)} AS example FROM data WHERE ${noneIsNull(columns)} GROUP BY ${keys} HAVING count(*) > 1))`,
    };
    const earlier = earlierRows(columns, options, context);
    if (earlier !== undefined) {
      const match = namesOf(columns, "d").map((name, index) => `${name} = ${namesOf(columns, "p")[index]}`);
      const others = earlier.replaced ? `AND NOT (${sameKey(context)})` : "";
      measures["known"] =
        `(SELECT count(*) FROM (SELECT DISTINCT ${[...new Set([...namesOf(columns), ...(earlier.replaced ? namesOf(keyColumns(context)) : [])])].join(", ")} FROM data WHERE ${noneIsNull(columns)}) AS d ` +
        `WHERE EXISTS (SELECT 1 FROM ${earlier.rows} AS p WHERE ${match.join(" AND ")} ${others}))`;
    }
    return measures;
  },

  judge(options, measured, context) {
    const names = listNames(columnsOf("unique", options, context).map((column) => column.name));
    const rows = countOf(measured["rows"]);
    const { repeated, example } = JSON.parse(String(measured["within"])) as {
      repeated: number;
      example: string | null;
    };
    const known = measured["known"] === undefined ? 0 : countOf(measured["known"]);
    const failing = repeated + known;
    const facts = { rows, failing, repeated, known };
    if (failing === 0)
      return { status: "passed", message: `${names} is unique in all ${rows} rows`, failing, measured: facts };
    const parts: string[] = [];
    if (repeated > 0) {
      parts.push(
        `${names} repeats an earlier value in ${ofRows(repeated, rows)}${example === null ? "" : `, for instance \`${example}\``}`,
      );
    }
    if (known > 0) parts.push(`${names} is already in the dataset for ${ofRows(known, rows)}`);
    return { status: "failed", message: parts.join("; "), failing, measured: facts };
  },

  failing(options, context) {
    const columns = columnsOf("unique", options, context);
    const earlier = earlierRows(columns, options, context);
    if (earlier === undefined) return "false";
    if (earlier.replaced) {
      const match = namesOf(columns, "data").map((name, index) => `${name} = ${namesOf(columns, "p")[index]}`);
      return `EXISTS (SELECT 1 FROM ${earlier.rows} AS p WHERE ${match.join(" AND ")} AND NOT (${sameKey(context, "data")}))`;
    }
    const keys = namesOf(columns);
    const row = keys.length === 1 ? keys[0]! : `(${keys.join(", ")})`;
    return `coalesce(${row} IN (SELECT ${keys.join(", ")} FROM ${earlier.rows} AS p WHERE ${noneIsNull(columns)}), false)`;
  },

  qualify(options, context) {
    const columns = columnsOf("unique", options, context);
    return `(${noneIsNull(columns)} AND row_number() OVER (PARTITION BY ${namesOf(columns).join(", ")} ORDER BY ${order(options, context)}) > 1)`;
  },

  reason(options, context) {
    const columns = columnsOf("unique", options, context);
    return `${sqlString(`${listNames(columns.map((column) => column.name))} is not unique: `)} || coalesce(${shownKey(columns)}, '')`;
  },
};

function keyColumns(context: CheckContext): Column[] {
  return context.key.map((name) => columnNamed("unique", name, context));
}

function sameKey(context: CheckContext, alias = "d"): Sql {
  return keyColumns(context)
    .map((column) => namesOf([column], alias)[0] + " IS NOT DISTINCT FROM " + namesOf([column], "p")[0])
    .join(" AND ");
}

/** Rows that new ones may not collide with. In `merge` an earlier row of the same key gives way, so it is no collision; an unknown mode is taken for that. */
function earlierRows(
  columns: Column[],
  options: Options,
  context: CheckContext,
): { rows: Sql; replaced: boolean } | undefined {
  if (context.previous === undefined || !options.previous) return undefined;
  const names = new Set(columns.map((column) => column.name));
  const merges = (context.mode ?? "merge") === "merge" && context.key.length > 0;
  if (merges && context.key.every((name) => names.has(name))) return undefined;
  const earlier = context.previousColumns;
  if (earlier !== undefined && !columns.every((column) => earlier.some((other) => other.name === column.name)))
    return undefined;
  const near = context.previousLike?.([...names]) ?? context.previous;
  return { rows: rowsOf(near), replaced: merges };
}

/** Key columns are grouped by, so they may be shown without an aggregate. */
function shownKey(columns: Column[]): Sql {
  return columns.length === 1 ? shownValue(columns[0]!) : `concat_ws(', ', ${columns.map(shownValue).join(", ")})`;
}

function order(options: Options, context: CheckContext): Sql {
  const terms = [...orderTerms("unique", options.order_by ?? [], context), ...totalOrder(context)];
  if (terms.length === 0)
    throw new MillraceError("config", "the check `unique` needs `order_by`: no column can be ordered");
  return terms.join(", ");
}

export default defineCheck({
  name: "unique",
  title: "Unique",
  summary: "No two rows, and no row of the dataset so far, have the same values in the columns.",
  options,
  needs: [],
  capabilities: { rows: true },
  examples: [
    { title: "Identifiers are unique", yaml: "check: unique\ncolumn: id\n" },
    {
      title: "Of several readings at one time, keep the newest",
      yaml: "check: unique\ncolumns: [station, time]\norder_by: [received_at desc]\non_fail: reject\n",
    },
  ],
  load: async () => check,
});

import * as z from "zod";
import { defineCheck, sqlName, type Check, type Column, type Sql } from "../core/index.ts";
import { columnNamed, kindOf, requireKind } from "./shared/columns.ts";
import { numberOf, percent, shortNumber } from "./shared/numbers.ts";

const options = z
  .strictObject({
    column: z.string().describe("Column to measure."),
    of: z
      .enum(["mean", "stddev", "sum", "median", "quantile", "distinct", "null-share", "not-finite"])
      .describe(
        "What is measured: `distinct` counts different values, `null-share` is 0 to 1, `not-finite` counts NaN and infinities; the others leave those out.",
      ),
    q: z
      .number()
      .min(0)
      .max(1)
      .optional()
      .describe("`of: quantile`: which one, 0 to 1. Quantiles are approximate (t-digest), about 1 % in rank."),
    min: z.number().optional().describe("Smallest value that the measure may have."),
    max: z.number().optional().describe("Largest value that the measure may have."),
  })
  .refine(({ min, max }) => min !== undefined || max !== undefined, { message: "`min` or `max` is needed" })
  .refine(({ of, q }) => (of === "quantile") === (q !== undefined), {
    message: "`q` belongs to `of: quantile`, which needs it",
    path: ["q"],
  });
type Options = z.output<typeof options>;

function expression(column: Column, { of, q }: Options): Sql {
  const name = sqlName(column.name);
  if (of === "distinct") return `count(DISTINCT ${name})`;
  if (of === "null-share") return `(count(*) - count(${name})) / nullif(count(*), 0)`;
  if (of === "not-finite") {
    requireKind("statistic", column, ["float"], "only `float` and `double` have NaN and infinities");
    return `count(*) FILTER (WHERE NOT isfinite(${name}))`;
  }
  requireKind(
    "statistic",
    column,
    ["number", "float"],
    "`distinct` and `null-share` are for every type, the others for numbers",
  );
  const value = `CAST(${name} AS DOUBLE)`;
  const finite = kindOf(column) === "float" ? ` FILTER (WHERE isfinite(${name}))` : "";
  switch (of) {
    case "mean":
      return `avg(${value})${finite}`;
    case "stddev":
      // The engine's sum of squares overflows beyond 1e150, which is an error there; here there is then no spread to judge.
      return (
        `CASE WHEN count(*) FILTER (WHERE abs(${value}) >= 1e150 AND isfinite(${value})) = 0 ` +
        `THEN stddev_samp(CASE WHEN abs(${value}) < 1e150 THEN ${value} END) END`
      );
    case "sum":
      return `sum(${value})${finite}`;
    default:
      return `approx_quantile(${value}, ${of === "median" ? 0.5 : q})${finite}`;
  }
}

const check: Check<Options> = {
  measure: (options, context) => ({
    value: `CAST(${expression(columnNamed("statistic", options.column, context), options)} AS DOUBLE)`,
  }),

  judge(options, measured) {
    const what = options.of === "quantile" ? `quantile ${options.q}` : options.of.replace("-", " ");
    const value = numberOf(measured["value"]);
    const subject = `the ${what} of \`${options.column}\``;
    if (value === null)
      return {
        status: "failed",
        message: `${subject} does not exist: there are too few values`,
        measured: { value: null },
      };
    const shown = options.of === "null-share" ? percent(value) : shortNumber(value);
    const problems: string[] = [];
    if (options.min !== undefined && value < options.min) problems.push(`less than ${options.min}`);
    if (options.max !== undefined && value > options.max) problems.push(`more than ${options.max}`);
    return {
      status: problems.length === 0 ? "passed" : "failed",
      message: `${subject} is ${shown}${problems.length === 0 ? "" : `, ${problems.join(" and ")}`}`,
      measured: { value },
    };
  },

  fromStatistics(options, statistics) {
    const nulls = statistics.columns[options.column]?.nulls;
    return options.of === "null-share" && nulls !== undefined && statistics.rows > 0
      ? { value: nulls / statistics.rows }
      : undefined;
  },
};

export default defineCheck({
  name: "statistic",
  title: "Statistic",
  summary: "A mean, spread, sum, quantile, number of different values or share of nulls lies within bounds.",
  options,
  needs: [],
  capabilities: { rows: false },
  examples: [
    {
      title: "The mean temperature is plausible",
      yaml: "check: statistic\ncolumn: temperature\nof: mean\nmin: -10\nmax: 35\n",
    },
    { title: "At least three classes", yaml: "check: statistic\ncolumn: label\nof: distinct\nmin: 3\n" },
  ],
  load: async () => check,
});

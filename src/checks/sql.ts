import * as z from "zod";
import { defineCheck, MillraceError, sqlString, type Check, type Sql, type Verdict } from "../core/index.ts";
import { countOf, ofRows } from "./shared/numbers.ts";

const options = z
  .strictObject({
    expression: z
      .string()
      .min(1)
      .optional()
      .describe("Condition that every row must satisfy, in DuckDB's SQL. A row for which it is null does not."),
    aggregate: z
      .string()
      .min(1)
      .optional()
      .describe(
        "Condition over all rows together, with aggregate functions; `data` is the relation: `sum(paid) <= sum(due)`.",
      ),
    message: z.string().optional().describe("What is wrong when it does not hold. Default: the condition itself."),
  })
  .refine(({ expression, aggregate }) => (expression === undefined) !== (aggregate === undefined), {
    message: "either `expression` (each row) or `aggregate` (all rows together) is needed, and not both",
  });
type Options = z.output<typeof options>;

/** The line break ends a comment that the user's text may end with. */
const enclosed = (expression: string): Sql => `(${expression}\n)`;

function rowCondition({ expression }: Options): string {
  if (expression !== undefined) return expression;
  throw new MillraceError(
    "config",
    "the check `sql` with `aggregate` is about all rows together, so it cannot reject rows",
    {
      hint: "use `on_fail: warn` or `on_fail: fail`, or `expression`",
      where: { check: "sql" },
    },
  );
}

const failing = (options: Options): Sql => `NOT coalesce(CAST(${enclosed(rowCondition(options))} AS BOOLEAN), false)`;

const check: Check<Options> = {
  measure(options): Record<string, Sql> {
    return options.aggregate === undefined
      ? { failing: `count(*) FILTER (WHERE ${failing(options)})` }
      : { holds: `CAST(coalesce(CAST(${enclosed(options.aggregate)} AS BOOLEAN), false) AS INTEGER)` };
  },

  judge(options, measured): Verdict {
    const rows = countOf(measured["rows"]);
    if (options.aggregate !== undefined) {
      const holds = countOf(measured["holds"]) === 1;
      const message = holds
        ? `\`${options.aggregate}\` holds`
        : (options.message ?? `\`${options.aggregate}\` does not hold`);
      return { status: holds ? "passed" : "failed", message, measured: { rows, holds } };
    }
    const count = countOf(measured["failing"]);
    const said = options.message === undefined ? `\`${options.expression}\` does not hold` : options.message;
    return {
      status: count === 0 ? "passed" : "failed",
      message:
        count === 0 ? `\`${options.expression}\` holds in all ${rows} rows` : `${said} in ${ofRows(count, rows)}`,
      failing: count,
      measured: { rows, failing: count },
    };
  },

  failing,

  reason: (options) => sqlString(options.message ?? `\`${options.expression}\` does not hold`),
};

export default defineCheck({
  name: "sql",
  title: "SQL",
  summary: "A condition in SQL holds, for each row or for all rows together.",
  options,
  needs: [],
  capabilities: { rows: true },
  examples: [
    {
      title: "A relation between columns",
      yaml: "check: sql\nexpression: shipped_at >= ordered_at or shipped_at is null\non_fail: reject\n",
    },
    {
      title: "A condition over all rows",
      yaml: "check: sql\naggregate: sum(paid) <= sum(due)\nmessage: more was paid than was due\n",
    },
  ],
  load: async () => check,
});

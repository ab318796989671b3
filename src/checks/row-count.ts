import * as z from "zod";
import { defineCheck, type Check, type Sql } from "../core/index.ts";
import { countOf } from "./shared/numbers.ts";
import { rowsOf } from "./shared/rows.ts";

const count = z.number().int().nonnegative().optional();
const options = z
  .strictObject({
    min: count.describe("Fewest rows that the run may bring."),
    max: count.describe("Most rows that the run may bring."),
    max_growth: z
      .number()
      .nonnegative()
      .optional()
      .describe("How much the dataset may grow against its version before, as a share: 0.5 is half as much again."),
    max_shrink: z
      .number()
      .min(0)
      .max(1)
      .optional()
      .describe(
        "How much the dataset may shrink against its version before, as a share: 0.1 is a tenth. For `mode: replace`.",
      ),
  })
  .refine(
    ({ min, max, max_growth, max_shrink }) => [min, max, max_growth, max_shrink].some((limit) => limit !== undefined),
    {
      message: "at least one of `min`, `max`, `max_growth` and `max_shrink` is needed",
    },
  )
  .refine(({ min, max }) => min === undefined || max === undefined || min <= max, {
    message: "`min` is greater than `max`",
  });
type Options = z.output<typeof options>;

const compares = (options: Options): boolean => options.max_growth !== undefined || options.max_shrink !== undefined;

const check: Check<Options> = {
  measure(options, context): Record<string, Sql> {
    const before = context.baseline ?? context.previous;
    const asks = compares(options) && before !== undefined && context.baselineRows === undefined;
    return asks ? { before: `(SELECT count(*) FROM ${rowsOf(before)})` } : {};
  },

  judge(options, measured, context) {
    const rows = countOf(measured["rows"]);
    const problems: string[] = [];
    if (options.min !== undefined && rows < options.min) problems.push(`fewer than ${options.min}`);
    if (options.max !== undefined && rows > options.max) problems.push(`more than ${options.max}`);
    const facts: Record<string, number> = { rows };
    let note = "";
    const known = context.baselineRows ?? measured["before"];
    if (compares(options) && known !== undefined) {
      const before = countOf(known);
      const after = context.previous === undefined ? rows : before + rows;
      Object.assign(facts, { before, after });
      const change = before === 0 ? (after === 0 ? 0 : Infinity) : after / before - 1;
      const said = Number.isFinite(change)
        ? `${change < 0 ? "shrinks" : "grows"} by ${percentOf(Math.abs(change))}`
        : "was empty";
      note = `; the dataset ${said}, from ${before} to ${after} rows`;
      if (before > 0 && options.max_growth !== undefined && change > options.max_growth)
        problems.push(`growth above ${percentOf(options.max_growth)}`);
      if (before > 0 && options.max_shrink !== undefined && -change > options.max_shrink)
        problems.push(`shrinkage above ${percentOf(options.max_shrink)}`);
    }
    const counted = `${rows} row${rows === 1 ? "" : "s"}`;
    return {
      status: problems.length === 0 ? "passed" : "failed",
      message:
        problems.length === 0 ? `there are ${counted}${note}` : `there are ${counted}${note}: ${problems.join(", ")}`,
      measured: facts,
    };
  },

  fromStatistics: (options) => (compares(options) ? undefined : {}),
};

/** Growth may lie above 100 %. */
function percentOf(share: number): string {
  return `${Number((share * 100).toPrecision(6))} %`;
}

export default defineCheck({
  name: "row-count",
  title: "Row count",
  summary: "The run brings as many rows as expected, and the dataset does not jump in size.",
  options,
  needs: [],
  capabilities: { rows: false },
  examples: [
    { title: "Never publish an empty batch", yaml: "check: row-count\nmin: 1\n" },
    {
      title: "A replaced table does not lose a tenth of its rows",
      yaml: "check: row-count\nmax_shrink: 0.1\nmax_growth: 0.5\n",
    },
  ],
  load: async () => check,
});

import * as z from "zod";
import { defineCheck, sqlName, sqlString, type Column, type Sql } from "../core/index.ts";
import { columnShape, hasOneOfColumns, oneOfColumns, requireKind } from "./shared/columns.ts";
import { valueCheck } from "./shared/values.ts";

/** What RE2 leaves out because it cannot be matched in linear time: look-around and back-references. */
const notInRe2 = /(^|[^\\])(\\\\)*(\(\?(=|!|<=|<!)|\\[1-9])/;

const options = z
  .strictObject({
    ...columnShape,
    pattern: z
      .string()
      .min(1)
      .refine((pattern) => !notInRe2.test(pattern), {
        message:
          "look-around and back-references do not exist in RE2, whose matching is linear in time; write two checks instead",
      })
      .describe("Regular expression (RE2 syntax, linear in time). It may match anywhere: anchor it with `^` and `$`."),
    ignore_case: z.boolean().default(false).describe("Match without regard to case. Default false."),
    negate: z.boolean().default(false).describe("Values must not match. Default false."),
  })
  .refine(hasOneOfColumns, oneOfColumns);
type Options = z.output<typeof options>;

function failing(column: Column, { pattern, ignore_case, negate }: Options): Sql {
  requireKind("regex", column, ["text"], "cast the column to text in the `transform`, or use `range`");
  const match = `regexp_matches(${sqlName(column.name)}, ${sqlString(pattern)}, ${sqlString(ignore_case ? "i" : "c")})`;
  return negate ? match : `NOT ${match}`;
}

export default defineCheck({
  name: "regex",
  title: "Regular expression",
  summary: "Text matches a regular expression, in time linear in its length.",
  options,
  needs: [],
  capabilities: { rows: true },
  examples: [
    { title: "Order numbers", yaml: "check: regex\ncolumn: number\npattern: '^[A-Z]{2}-[0-9]{6}$'\non_fail: reject\n" },
  ],
  load: async () =>
    valueCheck<Options>({
      check: "regex",
      failing,
      problem: (_column, { pattern, negate }) => `${negate ? "matches" : "does not match"} \`${pattern}\``,
      holds: ({ pattern, negate }) => `matches \`${pattern}\`${negate ? " nowhere" : ""}`,
    }),
});

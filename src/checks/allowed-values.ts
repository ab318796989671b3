import * as z from "zod";
import { defineCheck, type Column, type Sql } from "../core/index.ts";
import { columnShape, hasOneOfColumns, oneOfColumns, requireKind } from "./shared/columns.ts";
import { notAmong } from "./shared/membership.ts";
import { valueCheck } from "./shared/values.ts";

const options = z
  .strictObject({
    ...columnShape,
    values: z
      .array(z.union([z.string(), z.number(), z.boolean()]))
      .min(1)
      .describe("The values that are allowed. Null is not judged: use `not-null`."),
    ignore_case: z.boolean().default(false).describe("Text is compared without regard to case. Default false."),
  })
  .refine(hasOneOfColumns, oneOfColumns);
type Options = z.output<typeof options>;

function failing(column: Column, { values, ignore_case }: Options): Sql {
  requireKind(
    "allowed-values",
    column,
    ["number", "float", "text", "boolean", "temporal", "time", "uuid"],
    "name a column inside it",
  );
  return notAmong(column, values, ignore_case);
}

export default defineCheck({
  name: "allowed-values",
  title: "Allowed values",
  summary: "Every value is one of a list.",
  options,
  needs: [],
  capabilities: { rows: true },
  examples: [
    { title: "States of an order", yaml: "check: allowed-values\ncolumn: state\nvalues: [open, paid, shipped]\n" },
  ],
  load: async () =>
    valueCheck<Options>({
      check: "allowed-values",
      failing,
      problem: () => "is not an allowed value",
      holds: ({ values }) => `is one of ${values.length} allowed values`,
    }),
});

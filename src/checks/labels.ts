import * as z from "zod";
import { defineCheck, sqlName, sqlString, type Column, type Sql } from "../core/index.ts";
import { columnShape, hasOneOfColumns, kindOf, oneOfColumns } from "./shared/columns.ts";
import { notAmong } from "./shared/membership.ts";
import { isNotFinite, valueCheck } from "./shared/values.ts";

const options = z
  .strictObject({
    ...columnShape,
    missing: z
      .array(z.string())
      .default([""])
      .describe(
        'Texts that stand for a missing label, without regard to case and outer spaces. Default: the empty text. `["", "unknown", "n/a"]`.',
      ),
    values: z
      .array(z.union([z.string(), z.number(), z.boolean()]))
      .min(1)
      .optional()
      .describe("The classes that exist. Default: any."),
  })
  .refine(hasOneOfColumns, oneOfColumns);
type Options = z.output<typeof options>;

function failing(column: Column, { missing, values }: Options): Sql {
  const name = sqlName(column.name);
  const tests = [`${name} IS NULL`];
  if (kindOf(column) === "float") tests.push(isNotFinite(column));
  if (kindOf(column) === "nested" && typeof column.type !== "string" && column.type.type === "list")
    tests.push(`len(${name}) = 0`);
  if (kindOf(column) === "text" && missing.length > 0) {
    tests.push(`lower(trim(${name})) IN (${missing.map((text) => sqlString(text.trim().toLowerCase())).join(", ")})`);
  }
  if (values !== undefined) tests.push(notAmong(column, values));
  return tests.join(" OR ");
}

export default defineCheck({
  name: "labels",
  title: "Labels",
  summary: "Every row has a label: not null, not NaN, not empty, and one of the classes when they are given.",
  options,
  needs: [],
  capabilities: { rows: true },
  examples: [
    {
      title: "Unlabelled rows are set aside",
      yaml: 'check: labels\ncolumn: species\nmissing: ["", unknown]\non_fail: reject\n',
    },
  ],
  load: async () =>
    valueCheck<Options>({
      check: "labels",
      failing,
      problem: (_column, { values }) =>
        values === undefined ? "has no label" : `has no label, or one that is not among the ${values.length} classes`,
      holds: () => "has a label",
    }),
});

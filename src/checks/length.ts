import * as z from "zod";
import { defineCheck, sqlName, type Column, type Sql } from "../core/index.ts";
import { columnShape, hasOneOfColumns, kindOf, oneOfColumns, requireKind } from "./shared/columns.ts";
import { valueCheck } from "./shared/values.ts";

const options = z
  .strictObject({
    ...columnShape,
    min: z
      .number()
      .int()
      .nonnegative()
      .optional()
      .describe("Shortest length: characters of text, bytes of binary, elements of a list."),
    max: z
      .number()
      .int()
      .nonnegative()
      .optional()
      .describe("Longest length. How many rows may fail is `max_rows` or `max_share` here."),
  })
  .refine(hasOneOfColumns, oneOfColumns)
  .refine(({ min, max }) => min !== undefined || max !== undefined, { message: "`min` or `max` is needed" })
  .refine(({ min, max }) => min === undefined || max === undefined || min <= max, {
    message: "`min` is greater than `max`",
  });
type Options = z.output<typeof options>;

function lengthOf(column: Column): Sql {
  const name = sqlName(column.name);
  if (typeof column.type !== "string" && column.type.type !== "struct") {
    return column.type.type === "map" ? `cardinality(${name})` : `len(${name})`;
  }
  requireKind("length", column, ["text", "binary"], "`length` is for text, binary, lists and maps");
  return kindOf(column) === "binary" ? `octet_length(${name})` : `length(${name})`;
}

function failing(column: Column, { min, max }: Options): Sql {
  const tests: Sql[] = [];
  if (min !== undefined) tests.push(`${lengthOf(column)} < ${min}`);
  if (max !== undefined) tests.push(`${lengthOf(column)} > ${max}`);
  return tests.join(" OR ");
}

function wanted({ min, max }: Options): string {
  if (min === max) return `exactly ${min}`;
  if (min === undefined) return `at most ${max}`;
  return max === undefined ? `at least ${min}` : `${min} to ${max}`;
}

export default defineCheck({
  name: "length",
  title: "Length",
  summary: "Text, binary values and lists have a length within bounds.",
  options,
  needs: [],
  capabilities: { rows: true },
  examples: [{ title: "Country codes", yaml: "check: length\ncolumn: country\nmin: 2\nmax: 2\n" }],
  load: async () =>
    valueCheck<Options>({
      check: "length",
      failing,
      problem: (_column, options) => `is not ${wanted(options)} long`,
      holds: (options) => `is ${wanted(options)} long`,
    }),
});

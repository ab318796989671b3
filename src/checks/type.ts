import * as z from "zod";
import { defineCheck, parseDecimal, sqlName, type Column, type Sql } from "../core/index.ts";
import { columnShape, hasOneOfColumns, oneOfColumns, requireKind } from "./shared/columns.ts";
import { valueCheck } from "./shared/values.ts";

const engineTypes: Record<string, string> = {
  boolean: "BOOLEAN",
  int: "INTEGER",
  long: "BIGINT",
  float: "FLOAT",
  double: "DOUBLE",
  date: "DATE",
  time: "TIME",
  timestamp: "TIMESTAMP",
  timestamptz: "TIMESTAMPTZ",
  uuid: "UUID",
};

const options = z
  .strictObject({
    ...columnShape,
    type: z
      .string()
      .refine((type) => Object.hasOwn(engineTypes, type) || parseDecimal(type) !== undefined, {
        message: `the types are ${Object.keys(engineTypes).join(", ")} and decimal(precision,scale)`,
      })
      .describe(
        "Type that every text must be a value of: `boolean`, `int`, `long`, `float`, `double`, `decimal(18,2)`, `date`, `time`, `timestamp`, `timestamptz` or `uuid`.",
      ),
  })
  .refine(hasOneOfColumns, oneOfColumns);
type Options = z.output<typeof options>;

/** The engine's casts round (`'1.7'` becomes 2); a text that would lose something by the cast is no value of the type. */
function failing(column: Column, { type }: Options): Sql {
  requireKind("type", column, ["text"], "the column has a type already; `columns` checks which");
  const name = sqlName(column.name);
  const decimal = parseDecimal(type);
  if (decimal !== undefined) {
    const shape = `^\\s*[+-]?(?:\\d+(?:\\.\\d{0,${decimal.scale}}0*)?|\\.\\d{1,${Math.max(1, decimal.scale)}}0*)\\s*$`;
    const castable = `TRY_CAST(${name} AS DECIMAL(${decimal.precision},${decimal.scale})) IS NOT NULL`;
    return `NOT (regexp_matches(${name}, '${shape}') AND ${castable})`;
  }
  const castable = `TRY_CAST(${name} AS ${engineTypes[type]}) IS NOT NULL`;
  if (type === "int" || type === "long") return `NOT (regexp_matches(${name}, '^\\s*[+-]?\\d+\\s*$') AND ${castable})`;
  if (type === "date") return `NOT (regexp_matches(${name}, '^\\s*[+-]?\\d+-\\d{1,2}-\\d{1,2}\\s*$') AND ${castable})`;
  return `NOT (${castable})`;
}

export default defineCheck({
  name: "type",
  title: "Type",
  summary: "Every text can become a value of a type without loss.",
  options,
  needs: [],
  capabilities: { rows: true },
  examples: [
    {
      title: "Amounts that arrive as text",
      yaml: "check: type\ncolumn: amount\ntype: decimal(18,2)\non_fail: reject\n",
    },
  ],
  load: async () =>
    valueCheck<Options>({
      check: "type",
      failing,
      problem: (_column, { type }) => `is not a value of type \`${type}\``,
      holds: ({ type }) => `is a value of type \`${type}\``,
    }),
});

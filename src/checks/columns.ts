import * as z from "zod";
import {
  defineCheck,
  formatType,
  nearest,
  sqlName,
  type Check,
  type CheckContext,
  type Measured,
  type Sql,
} from "../core/index.ts";
import { listNames } from "./shared/columns.ts";
import { countOf } from "./shared/numbers.ts";

const wanted = z.union([
  z.string(),
  z.strictObject({
    type: z.string().optional().describe("Type as `millrace show` prints it. Default: any."),
    required: z.boolean().default(false).describe("No value may be null. Default false."),
    optional: z.boolean().default(false).describe("The column may be absent. Default false."),
  }),
]);
const options = z.strictObject({
  columns: z
    .record(z.string(), wanted)
    .describe(
      "Name → type (`long`, `string`, `decimal(18,2)`, `list<string>`, or `any`), or `{ type, required, optional }`.",
    ),
  extra: z.boolean().default(true).describe("Columns that are not named are allowed. Default true."),
  order: z.boolean().default(false).describe("The named columns come in this order. Default false."),
});
type Options = z.output<typeof options>;

interface Wanted {
  name: string;
  type: string | undefined;
  required: boolean;
  optional: boolean;
}

function contract(options: Options): Wanted[] {
  return Object.entries(options.columns).map(([name, want]) =>
    typeof want === "string"
      ? { name, type: want === "any" ? undefined : want, required: false, optional: false }
      : { name, type: want.type === "any" ? undefined : want.type, required: want.required, optional: want.optional },
  );
}

function requiredColumns(options: Options, context: CheckContext): { name: string; key: string }[] {
  return contract(options)
    .map((want, index) => ({ name: want.name, key: `nulls${index}`, required: want.required }))
    .filter((want) => want.required && context.columns.some((column) => column.name === want.name));
}

function problems(options: Options, context: CheckContext, measured: Measured): string[] {
  const found: string[] = [];
  const actual = new Map(context.columns.map((column) => [column.name, column]));
  const wants = contract(options);
  for (const want of wants) {
    const column = actual.get(want.name);
    if (column === undefined) {
      if (want.optional) continue;
      const unnamed = [...actual.keys()].filter((name) => !Object.hasOwn(options.columns, name));
      const near = nearest(want.name, unnamed);
      found.push(`\`${want.name}\` is missing${near === undefined ? "" : `, but there is \`${near}\``}`);
    } else if (want.type !== undefined && normal(want.type) !== normal(formatType(column.type))) {
      found.push(`\`${want.name}\` is \`${formatType(column.type)}\`, not \`${want.type}\``);
    }
  }
  for (const { name, key } of requiredColumns(options, context)) {
    const nulls = countOf(measured[key]);
    if (nulls > 0) found.push(`\`${name}\` is null in ${nulls} rows`);
  }
  if (!options.extra) {
    const extra = [...actual.keys()].filter((name) => !Object.hasOwn(options.columns, name) && name !== context.split);
    if (extra.length > 0)
      found.push(`${listNames(extra)} ${extra.length === 1 ? "is" : "are"} not part of the contract`);
  }
  if (options.order) {
    const expected = wants.map((want) => want.name).filter((name) => actual.has(name));
    const order = [...actual.keys()].filter((name) => Object.hasOwn(options.columns, name));
    if (expected.join("\0") !== order.join("\0"))
      found.push(`the order is ${listNames(order)}, not ${listNames(expected)}`);
  }
  return found;
}

const normal = (type: string): string => type.replace(/\s+/g, "").toLowerCase();

const check: Check<Options> = {
  measure(options, context) {
    const measures: Record<string, Sql> = {};
    for (const { name, key } of requiredColumns(options, context)) measures[key] = `count(*) - count(${sqlName(name)})`;
    return measures;
  },

  judge(options, measured, context) {
    const found = problems(options, context, measured);
    const count = Object.keys(options.columns).length;
    return {
      status: found.length === 0 ? "passed" : "failed",
      message: found.length === 0 ? `the ${count} columns of the contract are as agreed` : found.join("; "),
      measured: { columns: context.columns.length, problems: found.length },
    };
  },

  fromStatistics(options, statistics) {
    const measured: Record<string, number> = {};
    for (const [index, want] of contract(options).entries()) {
      if (!want.required) continue;
      const nulls = statistics.columns[want.name]?.nulls;
      if (nulls === undefined) return undefined;
      measured[`nulls${index}`] = nulls;
    }
    return measured;
  },
};

export default defineCheck({
  name: "columns",
  title: "Columns",
  summary: "The columns are those of a contract: names, types, order, and which are never null.",
  options,
  needs: [],
  capabilities: { rows: false },
  examples: [
    {
      title: "A contract with a producer",
      yaml: "check: columns\ncolumns:\n  id: { type: long, required: true }\n  price: decimal(18,2)\n  note: { type: string, optional: true }\nextra: false\n",
    },
  ],
  load: async () => check,
});

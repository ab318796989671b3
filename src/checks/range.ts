import * as z from "zod";
import {
  defineCheck,
  MillraceError,
  sqlName,
  sqlString,
  type Column,
  type Measured,
  type Sql,
  type Statistics,
} from "../core/index.ts";
import { columnShape, hasOneOfColumns, kindOf, oneOfColumns, requireKind } from "./shared/columns.ts";
import { valueCheck } from "./shared/values.ts";

const bound = z.union([z.number(), z.string().min(1)]).optional();

const options = z
  .strictObject({
    ...columnShape,
    min: bound.describe(
      "Smallest value that is allowed: a number, or a date or timestamp in ISO 8601 (UTC when it names no zone).",
    ),
    max: bound.describe("Largest value that is allowed. How many rows may fail is `max_rows` or `max_share` here."),
    above: bound.describe("Values must be greater than this."),
    below: bound.describe("Values must be less than this."),
  })
  .refine(hasOneOfColumns, oneOfColumns)
  .refine((value) => [value.min, value.max, value.above, value.below].some((limit) => limit !== undefined), {
    message: "at least one of `min`, `max`, `above` and `below` is needed",
  });
type Options = z.output<typeof options>;

const sides = [
  { key: "min", fails: "<", outside: "below", inside: "at least" },
  { key: "max", fails: ">", outside: "above", inside: "at most" },
  { key: "above", fails: "<=", outside: "not above", inside: "above" },
  { key: "below", fails: ">=", outside: "not below", inside: "below" },
] as const;

function literal(column: Column, key: string, value: number | string): Sql {
  const wrong = (expected: string): MillraceError =>
    new MillraceError(
      "config",
      `\`${key}\` of the check \`range\` is \`${value}\`, but \`${column.name}\` needs ${expected}`,
      {
        where: { check: "range", column: column.name },
      },
    );
  if (kindOf(column) === "temporal") {
    const text = String(value).trim();
    if (!/^-?\d{4,6}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?\s?(Z|[+-]\d{2}(:?\d{2})?)?)?$/.test(text)) {
      throw wrong("a date such as `2024-01-31` or a timestamp such as `2024-01-31T12:00:00Z`");
    }
    if (column.type === "timestamptz") {
      const zoned = /(Z|[+-]\d{2}(:?\d{2})?)$/.test(text.slice(10))
        ? text
        : text.length === 10
          ? `${text} 00:00:00Z`
          : `${text}Z`;
      return `CAST(${sqlString(zoned)} AS TIMESTAMPTZ)`;
    }
    return `CAST(${sqlString(text.replace(/\s?Z$/, ""))} AS TIMESTAMP)`;
  }
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw wrong("a finite number");
    return `(${value})`;
  }
  if (!/^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(value)) throw wrong("a number");
  return `(${value})`;
}

/** NaN orders above everything in the engine, which would let it pass a minimum: it is in no range, so it fails. */
function failing(column: Column, options: Options): Sql {
  requireKind(
    "range",
    column,
    ["number", "float", "temporal"],
    "for text use `length`, `regex`, `format` or `allowed-values`",
  );
  const name = sqlName(column.name);
  const tests = sides.flatMap((side) => {
    const limit = options[side.key];
    return limit === undefined ? [] : [`${name} ${side.fails} ${literal(column, side.key, limit)}`];
  });
  if (kindOf(column) === "float") tests.push(`isnan(${name})`);
  return tests.join(" OR ");
}

/** The footers can say that nothing is outside, never how many are. */
function fromStatistics(options: Options, statistics: Statistics): Measured | undefined {
  const measured: Record<string, number | null> = { failing: 0 };
  for (const [index, name] of (options.columns ?? [options.column ?? ""]).entries()) {
    const facts = statistics.columns[name];
    if (facts === undefined || facts.nan === true) return undefined;
    measured[`failing${index}`] = 0;
    measured[`example${index}`] = null;
    if (facts.nulls === statistics.rows) continue;
    const lowest = orderable(facts.min);
    const highest = orderable(facts.max);
    if (lowest === undefined || highest === undefined) return undefined;
    // Only a bound and a value of the same family compare: `NaN` says that they do not.
    const holds = sides.every(({ key, fails }) => {
      const limit = options[key];
      if (limit === undefined) return true;
      const edge = orderable(limit);
      if (edge === undefined || edge.family !== lowest.family || edge.family !== highest.family) return false;
      if (fails === "<") return lowest.value >= edge.value;
      if (fails === "<=") return lowest.value > edge.value;
      return fails === ">" ? highest.value <= edge.value : highest.value < edge.value;
    });
    if (!holds) return undefined;
  }
  return measured;
}

/** A value of a footer or a bound as a number that keeps its order; undefined where a double could not tell neighbours apart. */
function orderable(value: number | string | undefined): { family: "number" | "time"; value: number } | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "number") return { family: "number", value };
  if (/^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(value)) {
    const number = Number(value);
    return Math.abs(number) <= Number.MAX_SAFE_INTEGER ? { family: "number", value: number } : undefined;
  }
  const match = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)(Z|\+00(?::?00)?)?)?$/.exec(value);
  if (match === null) return undefined;
  const time = Date.parse(`${match[1]}T${match[2] ?? "00:00"}Z`);
  return Number.isNaN(time) ? undefined : { family: "time", value: time };
}

export default defineCheck({
  name: "range",
  title: "Range",
  summary: "Numbers, dates or timestamps lie within bounds; NaN lies in no range.",
  options,
  needs: [],
  capabilities: { rows: true },
  examples: [
    { title: "Prices are not negative", yaml: "check: range\ncolumn: price\nmin: 0\non_fail: reject\n" },
    { title: "Half-open range of dates", yaml: "check: range\ncolumn: day\nmin: 2020-01-01\nbelow: 2030-01-01\n" },
  ],
  load: async () =>
    valueCheck<Options>({
      check: "range",
      failing,
      problem: (_column, options) =>
        `is ${sides.flatMap((side) => (options[side.key] === undefined ? [] : [`${side.outside} ${options[side.key]}`])).join(" or ")}`,
      holds: (options) =>
        `is ${sides.flatMap((side) => (options[side.key] === undefined ? [] : [`${side.inside} ${options[side.key]}`])).join(" and ")}`,
      fromStatistics,
    }),
});

import {
  sqlName,
  sqlString,
  type Check,
  type CheckContext,
  type Column,
  type Measured,
  type Sql,
  type Statistics,
} from "../../core/index.ts";
import { columnsOf, listNames, shownValue, type ColumnOptions } from "./columns.ts";
import { countOf, ofRows } from "./numbers.ts";

/** A check that decides value by value: what a failing value is, and how to say so. */
export interface ValueRule<Options> {
  check: string;
  /** True for values that fail; null counts as false, so that nulls are the business of `not-null`. */
  failing(column: Column, options: Options): Sql;
  /** What follows the name of the column: `is below 0`. */
  problem(column: Column, options: Options): string;
  /** What follows "in every row, `column`": `is at least 0`. */
  holds(options: Options): string;
  /** Null values fail too, so an example value says nothing. */
  aboutNulls?: boolean;
  fromStatistics?: (options: Options, statistics: Statistics) => Measured | undefined;
}

/** The two halves of a check over the values of one or more columns, in one pass of plain aggregates. */
export function valueCheck<Options extends ColumnOptions>(rule: ValueRule<Options>): Check<Options> {
  const predicates = (options: Options, context: CheckContext): { column: Column; failing: Sql }[] =>
    columnsOf(rule.check, options, context).map((column) => ({
      column,
      failing: `coalesce((${rule.failing(column, options)}), false)`,
    }));

  const failing = (options: Options, context: CheckContext): Sql =>
    `(${predicates(options, context)
      .map((predicate) => predicate.failing)
      .join(" OR ")})`;

  return {
    measure(options, context) {
      const all = predicates(options, context);
      const measures: Record<string, Sql> = { failing: `count(*) FILTER (WHERE ${failing(options, context)})` };
      for (const [index, { column, failing }] of all.entries()) {
        if (all.length > 1) measures[`failing${index}`] = `count(*) FILTER (WHERE ${failing})`;
        if (!rule.aboutNulls) measures[`example${index}`] = `min(${shownValue(column)}) FILTER (WHERE ${failing})`;
      }
      return measures;
    },

    judge(options, measured, context) {
      const columns = columnsOf(rule.check, options, context);
      const count = countOf(measured["failing"]);
      const rows = countOf(measured["rows"]);
      const facts: Record<string, number | string | null> = { rows };
      if (count === 0) {
        const names = listNames(columns.map((column) => column.name));
        return {
          status: "passed",
          message:
            rows === 0
              ? `there are no rows to check in ${names}`
              : `${names} ${rule.holds(options)} in all ${rows} rows`,
          failing: 0,
          measured: { ...facts, failing: 0 },
        };
      }
      const parts: string[] = [];
      for (const [index, column] of columns.entries()) {
        const own = columns.length > 1 ? countOf(measured[`failing${index}`]) : count;
        facts[`failing:${column.name}`] = own;
        if (own === 0) continue;
        const example = measured[`example${index}`];
        const shown = typeof example === "string" ? `, for instance \`${example}\`` : "";
        if (typeof example === "string") facts[`example:${column.name}`] = example;
        parts.push(`\`${column.name}\` ${rule.problem(column, options)} in ${ofRows(own, rows)}${shown}`);
      }
      return { status: "failed", message: parts.join("; "), failing: count, measured: { ...facts, failing: count } };
    },

    failing,

    reason(options, context) {
      const parts = predicates(options, context).map(({ column, failing }) => {
        const problem = sqlString(`\`${column.name}\` ${rule.problem(column, options)}`);
        const text = rule.aboutNulls ? problem : `${problem} || ': ' || coalesce(${shownValue(column)}, 'NULL')`;
        return `CASE WHEN ${failing} THEN ${text} END`;
      });
      return `concat_ws('; ', ${parts.join(", ")})`;
    },

    ...(rule.fromStatistics ? { fromStatistics: rule.fromStatistics } : {}),
  };
}

/** True for NaN and the infinities of floating-point columns; `false` for every other type. */
export function isNotFinite(column: Column): Sql {
  return column.type === "float" || column.type === "double" ? `NOT isfinite(${sqlName(column.name)})` : "false";
}

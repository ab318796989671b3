import * as z from "zod";
import { defineCheck, MillraceError, parseDuration, sqlName, type Check, type Statistics } from "../core/index.ts";
import { columnNamed, requireKind } from "./shared/columns.ts";
import { formatDuration, numberOf } from "./shared/numbers.ts";

const duration = z.string().refine((text) => parseDuration(text) !== undefined, {
  message: "a duration is a number with a unit: `90s`, `15m`, `36h`, `2d`, `1w`",
});
const options = z.strictObject({
  column: z
    .string()
    .describe(
      "Date or timestamp column. A timestamp without zone is taken as UTC; a date lasts until its day ends in UTC.",
    ),
  max_age: duration.describe(
    "Greatest age of the newest value at the time of the run: `90s`, `15m`, `36h`, `2d`, `1w`.",
  ),
  max_ahead: duration
    .optional()
    .describe("How far the newest value may lie in the future: clocks that are wrong. Default: not checked."),
});
type Options = z.output<typeof options>;

/** Only texts that name one moment for sure: a date, or a timestamp without zone or in UTC. */
function newestOf({ column }: Options, statistics: Statistics): Record<string, number> | undefined {
  const match = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}:\d{2}(?:\.\d{1,3})?)\d*(?:Z|\+00(?::?00)?)?)?$/.exec(
    statistics.columns[column]?.max ?? "",
  );
  if (match === null) return undefined;
  const newest = Date.parse(`${match[1]}T${match[2] ?? "00:00:00"}Z`);
  return Number.isNaN(newest) ? undefined : { newest };
}

const check: Check<Options> = {
  measure(options, context) {
    const column = columnNamed("freshness", options.column, context);
    requireKind("freshness", column, ["temporal"], "cast the column to a timestamp in the `transform`");
    const name = sqlName(column.name);
    const moment = column.type === "timestamptz" ? name : `CAST(${name} AS TIMESTAMP)`;
    return { newest: `CAST(epoch_ms(max(${moment}) FILTER (WHERE isfinite(${name}))) AS DOUBLE)` };
  },

  judge(options, measured, context) {
    const column = columnNamed("freshness", options.column, context);
    const newest = numberOf(measured["newest"]);
    if (newest === null)
      return {
        status: "failed",
        message: `\`${column.name}\` holds no value, so nothing is fresh`,
        measured: { newest: null },
      };
    const limit = parseDuration(options.max_age);
    if (limit === undefined) throw new MillraceError("internal", "`max_age` was not validated");
    const day = column.type === "date" ? 86_400_000 : 0;
    const age = (context.now - newest - day) / 1000;
    const moment = new Date(newest).toISOString();
    const facts = { newest: moment, age_seconds: Math.max(0, age) };
    const shown = `the newest \`${column.name}\` is ${column.type === "date" ? moment.slice(0, 10) : moment}`;
    const ahead = (newest - context.now) / 1000;
    const allowedAhead = options.max_ahead === undefined ? undefined : parseDuration(options.max_ahead);
    if (allowedAhead !== undefined && ahead > allowedAhead) {
      return {
        status: "failed",
        message: `${shown}, ${formatDuration(ahead)} in the future: more than ${options.max_ahead}`,
        measured: facts,
      };
    }
    if (age > limit)
      return {
        status: "failed",
        message: `${shown}, ${formatDuration(age)} old: more than ${options.max_age}`,
        measured: facts,
      };
    return {
      status: "passed",
      message: `${shown}, ${age <= 0 ? "not in the past" : `${formatDuration(age)} old`}`,
      measured: facts,
    };
  },

  fromStatistics: newestOf,
};

export default defineCheck({
  name: "freshness",
  title: "Freshness",
  summary: "The newest value of a time column is not too old.",
  options,
  needs: [],
  capabilities: { rows: false },
  examples: [
    { title: "Readings of the last day", yaml: "check: freshness\ncolumn: measured_at\nmax_age: 24h\non_fail: warn\n" },
  ],
  load: async () => check,
});

import * as z from "zod";
import { defineCheck, sqlName, type Check, type CheckContext, type Column, type Sql } from "../core/index.ts";
import { columnNamed, kindOf } from "./shared/columns.ts";
import { chanceLevel, kolmogorovSmirnov, populationStability, type BinPair } from "./shared/drift.ts";
import { countOf, shortNumber } from "./shared/numbers.ts";
import { earlierColumns, rowsOf } from "./shared/rows.ts";

const limit = z.number().nonnegative();
const options = z.strictObject({
  columns: z
    .array(z.string())
    .min(1)
    .optional()
    .describe("Columns to compare. Default: all of numbers, booleans and text, but for the key and the split."),
  ignore: z.array(z.string()).default([]).describe("Columns to leave out."),
  psi_warn: limit.default(0.1).describe("Population stability index from which a column is warned about. Default 0.1."),
  psi_fail: limit.default(0.25).describe("Population stability index from which the check fails. Default 0.25."),
  ks_warn: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe("Kolmogorov–Smirnov distance of a number from which it is warned about, 0 to 1. Default: not judged."),
  ks_fail: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe("Kolmogorov–Smirnov distance of a number from which the check fails, 0 to 1. Default: not judged."),
  new_categories: z
    .enum(["allow", "warn", "fail"])
    .default("warn")
    .describe("When text has values that the version before did not have. Default `warn`."),
  max_categories: z
    .number()
    .int()
    .min(2)
    .max(10_000)
    .default(200)
    .describe("Text with more different values is not compared. Default 200."),
});
type Options = z.output<typeof options>;

/** Twenty bins of equal frequency in the version before; PSI joins them in pairs to the customary ten. */
const quantiles = Array.from({ length: 19 }, (_, index) => (index + 1) / 20);

function compared(options: Options, context: CheckContext): Column[] {
  const ignored = new Set(options.ignore.map((name) => columnNamed("drift", name, context).name));
  const wanted = options.columns?.map((name) => columnNamed("drift", name, context));
  const earlier = earlierColumns(context);
  if (wanted === undefined)
    for (const name of [...context.key, ...(context.split === undefined ? [] : [context.split])]) ignored.add(name);
  const comparable = ["number", "float", "text", "boolean"];
  return (wanted ?? context.columns).filter(
    (column) => !ignored.has(column.name) && earlier.has(column.name) && comparable.includes(kindOf(column)),
  );
}

const isNumeric = (column: Column): boolean => kindOf(column) === "number" || kindOf(column) === "float";

interface Side {
  rows: number;
  nulls: number;
  /** Upper edge of the bin (`inf`: the last) → rows. */
  bins?: Record<string, number> | null;
}
interface Found {
  before: Side[];
  now: Side[];
  /** Category, rows before, rows now; null where there are too many to compare. */
  categories: ([string, number, number][] | null)[];
}

function sideOf(columns: Column[], from: Sql): Sql {
  const sides = columns.map((column, index) => {
    const name = sqlName(column.name);
    const value = `CAST(${name} AS DOUBLE)`;
    const bins = isNumeric(column)
      ? `, bins: histogram(${value}, (SELECT e${index} FROM edges)) FILTER (WHERE isfinite(${value}))`
      : "";
    return `to_json({rows: count(*), nulls: count(*) - count(${name})${bins}})`;
  });
  return `SELECT [${sides.join(", ")}] AS sides FROM ${from}`;
}

function categoriesOf(column: Column, before: Sql, most: number): Sql {
  const name = sqlName(column.name);
  const counted = (from: Sql): Sql =>
    `(SELECT left(CAST(${name} AS VARCHAR), 200) AS v, count(*) AS n FROM ${from} WHERE ${name} IS NOT NULL AND few GROUP BY 1)`;
  const guarded = (from: Sql): Sql =>
    counted(
      `(SELECT *, (SELECT approx_count_distinct(${name}) FROM ${before}) <= ${Math.ceil(most * 1.2)} AS few FROM ${from})`,
    );
  return (
    `(SELECT CASE WHEN count(*) FILTER (WHERE b IS NOT NULL) BETWEEN 1 AND ${most} THEN to_json(list([to_json(v), to_json(coalesce(b, 0)), to_json(coalesce(a, 0))])) END ` +
    `FROM (SELECT coalesce(x.v, y.v) AS v, x.n AS b, y.n AS a FROM ${guarded(before)} AS x FULL JOIN ${guarded("data")} AS y ON x.v = y.v ORDER BY b DESC NULLS LAST, a DESC LIMIT ${most * 2}))`
  );
}

const check: Check<Options> = {
  measure(options, context): Record<string, Sql> {
    const item = context.baseline ?? context.previous;
    const columns = compared(options, context);
    if (item === undefined || columns.length === 0) return {};
    const before = rowsOf(item);
    const edges = columns.map((column, index) => {
      const value = `CAST(${sqlName(column.name)} AS DOUBLE)`;
      return isNumeric(column)
        ? `list_sort(list_distinct(approx_quantile(${value}, [${quantiles.join(", ")}]) FILTER (WHERE isfinite(${value})))) AS e${index}`
        : `NULL AS e${index}`;
    });
    const categories = columns.map((column) =>
      isNumeric(column) ? "NULL::JSON" : categoriesOf(column, before, options.max_categories),
    );
    return {
      found:
        `(WITH edges AS MATERIALIZED (SELECT ${edges.join(", ")} FROM ${before}), b AS (${sideOf(columns, before)}), n AS (${sideOf(columns, "data")}) ` +
        `SELECT CAST(to_json({before: b.sides, now: n.sides, categories: [${categories.join(", ")}]}) AS VARCHAR) FROM b, n)`,
    };
  },

  judge(options, measured, context) {
    if (context.baseline === undefined && context.previous === undefined) {
      return { status: "passed", message: "there is no earlier version to compare with", measured: {} };
    }
    const columns = compared(options, context);
    if (columns.length === 0)
      return { status: "passed", message: "there is no column that can be compared", measured: {} };
    const rows = countOf(measured["rows"]);
    const found = JSON.parse(String(measured["found"])) as Found;
    const facts: Record<string, number> = { rows, rows_before: found.before[0]!.rows };
    if (rows === 0 || found.before[0]!.rows === 0) {
      return {
        status: "passed",
        message: `nothing to compare: ${found.before[0]!.rows} rows before, ${rows} now`,
        measured: facts,
      };
    }
    const warnings: string[] = [];
    const failures: string[] = [];
    const skipped: string[] = [];
    for (const [index, column] of columns.entries()) {
      const name = `\`${column.name}\``;
      const nulls = { before: found.before[index]!.nulls, now: found.now[index]!.nulls };
      const categories = found.categories[index];
      const hadValues = nulls.before < facts["rows_before"]!;
      if (!isNumeric(column) && !categories && hadValues) {
        skipped.push(name);
        continue;
      }
      const values = categories?.map(([, before, now]) => ({ before, now })) ?? [{ before: 0, now: rows - nulls.now }];
      const bins = isNumeric(column)
        ? numberBins(found.before[index]!, found.now[index]!, nulls)
        : { ten: values, all: [] };
      const pairs = nulls.before + nulls.now > 0 ? [...bins.ten, nulls] : bins.ten;
      const psi = populationStability(pairs);
      facts[`psi:${column.name}`] = psi;
      const level = chanceLevel(pairs.length, facts["rows_before"]!, rows);
      const shifted = psi > level;
      if (shifted && psi >= options.psi_fail) failures.push(`${name} has shifted (PSI ${shortNumber(psi)})`);
      else if (shifted && psi >= options.psi_warn) warnings.push(`${name} is shifting (PSI ${shortNumber(psi)})`);
      if (isNumeric(column)) {
        const ks = kolmogorovSmirnov(bins.all);
        facts[`ks:${column.name}`] = ks;
        if (options.ks_fail !== undefined && ks >= options.ks_fail)
          failures.push(`${name} has moved (KS ${shortNumber(ks)})`);
        else if (options.ks_warn !== undefined && ks >= options.ks_warn)
          warnings.push(`${name} is moving (KS ${shortNumber(ks)})`);
      } else {
        const fresh = (categories ?? []).filter(([, before]) => before === 0);
        facts[`new:${column.name}`] = fresh.length;
        if (fresh.length > 0 && options.new_categories !== "allow") {
          const list = fresh.slice(0, 5).map(([value]) => `\`${value}\``);
          const said = `${name} has new values: ${list.join(", ")}${fresh.length > 5 ? ` and ${fresh.length - 5} more` : ""}`;
          (options.new_categories === "fail" ? failures : warnings).push(said);
        }
      }
    }
    const note =
      skipped.length === 0 ? "" : `; not compared, more than ${options.max_categories} values: ${skipped.join(", ")}`;
    const status = failures.length > 0 ? "failed" : warnings.length > 0 ? "warned" : "passed";
    const said = [...failures, ...warnings];
    const message =
      said.length > 0
        ? said.join("; ")
        : `${columns.length - skipped.length} columns are distributed as in the version before`;
    return { status, message: message + note, measured: facts };
  },
};

/** Bins in order, the same ones on both sides; what is neither null nor finite is a bin of its own. */
function numberBins(before: Side, now: Side, nulls: BinPair): { ten: BinPair[]; all: BinPair[] } {
  const edge = (text: string): number => (text === "inf" ? Infinity : Number(text));
  const edges = [...new Set([...Object.keys(before.bins ?? {}), ...Object.keys(now.bins ?? {})])].sort(
    (left, right) => edge(left) - edge(right),
  );
  const all = edges.map((key) => ({ before: before.bins?.[key] ?? 0, now: now.bins?.[key] ?? 0 }));
  const ten: BinPair[] = [];
  for (let index = 0; index < all.length; index += 2) {
    const [left, right] = [all[index]!, all[index + 1] ?? { before: 0, now: 0 }];
    ten.push({ before: left.before + right.before, now: left.now + right.now });
  }
  const finite = all.reduce((sum, bin) => ({ before: sum.before + bin.before, now: sum.now + bin.now }), {
    before: 0,
    now: 0,
  });
  const odd = { before: before.rows - nulls.before - finite.before, now: now.rows - nulls.now - finite.now };
  // Few different values (a flag, a rating) are bins of their own: joining them would hide a shift between neighbours.
  const used = all.length <= 10 ? all : ten;
  return { ten: odd.before + odd.now > 0 ? [...used, odd] : used, all };
}

export default defineCheck({
  name: "drift",
  title: "Drift",
  summary:
    "Columns are distributed as in the version before: population stability, Kolmogorov–Smirnov distance, new categories.",
  options,
  needs: [],
  capabilities: { rows: false },
  examples: [
    { title: "Warn when anything shifts", yaml: "check: drift\non_fail: warn\n" },
    {
      title: "No new categories in some columns",
      yaml: "check: drift\ncolumns: [country, amount]\nnew_categories: fail\nks_fail: 0.2\n",
    },
  ],
  load: async () => check,
});

import { formatType, sqlName, type Column, type Sql } from "../core/index.ts";
import type { Engine } from "../engine/engine.ts";

/** What is known of one column. Text values are cut at 60 characters; minima and maxima are in the engine's notation. */
export interface ColumnProfile {
  name: string;
  type: string;
  nulls: number;
  /** About how many different values; not for nested columns. */
  distinct?: number;
  min?: string;
  max?: string;
  /** Of finite values. */
  mean?: number;
  stddev?: number;
  /** `0.05` → value; approximate (t-digest). */
  quantiles?: Record<string, number>;
  /** NaN and infinities. */
  notFinite?: number;
  /** Equal widths between `from` and `to`, numbers as they are and times in milliseconds since the epoch. */
  histogram?: { from: number; to: number; counts: number[] };
  /** The commonest values, the commonest first; exact counts. */
  top?: { value: string; rows: number }[];
  /** Characters of text, bytes of binary, elements of lists and maps. */
  length?: { min: number; mean: number; max: number };
  trueRows?: number;
  falseRows?: number;
}

export interface Profile {
  rows: number;
  columns: ColumnProfile[];
}

const quantiles = [0.05, 0.25, 0.5, 0.75, 0.95];
const bins = 20;
const topValues = 5;

type Family = "number" | "time" | "boolean" | "text" | "binary" | "list" | "other";

function familyOf({ type }: Column): Family {
  if (typeof type !== "string") return type.type === "struct" ? "other" : "list";
  if (type === "int" || type === "long" || type === "float" || type === "double" || type.startsWith("decimal"))
    return "number";
  if (type === "date" || type === "timestamp" || type === "timestamptz") return "time";
  if (type === "boolean" || type === "binary") return type;
  return "text";
}

/** A number, or milliseconds since the epoch, as DOUBLE; null where it is not finite. */
function position(column: Column): Sql {
  const name = sqlName(column.name);
  if (familyOf(column) === "number")
    return `CASE WHEN isfinite(CAST(${name} AS DOUBLE)) THEN CAST(${name} AS DOUBLE) END`;
  const moment = column.type === "timestamptz" ? name : `CAST(${name} AS TIMESTAMP)`;
  return `CASE WHEN isfinite(${name}) THEN CAST(epoch_ms(${moment}) AS DOUBLE) END`;
}

function basics(column: Column): Record<string, Sql> {
  const name = sqlName(column.name);
  const family = familyOf(column);
  const measures: Record<string, Sql> = { nulls: `count(*) - count(${name})` };
  if (family === "list") {
    const length =
      typeof column.type !== "string" && column.type.type === "map" ? `cardinality(${name})` : `len(${name})`;
    return { ...measures, ...lengths(length) };
  }
  if (family === "other") return measures;
  if (family === "binary") return { ...measures, ...lengths(`octet_length(${name})`) };
  measures["distinct"] = `approx_count_distinct(${name})`;
  if (family === "boolean")
    return {
      ...measures,
      trueRows: `count(*) FILTER (WHERE ${name})`,
      falseRows: `count(*) FILTER (WHERE NOT ${name})`,
    };
  measures["min"] = `left(CAST(min(${name}) AS VARCHAR), 60)`;
  measures["max"] = `left(CAST(max(${name}) AS VARCHAR), 60)`;
  if (column.type === "string") Object.assign(measures, lengths(`length(${name})`));
  if (family === "text") return measures;
  const value = position(column);
  measures["from"] = `min(${value})`;
  measures["to"] = `max(${value})`;
  if (family === "number") {
    measures["mean"] = `avg(${value})`;
    // The square of a value beyond 1e150 overflows the engine's sum, which is an error there: no spread is told then.
    measures["stddev"] = `stddev_samp(CASE WHEN abs(${value}) < 1e150 THEN ${value} END)`;
    measures["quantiles"] = `CAST(to_json(approx_quantile(${value}, [${quantiles.join(", ")}])) AS VARCHAR)`;
    if (column.type === "float" || column.type === "double")
      measures["notFinite"] = `count(*) FILTER (WHERE NOT isfinite(${name}))`;
  }
  return measures;
}

function lengths(length: Sql): Record<string, Sql> {
  return { shortest: `min(${length})`, meanLength: `CAST(avg(${length}) AS DOUBLE)`, longest: `max(${length})` };
}

async function measure(
  engine: Pick<Engine, "query">,
  relation: Sql,
  measures: readonly Record<string, Sql>[],
  signal?: AbortSignal,
): Promise<{ rows: number; values: Record<string, unknown>[] }> {
  const list = measures.flatMap((own, index) =>
    Object.entries(own).map(([key, sql]) => `${sql} AS ${sqlName(`c${index}_${key}`)}`),
  );
  const [row] = await engine.query(
    `WITH data AS NOT MATERIALIZED (SELECT * FROM ${relation}) SELECT ${['count(*) AS "rows"', ...list].join(", ")} FROM data`,
    signal,
  );
  return {
    rows: Number(row?.["rows"] ?? 0),
    values: measures.map((own, index) =>
      Object.fromEntries(Object.keys(own).map((key) => [key, row?.[`c${index}_${key}`]])),
    ),
  };
}

const numberOrNothing = (value: unknown): number | undefined => {
  const number = value === null || value === undefined ? Number.NaN : Number(value as number);
  return Number.isFinite(number) ? number : undefined;
};

/**
 * The shape of each column, in two scans: one for counts, extremes and quantiles, one for what needs them (bins of equal width,
 * exact counts of the commonest values). Memory does not grow with the rows. The result is plain JSON.
 */
export async function profile(
  relation: Sql,
  columns: readonly Column[],
  engine: Pick<Engine, "query">,
  signal?: AbortSignal,
): Promise<Profile> {
  const { rows, values } = await measure(engine, relation, columns.map(basics), signal);
  const second = columns.map((column, index) => details(column, values[index]!));
  const found = second.some((own) => Object.keys(own).length > 0)
    ? await measure(engine, relation, second, signal)
    : undefined;
  return {
    rows,
    columns: columns.map((column, index) => assemble(column, rows, values[index]!, found?.values[index] ?? {})),
  };
}

function details(column: Column, first: Record<string, unknown>): Record<string, Sql> {
  const measures: Record<string, Sql> = {};
  const [from, to] = [numberOrNothing(first["from"]), numberOrNothing(first["to"])];
  if (from !== undefined && to !== undefined && to > from) {
    const width = to / bins - from / bins;
    if (width > 0) {
      const value = position(column);
      const literal = (number: number): Sql => `CAST('${number}' AS DOUBLE)`;
      // `least` and `greatest` pass over nulls, so a null must not reach them.
      const bin =
        `CASE WHEN ${value} IS NOT NULL THEN ` +
        `least(${bins - 1}, greatest(0, CAST(floor(${value} / ${literal(width)} - ${literal(from / width)}) AS INTEGER))) END`;
      measures["bins"] = `CAST(to_json(histogram(${bin})) AS VARCHAR)`;
    }
  }
  if (familyOf(column) === "text" && Number(first["distinct"]) > 0) {
    const name = `left(CAST(${sqlName(column.name)} AS VARCHAR), 60)`;
    // Grouping is exact; a column of identifiers has no common values, and grouping it would cost more than it tells.
    measures["top"] =
      Number(first["distinct"]) <= 50_000
        ? `(SELECT CAST(to_json(list([v, CAST(n AS VARCHAR)])) AS VARCHAR) FROM (SELECT ${name} AS v, count(*) AS n FROM data WHERE ${sqlName(column.name)} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ${topValues}))`
        : "NULL";
  }
  return measures;
}

function assemble(
  column: Column,
  rows: number,
  first: Record<string, unknown>,
  second: Record<string, unknown>,
): ColumnProfile {
  const result: ColumnProfile = { name: column.name, type: formatType(column.type), nulls: Number(first["nulls"]) };
  for (const key of ["distinct", "mean", "stddev", "notFinite", "trueRows", "falseRows"] as const) {
    const value = numberOrNothing(first[key]);
    if (value !== undefined) result[key] = value;
  }
  // The estimate may exceed what is possible.
  if (result.distinct !== undefined) result.distinct = Math.min(result.distinct, rows - result.nulls);
  for (const key of ["min", "max"] as const) {
    if (typeof first[key] === "string") result[key] = first[key];
  }
  const longest = numberOrNothing(first["longest"]);
  if (longest !== undefined)
    result.length = { min: Number(first["shortest"]), mean: Number(first["meanLength"]), max: longest };
  if (typeof first["quantiles"] === "string") {
    const list = JSON.parse(first["quantiles"]) as (number | null)[];
    const named = quantiles.flatMap((q, index) =>
      typeof list[index] === "number" ? [[String(q), list[index]] as const] : [],
    );
    if (named.length > 0) result.quantiles = Object.fromEntries(named);
  }
  if (typeof second["bins"] === "string") {
    const counts = JSON.parse(second["bins"]) as Record<string, number>;
    result.histogram = {
      from: Number(first["from"]),
      to: Number(first["to"]),
      counts: Array.from({ length: bins }, (_, index) => counts[String(index)] ?? 0),
    };
  }
  if (typeof second["top"] === "string") {
    result.top = (JSON.parse(second["top"]) as [string, string][]).map(([value, rows]) => ({
      value,
      rows: Number(rows),
    }));
  }
  return result;
}

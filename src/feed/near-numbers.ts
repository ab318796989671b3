import { sqlName, type Sql } from "../core/index.ts";
import {
  bandsOf,
  baseRows,
  candidatePairs,
  NearFiles,
  summarise,
  type NearEngine,
  type NearFinding,
  type NearRequest,
} from "./near.ts";

/*
 * Each column is standardised: (x − mean) / standard deviation. Rows are near when no column differs by more than `distance`. Eight grids
 * with cells of 2·columns·distance, each shifted by chance, are the buckets: two rows that differ by `distance` in every one of m columns share
 * a cell of one grid with probability (1 − 1/2m)^m ≥ 1/2, so at least 99.6 of 100 such pairs share one of the eight.
 */
const grids = 8;
const representatives = 32;

/** The place from 0 to 1 by which a grid is shifted along a column: the same in every run. */
function shiftOf(grid: number, column: number): number {
  const mixed = Math.imul((grid + 1) * 0x9e3779b1 + (column + 1) * 0x85ebca6b, 0xc2b2ae35);
  return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
}

/** Rows of different splits whose numbers differ by no more than `distance` standard deviations in any column. */
export async function nearNumbers(
  names: readonly string[],
  distance: number,
  request: NearRequest,
  engine: NearEngine,
): Promise<NearFinding> {
  await using files = new NearFiles(engine, request);
  const { signal } = request;
  const value = (name: string): Sql => {
    const number = `CAST(${sqlName(name)} AS DOUBLE)`;
    return `CASE WHEN isfinite(${number}) THEN ${number} END`;
  };
  const [facts] = await engine.query(
    `SELECT ${names.map((name, index) => `avg(${value(name)}) AS m${index}, stddev_pop(${value(name)}) AS d${index}`).join(", ")} ` +
      `FROM ${request.relation} WHERE ${request.split} IS NOT NULL`,
    signal,
  );
  // A column that never changes tells no rows apart.
  const used = names.flatMap((name, index) => {
    const [mean, deviation] = [Number(facts![`m${index}`] ?? 0), Number(facts![`d${index}`] ?? 0)];
    return deviation > 0 ? [`(${value(name)} - ${literal(mean)}) / ${literal(deviation)}`] : [];
  });
  if (used.length === 0) return { compared: 0, rows: 0, pairs: 0, examples: [] };
  const base = await baseRows(
    files,
    request,
    used.map((expression, index) => `${expression} AS z${index}`),
    used.map((_, index) => `z${index} IS NOT NULL`).join(" OR "),
  );
  const width = 2 * used.length * distance;
  const cells = Array.from({ length: grids }, (_, grid) => {
    const places = used.map(
      (_, column) => `floor((z${column} + ${literal(shiftOf(grid, column) * width)}) / ${literal(width)})`,
    );
    return `hash(${places.join(", ")})`;
  });
  const pairs = await candidatePairs(files, bandsOf(base.relation, cells), representatives);
  const apart = used.map(
    (_, index) =>
      `CASE WHEN x.z${index} IS NULL AND y.z${index} IS NULL THEN 0 ELSE abs(x.z${index} - y.z${index}) END`,
  );
  const verified = await files.write(
    `SELECT a, b, value FROM (SELECT a, b, ${apart.length === 1 ? apart[0] : `list_max([${apart.join(", ")}])`} AS value, ` +
      `${apart.map((difference) => `coalesce(${difference} <= ${literal(distance)}, false)`).join(" AND ")} AS near ` +
      `FROM ${pairs} AS pair JOIN ${base.relation} AS x ON pair.a = x.r JOIN ${base.relation} AS y ON pair.b = y.r) WHERE near`,
  );
  return await summarise(engine, base, verified.relation, "ASC", signal);
}

/** All digits of a double. */
const literal = (value: number): Sql => `CAST('${value}' AS DOUBLE)`;

import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { sqlString, type Column, type ColumnBatch, type Sql } from "../core/index.ts";
import { assignFieldIds } from "../dataset/index.ts";
import type { Engine } from "../engine/index.ts";

/*
 * Rows of two splits that are almost the same, without comparing every row with every other (locality-sensitive hashing):
 *
 *   1. each row gets several bucket numbers (`bands`) such that rows that are alike share one almost surely, others hardly ever
 *   2. in each bucket that more than one split fell into, rows are compared with the first few of every other split (`representatives`),
 *      so that a bucket of a million rows costs millions of comparisons and not a million million
 *   3. pairs are verified exactly; only verified ones count
 *
 * All steps are files that the engine writes, so memory stays within its limit.
 */

/** Where files between steps go. */
export interface NearPlace {
  /** Local folder that the engine may write to. */
  folder: string;
  signal?: AbortSignal;
}

/** Where rows are looked for. */
export interface NearRequest extends NearPlace {
  /** A FROM item. */
  relation: Sql;
  columns: readonly Column[];
  /** The split of a row, as SQL. Rows where it is null are not compared. */
  split: Sql;
  /** How people find the row again, as SQL that gives text. */
  origin: Sql;
}

export type NearEngine = Pick<Engine, "query" | "export" | "stream" | "land">;

/** One row of a pair. */
export interface NearRow {
  split: string;
  origin: string;
}

export interface NearFinding {
  /** Rows that were compared. */
  compared: number;
  /** Rows that have one like them in another split. */
  rows: number;
  pairs: number;
  /** The most alike pairs first. `value`: similarity of texts, distance of numbers in standard deviations, differing bits of hashes. */
  examples: { left: NearRow; right: NearRow; value: number }[];
}

/** Files of one search; they go with it. */
export class NearFiles implements AsyncDisposable {
  readonly #paths: string[] = [];
  readonly #engine: NearEngine;
  readonly #request: NearPlace;

  constructor(engine: NearEngine, request: NearPlace) {
    this.#engine = engine;
    this.#request = request;
  }

  /** Writes the rows of a SELECT and gives a FROM item over them. */
  async write(select: Sql): Promise<{ relation: Sql; rows: number }> {
    const path = join(this.#request.folder, `near-${randomUUID()}.parquet`);
    this.#paths.push(path);
    const rows = await this.#engine.export(
      select,
      path,
      "FORMAT parquet, COMPRESSION lz4, ROW_GROUP_SIZE_BYTES '16MB'",
      this.#request.signal,
    );
    return { relation: `read_parquet([${sqlString(path)}])`, rows };
  }

  /** The same for batches that are made here. */
  async land(columns: Column[], batches: AsyncIterable<ColumnBatch>): Promise<Sql> {
    const { signal, folder } = this.#request;
    const landed = await this.#engine.land({
      payload: { form: "columns", columns, batches },
      columns: assignFieldIds(columns),
      folder,
      prefix: `near-${randomUUID()}`,
      ...(signal ? { signal } : {}),
    });
    const paths = landed.files.map((file) => file.path);
    this.#paths.push(...paths);
    if (paths.length > 0) return `read_parquet([${paths.map(sqlString).join(", ")}])`;
    return (await this.write(`SELECT ${columns.map(({ name }) => `0 AS ${name}`).join(", ")} WHERE false`)).relation;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const path of this.#paths) await rm(path, { force: true });
  }
}

/**
 * The rows to compare: `r` their number, `p` that of their split, `s` its name, `origin`, and `values` (SQL with names).
 * `where` leaves rows out that can be like none.
 */
export async function baseRows(
  files: NearFiles,
  request: NearRequest,
  values: readonly Sql[],
  where = "true",
): Promise<{ relation: Sql; rows: number }> {
  const { relation, rows } = await files.write(
    `SELECT * FROM (SELECT ${request.split} AS s, ${request.origin} AS origin, ${values.join(", ")} FROM ${request.relation}) ` +
      `WHERE s IS NOT NULL AND (${where})`,
  );
  const number = "CASE s WHEN 'train' THEN 0 WHEN 'validation' THEN 1 WHEN 'test' THEN 2 ELSE 3 END";
  return { relation: `(SELECT *, file_row_number AS r, ${number} AS p FROM ${relation})`, rows };
}

/** Which rows of a bucket are compared: `hot` buckets of which there is anything to compare, and the pairs `x`, `y` in them. */
export interface Pairing {
  hot: Sql;
  pairs: Sql;
}

/** Rows of different splits. */
const acrossSplits: Pairing = { hot: "min(p) <> max(p)", pairs: "x.p <> y.p" };

/** New rows (`p` is 1) with those that come before them: new ones of a smaller `r`, and all that were there already (`p` is 0). */
export const withEarlier: Pairing = { hot: "max(p) = 1 AND count(*) > 1", pairs: "x.p = 1 AND y.r < x.r" };

/**
 * Pairs `a` < `b` of rows that share a bucket, by default of different splits. `bands` gives `r`, `p`, `band` and `h`; each row is compared
 * with the first `representatives` rows of each split in its buckets.
 */
export async function candidatePairs(
  files: NearFiles,
  bands: Sql,
  representatives: number,
  pairing: Pairing = acrossSplits,
): Promise<Sql> {
  const all = await files.write(bands);
  const shared = await files.write(
    `SELECT b.* FROM ${all.relation} AS b SEMI JOIN ` +
      `(SELECT band, h FROM ${all.relation} GROUP BY band, h HAVING ${pairing.hot}) AS hot USING (band, h)`,
  );
  const first = await files.write(
    `SELECT * FROM ${shared.relation} QUALIFY row_number() OVER (PARTITION BY band, h, p ORDER BY r) <= ${representatives}`,
  );
  const pairs = await files.write(
    `SELECT DISTINCT least(x.r, y.r) AS a, greatest(x.r, y.r) AS b FROM ${shared.relation} AS x ` +
      `JOIN ${first.relation} AS y ON x.band = y.band AND x.h = y.h WHERE ${pairing.pairs}`,
  );
  return pairs.relation;
}

const examples = 5;

/** Counts verified pairs (`a`, `b`, `value`) and picks examples. `closest` orders values, the most alike first. */
export async function summarise(
  engine: NearEngine,
  base: { relation: Sql; rows: number },
  pairs: Sql,
  closest: "ASC" | "DESC",
  signal?: AbortSignal,
): Promise<NearFinding> {
  const [counted] = await engine.query(
    `SELECT (SELECT count(*) FROM ${pairs}) AS pairs, (SELECT count(*) FROM (SELECT a FROM ${pairs} UNION SELECT b FROM ${pairs})) AS "rows"`,
    signal,
  );
  const shown = await engine.query(
    `WITH best AS (SELECT * FROM ${pairs} ORDER BY value ${closest}, a, b LIMIT ${examples}) ` +
      `SELECT x.s AS xs, x.origin AS xo, y.s AS ys, y.origin AS yo, value::DOUBLE AS value FROM best ` +
      `JOIN ${base.relation} AS x ON best.a = x.r JOIN ${base.relation} AS y ON best.b = y.r ORDER BY value ${closest}, best.a, best.b`,
    signal,
  );
  return {
    compared: base.rows,
    rows: Number(counted!["rows"]),
    pairs: Number(counted!["pairs"]),
    examples: shown.map((row) => ({
      left: { split: String(row["xs"]), origin: String(row["xo"]) },
      right: { split: String(row["ys"]), origin: String(row["yo"]) },
      value: Number(row["value"]),
    })),
  };
}

/** The rows of several lists of bucket numbers, one list a row, as `bands`. */
export function bandsOf(relation: Sql, hashes: readonly Sql[]): Sql {
  return `SELECT r, p, unnest(range(${hashes.length})) AS band, unnest([${hashes.join(", ")}]) AS h FROM ${relation}`;
}

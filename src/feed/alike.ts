import {
  throwIfAborted,
  type AlikeHash,
  type AlikeQuestion,
  type AlikeText,
  type Column,
  type ColumnBatch,
  type Sql,
} from "../core/index.ts";
import { blockPairs, hashRepresentatives, unsignedHash } from "./near-hash.ts";
import {
  alikeTexts,
  bandsFor,
  normalText,
  shortest,
  sketchColumns,
  sketchTexts,
  textRepresentatives,
  wholeText,
} from "./near-text.ts";
import { bandsOf, candidatePairs, withEarlier, type NearEngine, type NearFiles, type NearPlace } from "./near.ts";

/*
 * Near-duplicates among new rows, and between them and those that a dataset has already: the same steps as between splits (near.ts), over
 * the different values of the new rows, which are numbered in the order in which rows are kept. Rows of the dataset have negative numbers.
 *
 * A value goes when one that comes before it, and stays, is like it. So of A ~ B ~ C, where A and C are unlike, A and C stay.
 */

/** The rows that are looked at. */
export interface AlikeRequest extends NearPlace {
  /** A FROM item with the new rows. */
  relation: Sql;
  question: AlikeQuestion;
  /** How people find a new row again, as SQL that gives text. */
  origin: Sql;
  /** The rows that are there already. */
  earlier?: EarlierRows;
}

/** Rows of a dataset, which have numbers below 0. */
export interface EarlierRows {
  /** For hashes: a FROM item with `r`, `v` (as `identityOf` says) and `origin`, one row for each different value. */
  hashes(files: NearFiles, name: string): Promise<Sql>;
  /** For texts: a FROM item with `r` and the bands of sketches. It is made once for each data file, and kept. */
  sketches(question: AlikeText): Promise<Sql>;
  /** Of rows that a SELECT gives as `r`: a FROM item with `r`, the normal text `t` and `origin`. Reads those rows only. */
  texts(files: NearFiles, question: AlikeText, rows: Sql): Promise<Sql>;
}

/** What tells the values of a row from others, as SQL; null where there is nothing to compare. */
export function identityOf(question: AlikeQuestion): Sql {
  return "hash" in question ? unsignedHash(question.hash) : `md5(${wholeText(question.text)})`;
}

/**
 * What was found, as a FROM item: a value (`millrace_value`), the row that it is like (`millrace_like`), whether that one is in the dataset
 * (`millrace_known`), and whether all rows of this value go (`millrace_whole`), or all but the first: then it is like none but its copies.
 */
export async function findAlike(files: NearFiles, request: AlikeRequest, engine: NearEngine): Promise<Sql> {
  const { question, relation, origin, earlier, signal } = request;
  const isText = "text" in question;
  const value = identityOf(question);
  // The names of the rows' own columns are anybody's, so what is made of them stands alone before it gets names.
  const base = await files.write(
    `SELECT v, t, origin, copies, row_number() OVER (ORDER BY place) - 1 AS r FROM (` +
      `SELECT *, count(*) OVER (PARTITION BY v) AS copies, min(place) OVER (PARTITION BY v) AS first FROM (` +
      `SELECT ${value} AS v, ${isText ? normalText(question.text) : "NULL::VARCHAR"} AS t, ${origin} AS origin, ` +
      `row_number() OVER (ORDER BY ${question.order.join(", ")}) AS place FROM ${relation} AS data) ` +
      `WHERE v IS NOT NULL ${isText ? `AND length(t) >= ${shortest}` : ""}) WHERE place = first`,
  );
  const found = isText
    ? await alikeByText(files, base.relation, question, earlier, engine, signal)
    : await alikeByHash(files, base.relation, question, earlier);
  const pairs = engine.stream(
    `SELECT a, b, value FROM ${found.pairs} ORDER BY b, value ${isText ? "DESC" : "ASC"}, a`,
    signal,
  );
  const gone = await files.land(columnsOfPairs, kept(pairs, base.rows, signal));
  const near = isText
    ? "round(value, 2) || ' similar'"
    : "CASE value WHEN 1 THEN '1 bit' ELSE value::INT || ' bits' END || ' apart'";
  const list = await files.write(
    `SELECT x.v AS millrace_value, coalesce(y.origin, z.origin) || ' (' || ${near} || ')' AS millrace_like, a < 0 AS millrace_known, true AS millrace_whole ` +
      `FROM ${gone} AS gone JOIN ${base.relation} AS x ON b = x.r LEFT JOIN ${base.relation} AS y ON a = y.r LEFT JOIN ${found.earlier} AS z ON a = z.r ` +
      `UNION ALL SELECT v, origin || ' (the same)', false, false FROM ${base.relation} AS base ANTI JOIN ${gone} AS gone ON b = r WHERE copies > 1`,
  );
  return list.relation;
}

interface Alike {
  /** FROM item of the pairs `a` < `b` with their `value`. */
  pairs: Sql;
  /** FROM item of the earlier rows among them: `r`, `origin`. */
  earlier: Sql;
}

const nobody = "(SELECT 0::BIGINT AS r, ''::VARCHAR AS origin, ''::VARCHAR AS t WHERE false)";
const bandsBeside = (earlier: Sql, bands: Sql): Sql =>
  `SELECT * FROM ${bands} UNION ALL SELECT * FROM (${earlier}) AS earlier SEMI JOIN ${bands} AS own USING (band, h)`;

async function alikeByHash(
  files: NearFiles,
  base: Sql,
  { hash, bits }: AlikeHash,
  earlier: EarlierRows | undefined,
): Promise<Alike> {
  const blocks = blockPairs(bits);
  const own = await files.write(bandsOf(`(SELECT r, 1 AS p, v AS h FROM ${base})`, blocks));
  const known =
    (await earlier?.hashes(files, hash)) ??
    `(SELECT 0::BIGINT AS r, 0::UBIGINT AS v, ''::VARCHAR AS origin WHERE false)`;
  const bands = bandsBeside(bandsOf(`(SELECT r, 0 AS p, v AS h FROM ${known})`, blocks), own.relation);
  const pairs = await candidatePairs(files, bands, hashRepresentatives, withEarlier);
  const all = `(SELECT r, v FROM ${base} UNION ALL SELECT r, v FROM ${known})`;
  const verified = await files.write(
    `SELECT a, b, bit_count(xor(x.v, y.v))::DOUBLE AS value FROM ${pairs} AS pair ` +
      `JOIN ${all} AS x ON pair.a = x.r JOIN ${base} AS y ON pair.b = y.r WHERE value <= ${bits}`,
  );
  return { pairs: verified.relation, earlier: known };
}

async function alikeByText(
  files: NearFiles,
  base: Sql,
  question: AlikeText,
  earlier: EarlierRows | undefined,
  engine: NearEngine,
  signal: AbortSignal | undefined,
): Promise<Alike> {
  const bands = bandsFor(question.similarity);
  const { names } = bands;
  const sketches = await files.land(
    sketchColumns(names),
    sketchTexts(engine, `(SELECT *, 1 AS p FROM ${base})`, bands, signal),
  );
  const own = await files.write(bandsOf(sketches, names));
  const beside =
    earlier === undefined
      ? `SELECT * FROM ${own.relation}`
      : bandsBeside(bandsOf(`(SELECT *, 0 AS p FROM ${await earlier.sketches(question)})`, names), own.relation);
  const pairs = await candidatePairs(files, beside, textRepresentatives, withEarlier);
  const known = (await earlier?.texts(files, question, `SELECT DISTINCT a AS r FROM ${pairs} WHERE a < 0`)) ?? nobody;
  const all = `(SELECT r, t FROM ${base} UNION ALL SELECT r, t FROM ${known})`;
  const verified = await alikeTexts(
    files,
    engine,
    `SELECT a, b, x.t AS x, y.t AS y FROM ${pairs} AS pair JOIN ${all} AS x ON pair.a = x.r JOIN ${base} AS y ON pair.b = y.r`,
    question.similarity,
    signal,
  );
  return { pairs: verified, earlier: known };
}

const columnsOfPairs: Column[] = [
  { name: "a", type: "long" },
  { name: "b", type: "long" },
  { name: "value", type: "double" },
];

/**
 * Of each row `b` that is like a row before it which stays, the pair that says so. Pairs come in the order of `b`, so it is known of every `a`
 * whether it stays: one bit a row.
 */
async function* kept(
  pairs: AsyncIterable<{ batch: ColumnBatch }>,
  rows: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<ColumnBatch> {
  const gone = new Uint8Array(Math.ceil(rows / 8));
  const isGone = (row: number): boolean => row >= 0 && (gone[row >> 3]! & (1 << (row & 7))) !== 0;
  for await (const { batch } of pairs) {
    throwIfAborted(signal);
    const [a, b] = [batch.columns[0]!.values as BigInt64Array, batch.columns[1]!.values as BigInt64Array];
    const values = batch.columns[2]!.values as Float64Array;
    const [left, right, likeness] = [
      new BigInt64Array(batch.rows),
      new BigInt64Array(batch.rows),
      new Float64Array(batch.rows),
    ];
    let found = 0;
    for (let index = 0; index < batch.rows; index++) {
      const row = Number(b[index]!);
      if (isGone(row) || isGone(Number(a[index]!))) continue;
      gone[row >> 3]! |= 1 << (row & 7);
      [left[found], right[found], likeness[found]] = [a[index]!, b[index]!, values[index]!];
      found++;
    }
    if (found === 0) continue;
    const columns = [left, right, likeness].map((all) => ({ values: all.subarray(0, found) }));
    yield { rows: found, columns };
  }
}

import { sqlName, throwIfAborted, type Column, type ColumnBatch, type Sql } from "../core/index.ts";
import { bandCount, bandHashes, pieceHashes, rowsOfBand, similarityOf, sketchOf, uniqueHashes } from "./minhash.ts";
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

/** Shorter texts are alike by chance, and few pieces say little: normal texts of fewer characters are not compared. */
export const shortest = 20;
/** Of longer texts the first so many characters are compared: the engine holds 2,048 texts at a time. */
const longest = 20_000;
/** Rows of a bucket that others are compared with. */
export const textRepresentatives = 8;

/** The text that the columns hold together. */
export function wholeText(names: readonly string[]): Sql {
  return names.length === 1
    ? `CAST(${sqlName(names[0]!)} AS VARCHAR)`
    : `concat_ws(' ', ${names.map(sqlName).join(", ")})`;
}

/** Letters and digits in lower case, all else one blank: what is written otherwise only in layout is the same. */
export function normalText(names: readonly string[]): Sql {
  return `trim(regexp_replace(lower(nfc_normalize(left(${wholeText(names)}, ${longest}))), '[^\\p{L}\\p{N}]+', ' ', 'g'))`;
}

/** How sketches are cut for a similarity: bins of a band, and the names of the columns of bands. */
export function bandsFor(similarity: number): { rows: number; names: string[] } {
  const rows = rowsOfBand(similarity);
  return { rows, names: Array.from({ length: bandCount(rows) }, (_, index) => `h${index}`) };
}

/** Columns of the bands of sketches: `r`, the number of the row; `p`, the part that it belongs to; and the bands. */
export function sketchColumns(names: readonly string[]): Column[] {
  return [long("r"), int("p"), ...names.map(int)];
}

/** Bands of the normal texts `t` of a relation that has `r` and `p` as well. */
export function sketchTexts(
  engine: NearEngine,
  relation: Sql,
  { rows, names }: { rows: number; names: readonly string[] },
  signal?: AbortSignal,
): AsyncIterable<ColumnBatch> {
  const texts = engine.stream(`SELECT r, p::INTEGER AS p, t FROM ${relation}`, signal);
  return sketchBatches(texts, rows, names.length, signal);
}

/** Those of the pairs `a`, `b` whose normal texts `x`, `y` are as similar as asked for, with their similarity as `value`. */
export async function alikeTexts(
  files: NearFiles,
  engine: NearEngine,
  select: Sql,
  similarity: number,
  signal?: AbortSignal,
): Promise<Sql> {
  const columns: Column[] = [long("a"), long("b"), { name: "value", type: "double" }];
  return await files.land(columns, alikeBatches(engine.stream(select, signal), similarity, signal));
}

/** Texts of different splits whose similarity is at least `similarity`, from 0 to 1. */
export async function nearTexts(
  columns: readonly string[],
  similarity: number,
  request: NearRequest,
  engine: NearEngine,
): Promise<NearFinding> {
  await using files = new NearFiles(engine, request);
  const { signal } = request;
  const base = await baseRows(files, request, [`${normalText(columns)} AS t`], `length(t) >= ${shortest}`);
  const bands = bandsFor(similarity);
  const { names } = bands;
  const sketches = await files.land(sketchColumns(names), sketchTexts(engine, base.relation, bands, signal));
  const pairs = await candidatePairs(files, bandsOf(sketches, names), textRepresentatives);
  const verified = await alikeTexts(
    files,
    engine,
    `SELECT a, b, x.t AS x, y.t AS y FROM ${pairs} AS pair JOIN ${base.relation} AS x ON pair.a = x.r JOIN ${base.relation} AS y ON pair.b = y.r`,
    similarity,
    signal,
  );
  return await summarise(engine, base, verified, "DESC", signal);
}

const long = (name: string): Column => ({ name, type: "long" });
const int = (name: string): Column => ({ name, type: "int" });

type Batches = AsyncIterable<{ batch: ColumnBatch }>;

const textsOf = (batch: ColumnBatch, column: number): readonly string[] =>
  batch.columns[column]!.values as readonly string[];

async function* sketchBatches(
  batches: Batches,
  rowsInBand: number,
  bands: number,
  signal?: AbortSignal,
): AsyncGenerator<ColumnBatch> {
  let hashes = new Uint32Array(4096);
  const sketch = new Uint32Array(128);
  const own = new Int32Array(bands);
  for await (const { batch } of batches) {
    throwIfAborted(signal);
    const columns = Array.from({ length: bands }, () => new Int32Array(batch.rows));
    for (const [index, text] of textsOf(batch, 2).entries()) {
      if (text.length > hashes.length) hashes = new Uint32Array(text.length * 2);
      sketchOf(hashes, pieceHashes(text, hashes), sketch);
      bandHashes(sketch, rowsInBand, own);
      for (let band = 0; band < bands; band++) columns[band]![index] = own[band]!;
    }
    const [rows, splits] = [batch.columns[0]!.values as BigInt64Array, batch.columns[1]!.values as Int32Array];
    yield {
      rows: batch.rows,
      columns: [{ values: rows }, { values: splits }, ...columns.map((values) => ({ values }))],
    };
  }
}

/** Pairs whose texts are as similar as asked for, with how similar they are. */
async function* alikeBatches(batches: Batches, similarity: number, signal?: AbortSignal): AsyncGenerator<ColumnBatch> {
  let [left, right] = [new Uint32Array(4096), new Uint32Array(4096)];
  for await (const { batch } of batches) {
    throwIfAborted(signal);
    const [xs, ys] = [textsOf(batch, 2), textsOf(batch, 3)];
    const [as, bs] = [batch.columns[0]!.values as BigInt64Array, batch.columns[1]!.values as BigInt64Array];
    const [a, b] = [new BigInt64Array(batch.rows), new BigInt64Array(batch.rows)];
    const values = new Float64Array(batch.rows);
    let found = 0;
    for (let index = 0; index < batch.rows; index++) {
      const [x, y] = [xs[index]!, ys[index]!];
      if (x.length > left.length) left = new Uint32Array(x.length * 2);
      if (y.length > right.length) right = new Uint32Array(y.length * 2);
      const value = similarityOf(
        left,
        uniqueHashes(left, pieceHashes(x, left)),
        right,
        uniqueHashes(right, pieceHashes(y, right)),
      );
      if (value < similarity) continue;
      [a[found], b[found], values[found]] = [as[index]!, bs[index]!, value];
      found++;
    }
    if (found === 0) continue;
    yield {
      rows: found,
      columns: [
        { values: a.subarray(0, found) },
        { values: b.subarray(0, found) },
        { values: values.subarray(0, found) },
      ],
    };
  }
}

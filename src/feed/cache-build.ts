import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MillraceError, sqlName, type Column, type ColumnData, type Sql } from "../core/index.ts";
import type { Engine } from "../engine/index.ts";
import type { ImageReader } from "./images/images.ts";
import { wireExpression, type Layout } from "./layout.ts";
import { RecordWriter, type SeenColumn } from "./records.ts";

/** What is cached: rows of a split, in an order that everybody agrees on. */
export interface CacheSubject {
  dataset: string;
  /** What makes it another cache: dataset, content of the version, split, filter, columns. */
  identity: string;
  columns: Column[];
  /** SELECTs that one after the other give all rows in order, with `columns` by name, `weight` and `extra`. */
  selects: Sql[];
  /** Images among `columns`: how many samples in each direction, and how they are made. */
  images?: { shapes: ReadonlyMap<string, readonly number[]>; reader: ImageReader };
  /** True when the SELECTs give `feed weight`, a DOUBLE: what `RowCache.weights` are. */
  weighted?: boolean;
}

export const weightName = "feed weight";

/** What is known of a cache that is complete. */
export interface Meta {
  dataset: string;
  rows: number;
  bytes: number;
  /** Rows that were left out, because their images cannot be decoded. */
  skipped: number;
  /** SHA-256 of each file, hexadecimal. */
  sha256: { records: string; index: string; weights?: string };
  seen: SeenColumn[];
}

const flushBytes = 8 << 20;

export async function readMeta(place: string): Promise<Meta | undefined> {
  try {
    return JSON.parse(await readFile(join(place, "meta.json"), "utf8")) as Meta;
  } catch {
    return undefined;
  }
}

/** Written under another name and moved when complete, so a killed process leaves nothing that looks whole. */
export async function buildRowCache(
  engine: Engine,
  subject: CacheSubject,
  layout: Layout,
  folder: string,
  place: string,
  signal?: AbortSignal,
): Promise<void> {
  const building = join(folder, `${process.pid}-${randomUUID().slice(0, 8)}.building`);
  await mkdir(building);
  try {
    const writer = new RecordWriter(layout);
    await using records = await hashedFile(join(building, "records"));
    await using index = await hashedFile(join(building, "index"));
    await using weights = subject.weighted ? await hashedFile(join(building, "weights")) : undefined;
    let [rows, bytes, skipped] = [0, 0, 0];
    const flush = async (): Promise<void> => {
      const taken = writer.take();
      await records.append(taken.bytes);
      await index.append(new Uint8Array(Float64Array.from(taken.offsets).buffer));
      rows += taken.offsets.length;
      bytes += taken.bytes.length;
    };
    const list = [
      ...layout.columns.map(wireExpression),
      ...(subject.weighted ? [sqlName(weightName)] : []),
      ...(subject.images?.reader.extra ?? []).map(({ name }) => sqlName(name)),
    ].join(", ");
    for (const [number, select] of subject.selects.entries()) {
      const stream = engine.stream(`SELECT ${list} FROM (${select})`, signal, { flatLists: true });
      for await (const { batch } of stream) {
        const images = subject.images?.reader;
        const pieces = images === undefined ? [batch] : images.decode(batch, subject.columns, number, building);
        skipped += batch.rows;
        for await (const piece of pieces) {
          skipped -= piece.rows;
          writer.write(piece);
          await weights?.append(weightBytes(subject, piece.columns[layout.columns.length]!));
          if (writer.pending >= flushBytes) await flush();
        }
      }
    }
    await flush();
    const meta: Meta = {
      dataset: subject.dataset,
      rows,
      bytes,
      skipped,
      sha256: { records: records.digest(), index: index.digest(), ...(weights && { weights: weights.digest() }) },
      seen: writer.seen,
    };
    await writeFile(join(building, "meta.json"), JSON.stringify(meta));
    await rename(building, place).catch(async (error: unknown) => {
      // Another process was faster, with the same content.
      if ((await readMeta(place)) === undefined) throw error;
    });
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}

/** A new file, and the SHA-256 of what is written to it. */
async function hashedFile(
  path: string,
): Promise<AsyncDisposable & { append(bytes: Uint8Array): Promise<void>; digest(): string }> {
  const hash = createHash("sha256");
  const file = await open(path, "w");
  return {
    async append(bytes) {
      hash.update(bytes);
      await file.writeFile(bytes);
    },
    digest: () => hash.digest("hex"),
    [Symbol.asyncDispose]: () => file.close(),
  };
}

/** Throws `value` for a weight that is none. */
function weightBytes({ dataset }: CacheSubject, { values, validity }: ColumnData): Uint8Array {
  const weights = values as Float64Array;
  for (const [row, weight] of weights.entries()) {
    if (validity?.[row] !== 0 && weight >= 0 && weight < Infinity) continue;
    const found = validity?.[row] === 0 ? "null" : String(weight);
    throw new MillraceError("value", `\`${dataset}\` has a row whose weight is ${found}`, {
      where: { dataset },
      hint: "a weight is a number from 0 up; leave such rows out with --where, or mend them in the flow's transform",
    });
  }
  return new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength);
}

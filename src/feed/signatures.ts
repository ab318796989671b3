import { createHash, randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { localFile, sqlName, sqlString, type AlikeText, type Column, type Sql, type Store } from "../core/index.ts";
import { assignFieldIds, type DataFile, type Dataset } from "../dataset/index.ts";
import type { EarlierRows } from "./alike.ts";
import { bandsFor, normalText, shortest, sketchColumns, sketchTexts } from "./near-text.ts";
import { unsignedHash } from "./near-hash.ts";
import type { NearEngine, NearPlace } from "./near.ts";

/*
 * Sketches of the texts of a dataset, a file for each data file, which never changes: what was sketched is not read again. They can be made
 * anew at any time, so they are a cache: what belongs to no file of the current version is removed, and an erasure removes them all.
 */

/** Where they lie in the store. */
export const signaturesFolder = (dataset: string): string => `${dataset}/signatures`;

/** Removes them all; returns how many. */
export async function forgetSignatures(store: Store, dataset: string): Promise<number> {
  const paths: string[] = [];
  for await (const { path } of store.list(signaturesFolder(dataset))) paths.push(path);
  for (const path of paths) await store.remove(path);
  return paths.length;
}

export interface EarlierRequest extends NearPlace {
  dataset: Dataset;
  /** How people find one of its rows again. */
  origin: Sql;
  /** Rows that new ones replace, which are like none: the key, and a FROM item of the new rows. Without it, all stay. */
  replaced?: { key: readonly string[]; rows: Sql };
}

/** Numbers of rows: those of one file follow each other, below 0. No file has so many rows. */
const rowsOfFile = 2 ** 33;
const numberOf = (file: number | Sql, row: Sql): Sql => `(-1 - ${file}::BIGINT * ${rowsOfFile} - ${row})::BIGINT`;
/** Files that one statement reads. */
const filesAtOnce = 64;

/** The rows of the current version of a dataset. */
export async function earlierRows(request: EarlierRequest, engine: NearEngine): Promise<EarlierRows> {
  const { dataset, origin, replaced, signal } = request;
  const files = await dataset.files();
  const stays = (rows: Sql): Sql =>
    replaced === undefined
      ? rows
      : `(SELECT * FROM ${rows} AS p ANTI JOIN (SELECT ${replaced.key.map(sqlName).join(", ")} FROM ${replaced.rows}) USING (${replaced.key.map(sqlName).join(", ")}))`;
  return {
    async hashes(near, name) {
      const rows = stays(await dataset.relation());
      const { relation } = await near.write(
        `SELECT ${unsignedHash(name)} AS v, min(${origin}) AS origin FROM ${rows} WHERE ${sqlName(name)} IS NOT NULL GROUP BY 1`,
      );
      return `(SELECT -1 - file_row_number AS r, v, origin FROM ${relation})`;
    },

    async sketches(question) {
      const paths = await sketched(request, question, files, engine);
      await dataset.store.fetch?.(paths.map((path) => ({ path })));
      const { names } = bandsFor(question.similarity);
      const empty = `(SELECT ${["r", ...names].map((name) => `0 AS ${name}`).join(", ")} WHERE false)`;
      if (paths.length === 0) return empty;
      const local = paths.map((path) => sqlString(localFile(dataset.store, path)));
      const numbers = local.map((path, index) => `(${path}, ${index})`).join(", ");
      return (
        `(SELECT ${numberOf("n", "s.r")} AS r, ${names.map((name) => `s.${name}`).join(", ")} FROM read_parquet([${local.join(", ")}], filename = true) AS s ` +
        `JOIN (VALUES ${numbers}) AS list(path, n) ON s.filename = list.path)`
      );
    },

    async texts(near, question, rows) {
      const wanted = await near.write(rows);
      const hit = await engine.query(
        `SELECT DISTINCT ((-1 - r) // ${rowsOfFile})::INTEGER AS file FROM ${wanted.relation} ORDER BY 1`,
        signal,
      );
      const parts: Sql[] = [];
      for (let start = 0; start < hit.length; start += filesAtOnce) {
        const selects: Sql[] = [];
        for (const { file } of hit.slice(start, start + filesAtOnce)) {
          const relation = await dataset.relation(undefined, [files[Number(file)]!], { rowNumber: true });
          const own = `SELECT -1 - r - ${Number(file) * rowsOfFile} FROM ${wanted.relation} WHERE (-1 - r) // ${rowsOfFile} = ${Number(file)}`;
          selects.push(
            `SELECT ${numberOf(Number(file), "file_row_number")} AS r, ${normalText(question.text)} AS t, ${origin} AS origin ` +
              `FROM ${stays(`(SELECT * FROM ${relation} WHERE file_row_number IN (${own}))`)}`,
          );
        }
        parts.push((await near.write(selects.join(" UNION ALL "))).relation);
      }
      if (parts.length === 0) return "(SELECT 0::BIGINT AS r, ''::VARCHAR AS t, ''::VARCHAR AS origin WHERE false)";
      return `(${parts.map((part) => `SELECT * FROM ${part}`).join(" UNION ALL ")})`;
    },
  };
}

/** Paths of the sketches of the files, in their order. Those that are missing are made, and those of other files removed. */
async function sketched(
  { dataset, folder, signal }: EarlierRequest,
  question: AlikeText,
  files: readonly DataFile[],
  engine: NearEngine,
): Promise<string[]> {
  const { store } = dataset;
  const bands = bandsFor(question.similarity);
  const columns = question.text.map((name) => dataset.columns().find((column) => column.name === name)!);
  const what = JSON.stringify({ form: 1, columns: columns.map(({ id, type }) => [id, type]), rows: bands.rows });
  const place = `${signaturesFolder(dataset.name)}/${createHash("sha256").update(what).digest("hex").slice(0, 16)}`;
  const pathOf = (file: DataFile): string => `${place}/${basename(file.path)}`;
  const there = new Set<string>();
  for await (const { path } of store.list(place)) there.add(path);
  for (const file of files) {
    const path = pathOf(file);
    if (there.delete(path)) continue;
    const relation = await dataset.relation(undefined, [file], { rowNumber: true });
    const landed = await engine.land({
      payload: {
        form: "columns",
        columns: sketchColumns(bands.names),
        batches: sketchTexts(
          engine,
          `(SELECT * FROM (SELECT file_row_number AS r, 0 AS p, ${normalText(question.text)} AS t FROM ${relation}) WHERE length(t) >= ${shortest})`,
          bands,
          signal,
        ),
      },
      columns: assignFieldIds(sketchColumns(bands.names)),
      folder,
      prefix: `sketch-${randomUUID()}`,
      fileBytes: Number.MAX_SAFE_INTEGER,
      ...(signal ? { signal } : {}),
    });
    await keep(store, landed.files[0]?.path, path, { folder, columns: sketchColumns(bands.names) }, engine);
  }
  for (const path of there) await store.remove(path);
  return files.map(pathOf);
}

/** A file without any text to compare gets an empty one, so that it is not read again. */
async function keep(
  store: Store,
  made: string | undefined,
  path: string,
  { folder, columns }: { folder: string; columns: readonly Column[] },
  engine: NearEngine,
): Promise<void> {
  let file = made;
  if (file === undefined) {
    file = join(folder, `sketch-${randomUUID()}.parquet`);
    const list = columns.map(({ name, type }) => `0::${type === "long" ? "BIGINT" : "INTEGER"} AS ${name}`);
    await engine.export(`SELECT ${list.join(", ")} WHERE false`, file, "FORMAT parquet");
  }
  try {
    await store.adopt(file, path);
  } finally {
    await rm(file, { force: true });
  }
}

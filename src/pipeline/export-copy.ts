import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { sqlName, sqlString, type Sql } from "../core/index.ts";
import { fileSha256, type Engine } from "../engine/index.ts";
import type { WrittenField } from "../feed/export/format.ts";
import { textualColumn } from "../feed/export/json-sql.ts";
import { assertFinite, measureColumns } from "../feed/export/measure.ts";
import type { ExportedFile } from "../feed/export/shard.ts";
import { countRows, suffixOf, type ExportWriter, type WritePart, type WriterSubject } from "./export-writer.ts";
import { withoutFormulas } from "./formulas.ts";
import type { LakeHandles } from "./lake.ts";
import { openFormat } from "./modules.ts";

/** Formats that the engine writes itself. */
export async function copyWriter(lake: LakeHandles, format: string, subject: WriterSubject): Promise<ExportWriter> {
  const { dataset, version, rows, folder, options } = subject;
  const { signal, shardBytes } = options;
  const name = format === "jsonl" ? "ndjson" : format;
  const copy = format === "arrow" ? undefined : (await openFormat(lake.registry, name, {})).copy;
  // One thread writes one file after the other in order; several would each have files of their own.
  const threads = shardBytes === undefined || copy === undefined ? {} : { threads: 1 };
  const engine = await lake.orderedEngine({ ...threads, folders: [folder] });
  if (format === "arrow") await assertTimes(engine, subject);
  const names = rows.columns.map((column) => sqlName(column.name));
  const isDelimited = format === "csv" || format === "tsv";
  const isText = isDelimited || format === "json" || format === "jsonl";
  const cells = isText ? rows.columns.map((each) => textualColumn(each, isDelimited ? "delimited" : "json")) : [];
  const guard = isDelimited && options.escapeFormulas !== false;
  const selectOf = (split: string | undefined): Sql => {
    const stored = `SELECT ${names.join(", ")} ${rows.from(split)}`;
    if (!isText) return stored;
    const plain = `SELECT ${cells.map(({ sql }, index) => `${sql} AS ${names[index]!}`).join(", ")} FROM (${stored})`;
    return guard ? withoutFormulas(plain, rows.columns) : plain;
  };
  const rowGroups = async (): Promise<string> =>
    format === "parquet" ? `, ROW_GROUP_SIZE ${await rowGroupRows(engine, subject)}` : "";
  const write = async ({ split, prefix, onProgress }: WritePart): Promise<ExportedFile[]> => {
    const base = `${dataset.name}@${version.number}${suffixOf(options, split)}`;
    const target = join(folder, prefix);
    await mkdir(target, { recursive: true });
    const select = selectOf(split);
    if (copy === undefined) {
      const { writeArrowFiles } = await import("../feed/arrow.ts");
      const name = (file: number): string =>
        shardBytes === undefined ? `${base}.arrow` : `${base}-${String(file).padStart(5, "0")}.arrow`;
      const path = (file: number): string => join(target, name(file));
      const options = { path, fileBytes: shardBytes, signal, onProgress };
      const files = await writeArrowFiles(engine, select, rows.columns, options);
      return files.map((file, index): ExportedFile => ({ path: `${prefix}${name(index)}`, ...file }));
    }
    if (shardBytes === undefined) {
      const path = join(target, `${base}.${format}`);
      const count = await engine.export(select, path, `${copy}${await rowGroups()}`, signal);
      return [await describeFile(path, `${prefix}${base}.${format}`, count)];
    }
    const parts = join(target, "parts");
    const sharded = `${copy}${await rowGroups()}, FILE_SIZE_BYTES ${shardBytes}, FILENAME_PATTERN 'part-{i}', FILE_EXTENSION ${sqlString(format)}`;
    const total = await engine.export(select, parts, sharded, signal);
    const files: ExportedFile[] = [];
    const names = await partsOf(parts);
    for (const file of names) {
      const count = names.length === 1 ? total : await countIn(engine, join(parts, file), format);
      // The engine begins a file before it knows whether there are rows for it.
      if (count === 0 && names.length > 1) continue;
      const shard = `${base}-${String(files.length).padStart(5, "0")}.${format}`;
      await rename(join(parts, file), join(target, shard));
      files.push(await describeFile(join(target, shard), `${prefix}${shard}`, count));
    }
    await rm(parts, { recursive: true });
    return files;
  };
  return {
    written: rows.columns.map((column, index): WrittenField => {
      const meaning = cells[index]?.meaning;
      return { column: column.name, as: format, ...(meaning !== undefined && { meaning }) };
    }),
    count: (split) => countRows(engine, rows.unordered(split), signal),
    write,
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
}

/** Arrow's times are numbers, which have no infinity. */
async function assertTimes(engine: Engine, { rows, options }: WriterSubject): Promise<void> {
  const { files, relation } = rows;
  const columns = rows.columns.filter(({ type }) => type === "date" || type === "timestamp" || type === "timestamptz");
  assertFinite(await measureColumns(engine, { columns, files, relation, media: false, signal: options.signal }));
}

async function describeFile(path: string, name: string, rows: number): Promise<ExportedFile> {
  const file = await open(path, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  return { path: name, rows, bytes: (await stat(path)).size, sha256: await fileSha256(path) };
}

/** Files of the engine in their order: it numbers them without zeros before. */
async function partsOf(folder: string): Promise<string[]> {
  const place = (name: string): number => Number(/\d+/.exec(name)![0]);
  return (await readdir(folder)).toSorted((left, right) => place(left) - place(right));
}

/** The engine's own, and its vectors, of which a row group is made. */
const [largestRowGroup, vectorRows] = [122_880, 2048];
/** A row group is in memory until it is written. */
const rowGroupBytes = 32e6;

/** Rows of a row group: bounded in bytes, and such that a shard has several, because the engine looks at its size after each. */
async function rowGroupRows(engine: Engine, { rows, options }: WriterSubject): Promise<number> {
  const { shardBytes = Infinity, signal } = options;
  const stored = rows.files.reduce((sum, file) => sum + file.bytes, 0);
  const count = rows.files.reduce((sum, file) => sum + file.rows, 0);
  if (count === 0) return largestRowGroup;
  const lengths = rows.columns.map(({ name, type }) => {
    if (type === "string") return `coalesce(strlen(${sqlName(name)}), 0)`;
    if (type === "binary") return `coalesce(octet_length(${sqlName(name)}), 0)`;
    return typeof type === "string" ? "8" : `coalesce(strlen(to_json(${sqlName(name)})::VARCHAR), 0)`;
  });
  const [sample] = await engine.query(
    `SELECT avg(${lengths.join(" + ")}) AS bytes FROM (SELECT * FROM ${rows.relation} LIMIT ${vectorRows})`,
    signal,
  );
  // Compressed they are hardly longer than not: what the sample did not see.
  const bytes = Math.max(Number(sample?.["bytes"] ?? 0), stored / count, 1);
  const wanted = Math.min(rowGroupBytes / bytes, (shardBytes * count) / stored / 4);
  return Math.min(largestRowGroup, Math.max(vectorRows, Math.floor(wanted / vectorRows) * vectorRows));
}

async function countIn(engine: Engine, path: string, format: string): Promise<number> {
  if (format === "parquet") {
    const [row] = await engine.query(`SELECT count(*) AS rows FROM read_parquet(${sqlString(path)})`);
    return Number(row!["rows"]);
  }
  return countRecords(path, format);
}

const emptyArray = "[\n\t\n]\n";

/** Records of a text file as the engine writes it, by its line ends: those of CSV may be inside of quotes. */
async function countRecords(path: string, format: string): Promise<number> {
  const quotes = format === "csv" || format === "tsv";
  let [ends, isQuoted] = [0, false];
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    const bytes = chunk as Buffer;
    if (!quotes) {
      for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) ends++;
      continue;
    }
    for (const byte of bytes) {
      if (byte === 0x22) isQuoted = !isQuoted;
      else if (byte === 10 && !isQuoted) ends++;
    }
  }
  // Above the records of CSV stand the names, around those of a JSON array its brackets.
  if (format !== "json") return quotes ? ends - 1 : ends;
  return (await stat(path)).size === emptyArray.length ? 0 : ends - 2;
}

import {
  forEachLimited,
  isMillraceError,
  sqlName,
  type Column,
  type EngineView,
  type FileRef,
  type Inferred,
  type MillraceError,
} from "../../core/index.ts";
import { deathReason } from "../../sandbox/index.ts";
import type { FileColumns } from "./columns.ts";
import { convertColumns } from "./convert.ts";
import { isAssets, isText, openFormat, type FormatOptions, type OpenedFormat } from "./formats.ts";
import { isPlain, materialise, type Readable, type Reading } from "./members.ts";

/** Files that are read in the same way: format, dialect, header, columns. */
export interface Shape {
  format: string;
  /** Options of the format, settled. */
  options: FormatOptions;
  readables: Readable[];
}

export interface Looked {
  shapes: Shape[];
  columns: FileColumns[];
  /** Files that killed every parser they were given to, and the error that tells how. */
  poison: { readable: Readable; error: MillraceError }[];
}

export interface Looking extends Reading {
  engine: EngineView;
}

interface Group {
  opened: OpenedFormat;
  readables: Readable[];
}

/**
 * Looks into files and finds what they hold. Of delimited files with the same first line, and of JSON files, only a sample is
 * looked into; every other file is. Throws `parse` and the like, naming the file.
 */
export async function lookInto(
  readables: readonly Readable[],
  formatOptions: FormatOptions,
  context: Looking,
  signal: AbortSignal | undefined,
): Promise<Looked> {
  const groups = new Map<string, Group>();
  for (const readable of readables) {
    const native = isText(readable.format) && readable.format !== "excel";
    const { container } = readable.wrapping;
    const compressed = isPlain(readable.format, readable.wrapping) && (container === "gzip" || container === "zstd");
    const more: FormatOptions = compressed ? { ...formatOptions, compression: container } : { ...formatOptions };
    // Unpacked content is UTF-8, whatever the user said of the file.
    if (native) delete more.encoding;
    const key = JSON.stringify([readable.format, more, isAssets(readable.format) ? "" : likeness(readable)]);
    const group = groups.get(key);
    if (group !== undefined) group.readables.push(readable);
    else groups.set(key, { opened: await openFormat(readable.format, more), readables: [readable] });
  }

  const shapes = new Map<string, Shape>();
  const columns: FileColumns[] = [];
  const poison: Looked["poison"] = [];
  for (const { opened, readables: members } of groups.values()) {
    const known = opened.format.converter?.columns;
    if (known !== undefined) {
      columns.push({ file: members[0]!.name, columns: [...known], guessed: false, empty: async () => new Set() });
      const key = JSON.stringify([opened.name, opened.options]);
      shapes.set(key, { format: opened.name, options: opened.options, readables: members });
      continue;
    }
    // Each JSON document is looked into: whether it is whole is found out there.
    const sampled =
      isText(opened.name) && opened.name !== "json" ? evenly(members, context.options.sample_files) : members;
    const found = new Map<Readable, Inferred>();
    await forEachLimited(sampled, 4, async (readable) => {
      try {
        found.set(readable, await inferOne(readable, opened, context, signal));
      } catch (error) {
        if (!isMillraceError(error) || deathReason(error) === undefined) throw error;
        poison.push({ readable, error });
      }
    });
    for (const readable of sampled) {
      const inferred = found.get(readable);
      if (inferred === undefined) continue;
      columns.push({
        file: readable.name,
        columns: inferred.columns,
        guessed: isText(opened.name),
        empty: once(() => emptyColumns(readable, opened, inferred, context, signal)),
      });
    }
    for (const readable of members) {
      const inferred = found.get(readable) ?? found.values().next().value;
      // An empty sheet: there is nothing to read. Poison: it is told of instead of read.
      if (inferred === undefined || inferred.columns.length === 0) continue;
      if (poison.some((each) => each.readable === readable)) continue;
      const settled: FormatOptions = {
        ...opened.options,
        ...inferred.options,
        ...(isTail(readable) ? { header: false, skip: 0 } : {}),
      };
      const key = JSON.stringify([opened.name, settled]);
      const shape = shapes.get(key);
      if (shape !== undefined) shape.readables.push(readable);
      else shapes.set(key, { format: opened.name, options: settled, readables: [readable] });
    }
  }
  return { shapes: [...shapes.values()], columns, poison };
}

/** What was added to delimited text has neither header nor preamble: dialect and names are those of the whole file. */
function isTail(readable: Readable): boolean {
  return (readable.wrapping.from ?? 0) > 0 && (readable.format === "csv" || readable.format === "tsv");
}

/** What files must have in common to be taken for alike without a look into each. */
function likeness(readable: Readable): string {
  if (readable.format === "json" || readable.format === "ndjson") return "";
  if ((readable.format === "csv" || readable.format === "tsv") && readable.head !== undefined) {
    const end = readable.head.indexOf(0x0a);
    // A first line that is not all there, or that is data, is like no other.
    if (end > 0) return readable.head.toString("latin1", 0, end).trim();
  }
  return readable.name;
}

function evenly<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) return [...items];
  return Array.from({ length: count }, (_, index) => items[Math.floor((index * items.length) / count)]!);
}

async function inferOne(
  readable: Readable,
  opened: OpenedFormat,
  context: Looking,
  signal: AbortSignal | undefined,
): Promise<Inferred> {
  const whole = isTail(readable) ? { ...readable, wrapping: { container: readable.wrapping.container } } : readable;
  const { file, release } = await fileRef(whole, context, signal);
  try {
    const { native, converter } = opened.format;
    if (converter !== undefined) {
      return { columns: await convertColumns(converter, file, opened.options, context.options, signal), options: {} };
    }
    if (native?.infer !== undefined) return await native.infer(file, context.engine);
    return { columns: await context.engine.describe(native!.scan([file])), options: {} };
  } finally {
    await release();
  }
}

/** The file as the engine opens it, until it is released. */
export async function fileRef(
  readable: Parameters<typeof materialise>[0] & Pick<Readable, "size">,
  reading: Reading,
  signal: AbortSignal | undefined,
): Promise<{ file: FileRef; release: () => Promise<void> }> {
  const { name, size, modified, etag } = readable;
  const { path, release } = await materialise(readable, reading, signal);
  return { file: { path, name, size, modified, etag }, release };
}

/** Rows to look at before a column counts as empty. */
const emptySample = 20_480;

/** The guessed columns of a file in which its first rows have nulls only. */
async function emptyColumns(
  readable: Readable,
  opened: OpenedFormat,
  inferred: Inferred,
  context: Looking,
  signal: AbortSignal | undefined,
): Promise<Set<string>> {
  const { format } = await openFormat(opened.name, { ...opened.options, ...inferred.options });
  const texts = inferred.columns
    .filter((column) => column.type === "string")
    .map((column): Column => ({ name: column.name, type: "string" }));
  if (format.native === undefined || texts.length === 0) return new Set();
  const { file, release } = await fileRef(readable, context, signal);
  const counts = texts.map((column, index) => `count(${sqlName(column.name)}) AS c${index}`).join(", ");
  try {
    const [row] = await context.engine.query(
      `SELECT ${counts} FROM (SELECT * FROM ${format.native.scan([file], texts)} LIMIT ${emptySample})`,
    );
    return new Set(texts.filter((_, index) => Number(row![`c${index}`]) === 0).map((column) => column.name));
  } catch {
    // Rows that do not parse are told when the file is read.
    return new Set();
  } finally {
    await release();
  }
}

function once<T>(action: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => (result ??= action());
}

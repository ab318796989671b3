import { setImmediate as nextTurn } from "node:timers/promises";
import { MillraceError, type Column, type Converted, type FileRef } from "../../core/index.ts";
import { AssetRows, type AssetConvertOptions } from "../asset-rows.ts";
import { createPulse } from "../media.ts";
import { headerOf } from "../values.ts";
import { FileBytes, MissingBytes, type Range } from "./bytes.ts";
import { columns, geotiffColumns } from "./columns.ts";
import { compressionOf, decoded, factsOf } from "./facts.ts";
import type { GeotiffOptions } from "./index.ts";
import { isPresent, readTiff, type Level, type Tiff, type Window } from "./levels.ts";
import { boundsOf, placeOf, type Place } from "./place.ts";
import { forgetAbove } from "./read.ts";
import { emptyRow, readRow } from "./row.ts";
import { rowsWanted, type RowPlace } from "./windows.ts";

/** What a caller gives that has parts of the file only, or knows more of it. */
export interface PartialFile {
  /** These bytes are there. Where others are wanted, `{ needs }` is all that is given. */
  present?: Range[];
  /** Columns before those of the format, and their values in every row. */
  extra?: { columns: Column[]; values: unknown[] };
}

export type Options = AssetConvertOptions & Partial<GeotiffOptions> & PartialFile;

/** The rows of one file. */
export default async function* convert(
  file: FileRef,
  options: Options,
): AsyncIterable<Converted | { needs: readonly Range[] }> {
  yield headerOf([...(options.columns ?? columns)]);
  const bytes = await FileBytes.open(file.path, options.present);
  try {
    yield* rowsOf(file, bytes, options);
  } catch (cause) {
    if (!(cause instanceof MissingBytes)) throw cause;
    // Reads that began together note what they miss one after the other.
    await nextTurn();
    yield { needs: bytes.missing };
  } finally {
    await bytes.close();
  }
}

async function* rowsOf(file: FileRef, bytes: FileBytes, options: Options): AsyncGenerator<Converted> {
  const { extra = { columns: [], values: [] } } = options;
  const rows = new AssetRows(file, options, [...extra.columns, ...geotiffColumns]);
  const pulse = createPulse();
  const tiff = await readTiff(bytes);
  const [whole] = tiff.levels as [Level, ...Level[]];
  const place = placeOf(whole.directory);
  const { values, nodata } = await factsOf(tiff, place);
  const facts = [...extra.values, ...values];
  const level = levelOf(tiff, options.overview ?? 0);
  const bands = bandsOf(level, options.bands);
  const wanted = rowsWanted(place, whole, level, options);
  const problem = problemOf(level, tiff.isLittle);
  const { statistics = true, pixels = "none" } = options;
  const isRead = problem === null && (statistics || pixels !== "none");
  if (isRead && options.present !== undefined) assertPresent(bytes, level, wanted(), bands);
  let previous = 0;
  for (const row of wanted()) {
    const own = [options.overview ?? 0, row.row, row.column, ...whereOf(place, whole, level, row)];
    if (isRead) {
      // Rows of tiles follow each other from top to bottom.
      const top = Math.min(...row.windows.map(([, y]) => y));
      if (Number.isFinite(top) && top >= previous) forgetAbove(level, (previous = top));
      let answer = emptyRow;
      for await (const piece of readRow(level, row.windows, bands, nodata, options)) {
        if (piece !== undefined) answer = piece;
        if (pulse()) yield { alive: true };
      }
      rows.add([...facts, answer.problem, ...own, ...answer.values]);
    } else rows.add([...facts, problem, ...own, ...emptyRow.values]);
    const ready = rows.take();
    if (ready !== undefined) yield ready;
    if (pulse()) yield { alive: true };
  }
  const rest = rows.take(true);
  if (rest !== undefined) yield rest;
  yield { rows: rows.rows };
}

function levelOf({ levels }: Tiff, overview: number): Level {
  const level = levels[overview];
  if (level !== undefined) return level;
  throw new MillraceError("value", `it has ${levels.length - 1} overviews, and \`overview\` is ${overview}`);
}

function bandsOf(level: Level, wanted: readonly number[] | undefined): number[] {
  const bands = wanted ?? Array.from({ length: level.bands }, (_, index) => index + 1);
  const absent = bands.find((band) => band > level.bands);
  if (absent === undefined) return bands.map((band) => band - 1);
  throw new MillraceError("value", `it has ${level.bands} bands, and \`bands\` names ${absent}`);
}

/** Why the pixels of a level are not read. The decoders of the library give some values in the order of this machine only. */
function problemOf(level: Level, isLittle: boolean): string | null {
  const { type } = level;
  if (type === undefined) return "its bands are not of one type that is known";
  if (!type.isRead) return `its values are of type ${type.name}, which is not read`;
  const compression = compressionOf(level);
  if (!decoded.has(compression)) return `its pixels are compressed as ${compression}, which is not read`;
  if (level.fillOrder === 2) return "its bits are in reverse order, which is not read";
  if (isLittle || type.bytes === 1) return null;
  if (compression === "lerc") return "its bytes are of the order that is not read with LERC";
  return level.predictor === 1 ? null : `its bytes are of the order that is not read with predictor ${level.predictor}`;
}

/** Throws `MissingBytes` when blocks of the wanted rows are elsewhere; the file notes all of them. */
function assertPresent(bytes: FileBytes, level: Level, rows: Iterable<RowPlace>, bands: readonly number[]): void {
  let all = true;
  for (const { windows } of rows) {
    for (const window of windows) {
      all = isPresent(bytes, level, window, bands) && all;
      if (level.mask !== undefined) all = isPresent(bytes, level.mask, window, [0]) && all;
    }
  }
  if (!all) throw new MissingBytes();
}

/** Window and bounds of a row, where it is in one piece. */
function whereOf(place: Place, whole: Level, level: Level, { windows }: RowPlace): unknown[] {
  const [window] = windows;
  if (window === undefined || windows.length > 1) return [null, null, null];
  return [window satisfies Window, ...boundsOf(place, whole, level, window)];
}

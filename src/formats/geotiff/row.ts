import type { GeotiffOptions } from "./index.ts";
import type { Level, Window } from "./levels.ts";
import { isPicture, pngOf } from "./png.ts";
import { forgetAbove, readWindow } from "./read.ts";
import { arrayName, Meter, type Values } from "./samples.ts";

/** As much as a value of a record may have. */
const maximumValue = 7 * 1024 ** 2;
/** Values that are held while they are measured. */
const pieceValues = 4 * 1024 ** 2;

/** What was read for one row: `problem`, and the columns from `nodata_share` on. */
export interface RowAnswer {
  problem: string | null;
  values: unknown[];
}

export const emptyRow: RowAnswer = { problem: null, values: [null, null, null, null, null, null] };

/** Reads the windows of a row piece by piece; gives undefined between pieces, and the answer last. */
export async function* readRow(
  level: Level,
  windows: readonly Window[],
  bands: readonly number[],
  nodata: number | null,
  options: Partial<GeotiffOptions>,
): AsyncGenerator<RowAnswer | undefined> {
  const { statistics = true, pixels = "none", max_pixels: maximumPixels = 1_000_000_000 } = options;
  const [first] = windows;
  if (first === undefined) return yield emptyRow;
  const count = windows.reduce((sum, [, , width, height]) => sum + width * height, 0);
  const bytes = count * bands.length * level.type!.bytes;
  const unfit = pixels === "none" ? null : unfitReason(windows.length, bytes);
  const keeps = pixels !== "none" && unfit === null;
  if (!keeps && !statistics) return yield { ...emptyRow, problem: unfit };
  if (count > maximumPixels) {
    yield {
      ...emptyRow,
      problem: `it has ${count} pixels, more than \`max_pixels\`: use \`overview\`, \`bbox\` or tiles`,
    };
    return;
  }
  const meters = bands.map(() => new Meter());
  let kept: Values[] = [];
  for (const window of windows) {
    for (const piece of keeps ? [window] : piecesOf(level, window, bands.length)) {
      const values = await readWindow(level, piece, bands);
      const mask = level.mask === undefined ? undefined : (await readWindow(level.mask, piece, [0]))[0];
      if (statistics) for (const [index, meter] of meters.entries()) meter.add(values[index]!, nodata, mask);
      if (keeps) kept = values;
      else forgetAbove(level, piece[1] + piece[3]);
      yield undefined;
    }
  }
  const picture = keeps && pixels === "png" && isPicture(kept);
  const noPicture = keeps && pixels === "png" && !picture ? noPictureReason(kept) : null;
  const isArray = keeps && pixels === "array";
  yield {
    problem: unfit ?? noPicture,
    values: [
      ...(statistics ? measuresOf(meters, bands) : [null, null]),
      isArray ? [bands.length, first[3], first[2]] : null,
      isArray ? arrayName(kept[0]!) : null,
      isArray ? joined(kept) : null,
      picture ? pngOf(kept, first[2], first[3]) : null,
    ],
  };
}

function unfitReason(windows: number, bytes: number): string | null {
  if (windows > 1) return "`bbox` meets it in two parts: use `rows: window`";
  return bytes > maximumValue
    ? `its pixels take ${bytes} bytes, more than 7 MiB a row: use smaller tiles, fewer bands or an overview`
    : null;
}

const noPictureReason = (values: readonly Values[]): string =>
  values.length > 4
    ? `a picture has up to 4 bands, not ${values.length}: choose some with \`bands\``
    : `${arrayName(values[0]!)} makes no picture: use \`pixels: array\``;

function measuresOf(meters: readonly Meter[], bands: readonly number[]): unknown[] {
  const measures = meters.map((meter) => meter.result());
  const total = measures.reduce((sum, { count }) => sum + count, 0);
  const absent = measures.reduce((sum, measure) => sum + measure.absent, 0);
  return [
    total === 0 ? null : absent / total,
    measures.map(
      (measure, index) =>
        new Map<string, number | null>([
          ["band", bands[index]! + 1],
          ["minimum", measure.minimum],
          ["maximum", measure.maximum],
          ["mean", measure.mean],
          ["nodata_share", measure.count === 0 ? null : measure.absent / measure.count],
        ]),
    ),
  ];
}

/** Bands one behind the other; this machine is little endian. */
function joined(values: readonly Values[]): Uint8Array {
  return Buffer.concat(
    values.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength)),
  );
}

/** Parts of a window, each of whole rows. They end with a block where blocks are small enough, so that none is decoded twice. */
function* piecesOf(level: Level, [x, y, width, height]: Window, bands: number): Generator<Window> {
  const rows = Math.max(1, Math.floor(pieceValues / (width * bands)));
  const block = rows < level.blockHeight ? 1 : level.blockHeight;
  for (let top = y; top < y + height;) {
    const next = Math.min(y + height, Math.floor((top + rows) / block) * block);
    yield [x, top, width, next - top];
    top = next;
  }
}

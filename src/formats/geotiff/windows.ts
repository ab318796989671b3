import { MillraceError } from "../../core/index.ts";
import type { GeotiffOptions } from "./index.ts";
import type { Level, Window } from "./levels.ts";
import { windowsOf, type Place } from "./place.ts";

/** One row to be: where it lies in the grid of tiles, and the parts of the image that it is made of. */
export interface RowPlace {
  row: number | null;
  column: number | null;
  windows: Window[];
}

const maximumRows = 1_000_000;

/** The rows of a file, from top to bottom, as often as they are asked for. Throws `unsupported` when `bbox` cannot be applied. */
export function rowsWanted(
  place: Place,
  whole: Level,
  level: Level,
  options: Partial<GeotiffOptions>,
): () => Iterable<RowPlace> {
  const { rows = "file", tile = 256, bbox } = options;
  if (bbox !== undefined && place.problem !== null)
    throw new MillraceError("unsupported", `\`bbox\` cannot be applied: ${place.problem}`);
  const all: Window = [0, 0, level.width, level.height];
  const windows = bbox === undefined ? [all] : windowsOf(place, whole, level, bbox);
  if (rows === "file") return () => [{ row: null, column: null, windows }];
  if (rows === "window") return () => windows.map((window) => ({ row: null, column: null, windows: [window] }));
  const count = Math.ceil(level.width / tile) * Math.ceil(level.height / tile);
  if (bbox === undefined && count > maximumRows) {
    throw new MillraceError("limit", `it has ${count} tiles, more than ${maximumRows}`, {
      hint: "use larger tiles, an overview, or `bbox`",
    });
  }
  return () => tilesOf(level, tile, windows);
}

function* tilesOf(level: Level, side: number, windows: readonly Window[]): Generator<RowPlace> {
  let given = 0;
  for (let row = 0; row * side < level.height; row++) {
    const y = row * side;
    const height = Math.min(side, level.height - y);
    const met = windows.filter((window) => window[1] < y + height && y < window[1] + window[3]);
    if (met.length === 0) continue;
    const first = Math.floor(Math.min(...met.map((window) => window[0])) / side);
    const end = Math.max(...met.map((window) => window[0] + window[2]));
    for (let column = first; column * side < end; column++) {
      const x = column * side;
      const width = Math.min(side, level.width - x);
      if (!met.some((window) => window[0] < x + width && x < window[0] + window[2])) continue;
      if (++given > maximumRows) throw new MillraceError("limit", `it has more than ${maximumRows} tiles in \`bbox\``);
      yield { row, column, windows: [[x, y, width, height]] };
    }
  }
}

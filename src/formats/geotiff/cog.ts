import type { Level, Tiff } from "./levels.ts";

/** Images up to this many pixels a side need neither tiles nor overviews. */
const smallSide = 512;

/**
 * Why a file is no cloud-optimised GeoTIFF; null for one that is. The rules are those of GDAL's validator
 * (https://gdal.org/drivers/raster/cog.html): tiles, overviews, directories at the begin, and blocks in the order of the overviews, the
 * smallest first.
 */
export function cogProblemOf({ levels, isBig, pages }: Tiff, ghost: string): string | null {
  const [whole, ...overviews] = levels as [Level, ...Level[]];
  if (pages > 1) return "it holds more than one image";
  const isLarge = whole.width > smallSide || whole.height > smallSide;
  if (isLarge && !whole.isTiled) return "it is larger than 512 pixels and has no tiles";
  if (isLarge && overviews.length === 0) return "it is larger than 512 pixels and has no overviews";
  const start = isBig ? 16 : 8;
  const first = start + ghostBytes(ghost);
  if (whole.at > first + 1) return `its first directory is at byte ${whole.at}, not at the begin`;
  for (const [index, overview] of overviews.entries()) {
    if (overview.at < levels[index]!.at)
      return `the directory of overview ${index + 1} is before that of the larger image`;
    if ((overview.width > smallSide || overview.height > smallSide) && !overview.isTiled)
      return `overview ${index + 1} has no tiles`;
  }
  const starts = levels.map(firstBlock);
  const last = Math.max(...levels.map(({ at }) => at));
  for (const [index, at] of starts.entries()) {
    if (at === undefined) continue;
    if (at < last) return "its pixels begin before its last directory";
    const smaller = starts.slice(index + 1).find((each) => each !== undefined);
    if (smaller !== undefined && at < smaller) {
      return index === 0
        ? "its pixels are before those of its overviews"
        : `the pixels of overview ${index} are before those of smaller ones`;
    }
  }
  return null;
}

/** What GDAL writes between the header and the first directory. */
function ghostBytes(text: string): number {
  const [line, size] = /^GDAL_STRUCTURAL_METADATA_SIZE=(\d+) bytes\n/.exec(text) ?? [];
  return line === undefined ? 0 : line.length + Number(size);
}

/** Where the first block begins that has bytes. */
function firstBlock({ offsets, lengths }: Level): number | undefined {
  for (let index = 0; index < offsets.length; index++) if ((lengths[index] ?? 0) > 0) return offsets[index];
  return undefined;
}

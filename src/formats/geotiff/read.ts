import { damaged, type Level, type Window } from "./levels.ts";
import type { Values } from "./samples.ts";

/** The bands (from 0) of a window, as they are stored. Throws `parse` for blocks that are damaged. */
export async function readWindow(level: Level, window: Window, bands: readonly number[]): Promise<Values[]> {
  const [x, y, width, height] = window;
  const isYcbcr = level.photometric === 6 && level.compression === 7 && level.bands === 3 && !level.isPlanar;
  try {
    const given = (await level.image.readRasters({
      window: [x, y, x + width, y + height],
      samples: isYcbcr ? [0, 1, 2] : [...bands],
      interleave: false,
    })) as unknown as Values[];
    return isYcbcr ? bands.map((band) => rgbOf(given)[band]!) : [...given];
  } catch (cause) {
    throw damaged(cause);
  }
}

/** Decoded blocks that are kept for neighbouring windows, bytes. */
const keptBytes = 256 * 1024 ** 2;

/** Lets go of decoded blocks: those above a row of pixels are not needed again by who reads from top to bottom. */
export function forgetAbove(level: Level, y: number): void {
  const kept = level.image.tiles;
  if (kept === null) return;
  const { blockWidth, blockHeight, isPlanar, bands, type } = level;
  const perRow = Math.ceil(level.width / blockWidth);
  const perBand = perRow * Math.ceil(level.height / blockHeight);
  const row = Math.floor(y / blockHeight);
  const blocks = Object.keys(kept).map(Number);
  const bytes = blockWidth * blockHeight * (type?.bytes ?? 1) * (isPlanar ? 1 : bands);
  const isFull = blocks.length * bytes > keptBytes;
  const rest: typeof kept = [];
  for (const block of blocks) if (!isFull && Math.floor((block % perBand) / perRow) >= row) rest[block] = kept[block]!;
  level.image.tiles = rest;
}

/** JFIF: JPEG within TIFF keeps luminance and colour differences, which are no bands. */
function rgbOf([luma, blue, red]: readonly Values[]): Values[] {
  const result = [0, 1, 2].map(() => new Uint8ClampedArray(luma!.length));
  for (let index = 0; index < luma!.length; index++) {
    const [light, cb, cr] = [luma![index]!, blue![index]! - 128, red![index]! - 128];
    result[0]![index] = light + 1.402 * cr;
    result[1]![index] = light - 0.344136 * cb - 0.714136 * cr;
    result[2]![index] = light + 1.772 * cb;
  }
  return result.map((values) => new Uint8Array(values.buffer));
}

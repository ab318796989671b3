import { readFileSync } from "node:fs";
import sharp from "sharp";
import { messageOf } from "../../core/errors.ts";

sharp.cache(false);

/** An image with more pixels is refused. */
const limitInputPixels = 268_402_689;

export interface PixelsSpec {
  width: number;
  height: number;
  fit: "cover" | "contain" | "fill";
  kernel: "nearest" | "linear" | "cubic" | "lanczos3";
}

/**
 * Runs in the sandbox: the images of a file, one after the other with these lengths, as red, green and blue of a byte, row by row. A message
 * follows each, with what is wrong with it or nothing.
 */
export default async function* read(
  path: string,
  lengths: readonly number[],
  { width, height, fit, kernel }: PixelsSpec,
): AsyncIterable<Uint8Array | { problem?: string }> {
  const bytes = readFileSync(path);
  let at = 0;
  for (const length of lengths) {
    const encoded = bytes.subarray(at, at + length);
    at += length;
    let pixels: Uint8Array;
    try {
      pixels = await sharp(encoded, { limitInputPixels, failOn: "truncated", sequentialRead: true })
        .autoOrient()
        .resize(width, height, { fit, kernel, background: "#000000" })
        .flatten({ background: "#ffffff" })
        .toColourspace("srgb")
        .removeAlpha()
        .raw({ depth: "uchar" })
        .toBuffer();
    } catch (error) {
      yield { problem: messageOf(error).split("\n")[0]! };
      continue;
    }
    yield pixels;
    yield {};
  }
}

import { readFileSync } from "node:fs";
import sharp from "sharp";
import { messageOf } from "../../core/errors.ts";
import type { ImageOptions } from "./spec.ts";

sharp.cache(false);
// Several processes decode side by side.
sharp.concurrency(1);

/** An image with more pixels is refused. */
const limitInputPixels = 268_402_689;

/**
 * Runs in the sandbox: the images of a file, one after the other with these lengths, as samples of a byte. A message follows each, with what
 * is wrong with it or nothing.
 */
export default async function* decode(
  path: string,
  lengths: readonly number[],
  spec: Required<ImageOptions>,
): AsyncIterable<Uint8Array | { problem?: string }> {
  const bytes = readFileSync(path);
  let at = 0;
  for (const length of lengths) {
    const encoded = bytes.subarray(at, at + length);
    at += length;
    let pixels: Uint8Array;
    try {
      pixels = await pixelsOf(encoded, spec);
    } catch (error) {
      yield { problem: messageOf(error).split("\n")[0]! };
      continue;
    }
    yield pixels;
    yield {};
  }
}

async function pixelsOf(encoded: Uint8Array, spec: Required<ImageOptions>): Promise<Uint8Array> {
  const { width, height, channels, layout, fit } = spec;
  const { data, info } = await sharp(encoded, { limitInputPixels, failOn: "truncated", sequentialRead: true })
    .autoOrient()
    .resize(width, height, { fit, background: "#000000" })
    .flatten({ background: "#ffffff" })
    .toColourspace(channels === 1 ? "b-w" : "srgb")
    .removeAlpha()
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  if (info.width !== width || info.height !== height) throw new Error(`it is ${info.width} × ${info.height} pixels`);
  const samples = new Uint8Array(width * height * channels);
  // A grey image has one channel whatever the colour space; red, green and blue are then the same.
  const source = (pixel: number, channel: number): number =>
    data[pixel * info.channels + Math.min(channel, info.channels - 1)]!;
  if (layout === "hwc" && info.channels === channels) return data;
  const pixels = width * height;
  for (let pixel = 0; pixel < pixels; pixel++) {
    for (let channel = 0; channel < channels; channel++) {
      samples[layout === "hwc" ? pixel * channels + channel : channel * pixels + pixel] = source(pixel, channel);
    }
  }
  return samples;
}

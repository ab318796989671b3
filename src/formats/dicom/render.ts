import sharp from "sharp";
import { tagOf } from "./dictionary.ts";
import type { Layout } from "./frames.ts";
import type { Frame, Samples } from "./samples.ts";
import type { DataSet } from "./read.ts";
import { valuesOf } from "./values.ts";

sharp.cache(false);
// Files are read side by side in several processes.
sharp.concurrency(1);

export interface Rescale {
  slope: number;
  intercept: number;
}
export interface Window {
  center: number;
  width: number;
}

/**
 * Stored samples in the unit of the modality: integers where nothing is lost by it, else floating point. The type is the same for all
 * frames of a file, and of files that are stored alike.
 */
export function rescaled({ samples }: Frame, layout: Layout, { slope, intercept }: Rescale): Samples {
  if ((slope === 1 && intercept === 0) || layout.samples !== 1) return samples;
  const length = samples.length;
  if (slope === 1 && Number.isInteger(intercept) && !layout.float && layout.bitsStored <= 24) {
    const values = 2 ** layout.bitsStored;
    const lowest = (layout.signed ? -values / 2 : 0) + intercept;
    const isShort = lowest >= -32_768 && lowest + values - 1 <= 32_767;
    const result = isShort ? new Int16Array(length) : new Int32Array(length);
    for (let index = 0; index < length; index++) result[index] = samples[index]! + intercept;
    return result;
  }
  const result = layout.bitsStored > 16 ? new Float64Array(length) : new Float32Array(length);
  for (let index = 0; index < length; index++) result[index] = samples[index]! * slope + intercept;
  return result;
}

/** A PNG of 8 bits whose longest side is at most `size` pixels (0: as large as the frame). */
export async function picture(
  data: DataSet,
  frame: Frame,
  layout: Layout,
  rescale: Rescale,
  window: Window | undefined,
  size: number,
): Promise<Buffer> {
  const { rows: height, columns: width } = frame;
  const palette = layout.photometric === "PALETTE COLOR" ? paletteOf(data) : undefined;
  const isColour = frame.channels === 3 || palette !== undefined;
  const shown =
    palette?.(frame.samples) ??
    (isColour ? colour(frame.samples, layout) : grey(frame.samples, layout, rescale, window));
  const image = sharp(shown, { raw: { width, height, channels: isColour ? 3 : 1 }, limitInputPixels: false });
  const fitted = size === 0 ? image : image.resize(size, size, { fit: "inside", withoutEnlargement: true });
  return (isColour ? fitted : fitted.toColourspace("b-w")).png().toBuffer();
}

/** The linear function of PS3.3, C.11.2.1.2.1. */
function grey(samples: Samples, layout: Layout, { slope, intercept }: Rescale, window: Window | undefined): Uint8Array {
  const { center, width } = window ?? rangeOf(samples, slope, intercept);
  const result = new Uint8ClampedArray(samples.length);
  const span = Math.max(width - 1, 1e-9);
  const inverted = layout.photometric === "MONOCHROME1";
  for (let index = 0; index < samples.length; index++) {
    const share = (samples[index]! * slope + intercept - (center - 0.5)) / span + 0.5;
    result[index] = 255 * (inverted ? 1 - share : share);
  }
  return new Uint8Array(result.buffer);
}

function rangeOf(samples: Samples, slope: number, intercept: number): Window {
  let least = Infinity;
  let most = -Infinity;
  for (const sample of samples) {
    if (sample < least) least = sample;
    if (sample > most) most = sample;
  }
  const ends = [least * slope + intercept, most * slope + intercept];
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  return { center: (low + high) / 2 + 0.5, width: high - low + 1 };
}

function colour(samples: Samples, { bitsStored }: Layout): Uint8Array {
  if (samples instanceof Uint8Array && bitsStored === 8) return samples;
  const scale = 255 / (2 ** bitsStored - 1);
  return Uint8Array.from(samples, (sample) => Math.round(sample * scale));
}

const tables = ["Red", "Green", "Blue"].map((name) => ({
  descriptor: tagOf(`${name}PaletteColorLookupTableDescriptor`),
  data: tagOf(`${name}PaletteColorLookupTableData`),
}));

/** Samples as colours of the palette of the file (PS3.3, C.7.6.3.1.5 and .6); undefined when it has none that is whole. */
function paletteOf(data: DataSet): ((samples: Samples) => Uint8Array) | undefined {
  const luts = tables.map((tags) => {
    const descriptor = data.elements.get(tags.descriptor);
    const element = data.elements.get(tags.data);
    const [entries, first, bits] = descriptor === undefined ? [] : (valuesOf(data, descriptor, []) ?? []);
    if (element === undefined || typeof entries !== "number" || typeof first !== "number") return undefined;
    const count = (entries & 0xffff) === 0 ? 65_536 : entries & 0xffff;
    const length = element.end - element.start;
    const isWide = length >= count * 2;
    if (!isWide && length < count) return undefined;
    const lut = Uint8Array.from({ length: count }, (_, index) => {
      const at = element.start + (isWide ? 2 * index : index);
      if (!isWide) return data.bytes[at]!;
      const value = element.little ? data.bytes.readUInt16LE(at) : data.bytes.readUInt16BE(at);
      return bits === 8 ? value & 0xff : value >> 8;
    });
    return { lut, first };
  });
  if (luts.includes(undefined)) return undefined;
  return (samples) => {
    const result = new Uint8Array(samples.length * 3);
    for (const [channel, table] of luts.entries()) {
      const { lut, first } = table!;
      for (let index = 0; index < samples.length; index++) {
        result[index * 3 + channel] = lut[Math.max(0, Math.min(lut.length - 1, samples[index]! - first))]!;
      }
    }
    return result;
  };
}

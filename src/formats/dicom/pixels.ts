import { MillraceError } from "../../core/index.ts";
import { decodeCoded } from "./codecs.ts";
import { bitsOfFrame, codedFrames, type Layout } from "./frames.ts";
import type { DataSet } from "./read.ts";
import { decodeRle } from "./rle.ts";
import { fromYbr, narrowed, type Frame, type Samples } from "./samples.ts";
import { codingOf } from "./syntaxes.ts";

/** Gives frames as they are asked for. Throws `unsupported` for a coding that there is no decoder for. */
export function frameReader(data: DataSet, layout: Layout): (index: number) => Promise<Frame> {
  const coding = codingOf(data.syntax);
  if (coding === undefined)
    throw new MillraceError("unsupported", `there is no decoder for the transfer syntax ${data.syntax}`);
  const { element } = layout;
  if (coding === "none" || element.fragments === undefined) {
    const bits = bitsOfFrame(layout);
    const all = ordered(data.bytes.subarray(element.start, element.end), layout);
    return async (index) => {
      const from = Math.floor((index * bits) / 8);
      const to = Math.ceil(((index + 1) * bits) / 8);
      if (to > all.length) throw new MillraceError("parse", `frame ${index} is not there: the pixel data ends early`);
      return native(layout, all.subarray(from, to), (index * bits) % 8);
    };
  }
  const frames = codedFrames(data, layout);
  return async (index) => {
    const coded = frames[index];
    if (coded === undefined)
      throw new MillraceError("parse", `frame ${index} is not there: the pixel data has ${frames.length}`);
    if (coding !== "rle") return decodeCoded(coding, coded, layout);
    const { rows, columns, samples, bitsAllocated } = layout;
    const bytes = decodeRle(coded, rows * columns, samples, bitsAllocated / 8);
    return native({ ...layout, planar: false }, bytes, 0);
  };
}

/** Bytes in little-endian order. */
function ordered(bytes: Buffer, { element, bitsAllocated }: Layout): Buffer {
  if (element.little) return bytes;
  // Samples of a byte lie in words where the element says words.
  const word = bitsAllocated > 8 ? bitsAllocated / 8 : element.vr === "OW" ? 2 : 1;
  const copy = Buffer.from(bytes.subarray(0, bytes.length - (bytes.length % word)));
  return word === 2 ? copy.swap16() : word === 4 ? copy.swap32() : word === 8 ? copy.swap64() : copy;
}

/** Samples of bytes that are not coded; `bit` is where the first one begins in its byte when a sample is a bit. */
function native(layout: Layout, bytes: Buffer, bit: number): Frame {
  const { rows, columns, samples, photometric } = layout;
  if (photometric === "YBR_FULL_422" && samples === 3 && !layout.planar) {
    return { rows, columns, channels: 3, samples: fromYbr(wide422(bytes, rows * columns)) };
  }
  let values = stored(layout, bytes, rows * columns * samples, bit);
  if (samples === 1) return { rows, columns, channels: 1, samples: values };
  if (layout.planar) values = interleaved(values, samples);
  if (samples === 4) values = values.filter((_, index) => index % 4 !== 3) as Samples;
  if (photometric === "YBR_FULL" && values instanceof Uint8Array) values = fromYbr(values);
  return { rows, columns, channels: 3, samples: values };
}

/** Samples as numbers of their own width: bits that are not stored are none of theirs. */
function stored(layout: Layout, bytes: Buffer, count: number, bit: number): Samples {
  const { bitsAllocated, signed, float } = layout;
  if (bitsAllocated === 1) {
    return Uint8Array.from({ length: count }, (_, index) => (bytes[(bit + index) >> 3]! >> ((bit + index) & 7)) & 1);
  }
  // Typed arrays begin at a multiple of their width.
  const buffer = new Uint8Array(count * (bitsAllocated / 8));
  buffer.set(bytes.subarray(0, buffer.length));
  if (float) return bitsAllocated === 64 ? new Float64Array(buffer.buffer) : new Float32Array(buffer.buffer);
  if (bitsAllocated === 8) return narrowed(signed ? new Int8Array(buffer.buffer) : buffer, layout);
  if (bitsAllocated === 16)
    return narrowed(signed ? new Int16Array(buffer.buffer) : new Uint16Array(buffer.buffer), layout);
  return narrowed(signed ? new Int32Array(buffer.buffer) : new Uint32Array(buffer.buffer), layout);
}

/** Planes one after the other as pixels one after the other. */
function interleaved(values: Samples, samples: number): Samples {
  const pixels = values.length / samples;
  const result = values.slice();
  for (let sample = 0; sample < samples; sample++) {
    for (let pixel = 0; pixel < pixels; pixel++) result[pixel * samples + sample] = values[sample * pixels + pixel]!;
  }
  return result;
}

/** Y1 Y2 Cb Cr as two pixels of three samples (PS3.3, C.7.6.3.1.2). */
function wide422(bytes: Buffer, pixels: number): Uint8Array {
  const wide = new Uint8Array(pixels * 3);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const at = (pixel >> 1) * 4;
    wide[pixel * 3] = bytes[at + (pixel & 1)]!;
    wide[pixel * 3 + 1] = bytes[at + 2]!;
    wide[pixel * 3 + 2] = bytes[at + 3]!;
  }
  return wide;
}

import { MillraceError } from "../../core/index.ts";

/**
 * RLE of PS3.5, annex G: a header of 64 bytes with the count of segments and where each begins; a segment is one byte of one sample of
 * all pixels, the highest byte first, coded as PackBits. Gives samples one after the other, little endian, pixel by pixel.
 */
export function decodeRle(coded: Buffer, pixels: number, samples: number, bytesOfSample: number): Buffer {
  const segments = samples * bytesOfSample;
  if (coded.length < 64 || coded.readUInt32LE(0) !== segments)
    throw new MillraceError("parse", "its run lengths are not those of its samples");
  const output = Buffer.alloc(pixels * segments);
  for (let segment = 0; segment < segments; segment++) {
    const start = coded.readUInt32LE(4 + 4 * segment);
    const end = segment + 1 < segments ? coded.readUInt32LE(8 + 4 * segment) : coded.length;
    if (start < 64 || start > end || end > coded.length)
      throw new MillraceError("parse", "its run lengths are damaged");
    const sample = Math.floor(segment / bytesOfSample);
    const byte = bytesOfSample - 1 - (segment % bytesOfSample);
    if (unpack(coded, start, end, output, sample * bytesOfSample + byte, segments) < pixels)
      throw new MillraceError("parse", "its run lengths end early");
  }
  return output;
}

/** PackBits to every `step`-th byte from `at` on. Gives how many bytes came out. */
function unpack(coded: Buffer, start: number, end: number, output: Buffer, at: number, step: number): number {
  let written = 0;
  let target = at;
  for (let source = start; source < end && target < output.length;) {
    const head = coded.readInt8(source++);
    if (head === -128) continue;
    if (head >= 0) {
      for (let count = 0; count <= head && source < end && target < output.length; count++) {
        output[target] = coded[source++]!;
        target += step;
        written++;
      }
      continue;
    }
    const value = coded[source++];
    if (value === undefined) break;
    for (let count = 0; count <= -head && target < output.length; count++) {
      output[target] = value;
      target += step;
      written++;
    }
  }
  return written;
}

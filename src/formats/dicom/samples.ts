import type { Layout } from "./frames.ts";

export type Samples =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

export interface Frame {
  rows: number;
  columns: number;
  /** Of one pixel: 1, or 3 in colour, side by side and as red, green and blue. */
  channels: 1 | 3;
  samples: Samples;
}

/** Values of the bits that are stored, in place. */
export function narrowed<T extends Samples>(values: T, { bitsAllocated, bitsStored, highBit, signed }: Layout): T {
  if (bitsStored === bitsAllocated || bitsAllocated > 16) return values;
  const shift = Math.max(0, highBit + 1 - bitsStored);
  const mask = (1 << bitsStored) - 1;
  const sign = 1 << (bitsStored - 1);
  for (let index = 0; index < values.length; index++) {
    const value = (values[index]! >> shift) & mask;
    values[index] = signed && (value & sign) !== 0 ? value - mask - 1 : value;
  }
  return values;
}

/** Luminance and two colours of full range as red, green and blue: ITU-T T.871, 7. */
export function fromYbr(values: Uint8Array): Uint8Array {
  const result = new Uint8ClampedArray(values.length);
  for (let at = 0; at + 2 < values.length; at += 3) {
    const [y, blue, red] = [values[at]!, values[at + 1]! - 128, values[at + 2]! - 128];
    result[at] = y + 1.402 * red;
    result[at + 1] = y - 0.344136 * blue - 0.714136 * red;
    result[at + 2] = y + 1.772 * blue;
  }
  return new Uint8Array(result.buffer);
}

import type { Header } from "./header.ts";

export interface Kind {
  name: string;
  /** Of a voxel. */
  bytes: number;
  /** Numbers of a voxel: 3 or 4 for colours. */
  channels: number;
  make: (buffer: ArrayBuffer) => Values;
}
export type Values =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

const kind = (name: string, bytes: number, make: Kind["make"], channels = 1): Kind => ({ name, bytes, channels, make });
/** Codes of `nifti1.h`; complex numbers and those of 128 bits are not read. */
const kinds: Record<number, Kind> = {
  2: kind("uint8", 1, (buffer) => new Uint8Array(buffer)),
  4: kind("int16", 2, (buffer) => new Int16Array(buffer)),
  8: kind("int32", 4, (buffer) => new Int32Array(buffer)),
  16: kind("float32", 4, (buffer) => new Float32Array(buffer)),
  64: kind("float64", 8, (buffer) => new Float64Array(buffer)),
  128: kind("rgb24", 3, (buffer) => new Uint8Array(buffer), 3),
  256: kind("int8", 1, (buffer) => new Int8Array(buffer)),
  512: kind("uint16", 2, (buffer) => new Uint16Array(buffer)),
  768: kind("uint32", 4, (buffer) => new Uint32Array(buffer)),
  1024: kind("int64", 8, (buffer) => new BigInt64Array(buffer)),
  1280: kind("uint64", 8, (buffer) => new BigUint64Array(buffer)),
  2304: kind("rgba32", 4, (buffer) => new Uint8Array(buffer), 4),
};

export const kindOf = (code: number): Kind | undefined => (Object.hasOwn(kinds, code) ? kinds[code] : undefined);

/** Values as stored, in the order of this machine, which is little endian. */
export function valuesOf(bytes: Buffer, { bytes: width, channels, make }: Kind, little: boolean): Values {
  const each = width / channels;
  if (!little && each === 2) bytes.swap16();
  if (!little && each === 4) bytes.swap32();
  if (!little && each === 8) bytes.swap64();
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return make(copy.buffer);
}

/** Values with the scale of the file, when it has one. Integers of 64 bits stay as they are: nothing else holds them. */
export function rescaled(values: Values, { channels, bytes }: Kind, { slope, intercept }: Header): Values {
  const isScaled =
    slope !== 0 && Number.isFinite(slope) && Number.isFinite(intercept) && !(slope === 1 && intercept === 0);
  if (!isScaled || channels > 1 || values instanceof BigInt64Array || values instanceof BigUint64Array) return values;
  const result = bytes > 2 ? new Float64Array(values.length) : new Float32Array(values.length);
  for (let index = 0; index < values.length; index++) result[index] = values[index]! * slope + intercept;
  return result;
}

/** Minimum, maximum and mean of the values that are numbers; nulls when there is none. */
export function measure(values: Values): [number | null, number | null, number | null] {
  let least = Infinity;
  let most = -Infinity;
  let sum = 0;
  let count = 0;
  for (const each of values) {
    const value = Number(each);
    if (Number.isNaN(value)) continue;
    if (value < least) least = value;
    if (value > most) most = value;
    sum += value;
    count++;
  }
  return count === 0 ? [null, null, null] : [least, most, sum / count];
}

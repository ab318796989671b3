import type { ImageFileDirectory } from "geotiff";

/** Values of a band, as they are stored. */
export type Values =
  | Uint8Array<ArrayBuffer>
  | Int8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>;

export interface SampleType {
  /** As stored: `uint16`, `float32`, `uint4`. */
  name: string;
  /** Of a value once it is read. */
  bytes: number;
  /** Can be read. */
  isRead: boolean;
  make: (length: number) => Values;
}

const arrays: Record<string, (length: number) => Values> = {
  uint8: (length) => new Uint8Array(length),
  uint16: (length) => new Uint16Array(length),
  uint32: (length) => new Uint32Array(length),
  int8: (length) => new Int8Array(length),
  int16: (length) => new Int16Array(length),
  int32: (length) => new Int32Array(length),
  float32: (length) => new Float32Array(length),
  float64: (length) => new Float64Array(length),
};

const kinds: Record<number, string> = { 1: "uint", 2: "int", 3: "float", 4: "uint", 5: "complex_int", 6: "complex" };

/** The type of all bands; undefined when they differ, or when the file says none that exists. */
export function sampleTypeOf(directory: ImageFileDirectory, bands: number): SampleType | undefined {
  const bits = Array.from((directory.getValue("BitsPerSample") ?? []) as ArrayLike<number>);
  const formats = Array.from((directory.getValue("SampleFormat") ?? []) as ArrayLike<number>);
  const [width] = bits;
  const format = formats[0] ?? 1;
  const kind = Object.hasOwn(kinds, format) ? kinds[format] : undefined;
  if (width === undefined || kind === undefined) return undefined;
  if (bits.some((each) => each !== width) || formats.some((each) => each !== format)) return undefined;
  const isOdd = kind === "uint" && width < 32 && width % 8 !== 0;
  // What is not whole bytes is unpacked, which goes band by band only.
  const isRead = isOdd
    ? width < 16 && (bands === 1 || directory.getValue("PlanarConfiguration") === 2)
    : Object.hasOwn(arrays, `${kind}${width}`) || (kind === "float" && width === 16);
  const held = isOdd ? `uint${width <= 8 ? 8 : 16}` : kind === "float" && width === 16 ? "float32" : `${kind}${width}`;
  const make = arrays[held] ?? arrays["uint8"]!;
  return { name: `${kind}${width}`, bytes: Math.max(1, Math.ceil(width / 8)), isRead, make };
}

/** `uint16` for the array that holds such values. */
export const arrayName = (values: Values): string => values.constructor.name.replace(/Array$/, "").toLowerCase();

export interface Measure {
  minimum: number | null;
  maximum: number | null;
  mean: number | null;
  count: number;
  absent: number;
}

/** Minimum, maximum and mean of what is read piece by piece. */
export class Meter {
  #minimum = Infinity;
  #maximum = -Infinity;
  #sum = 0;
  #count = 0;
  #absent = 0;

  /** `nodata` stands for none, as NaN always does; `mask` is 0 where there is none. */
  add(values: Values, nodata: number | null, mask: Values | undefined): void {
    // A file says it in decimals, which 32 bits hold as something near it.
    const none = nodata !== null && values instanceof Float32Array ? Math.fround(nodata) : nodata;
    for (let index = 0; index < values.length; index++) {
      const value = values[index]!;
      if (value === none || value !== value || mask?.[index] === 0) {
        this.#absent++;
        continue;
      }
      if (value < this.#minimum) this.#minimum = value;
      if (value > this.#maximum) this.#maximum = value;
      this.#sum += value;
    }
    this.#count += values.length;
  }

  result(): Measure {
    const present = this.#count - this.#absent;
    const isNone = present === 0;
    return {
      minimum: isNone ? null : this.#minimum,
      maximum: isNone ? null : this.#maximum,
      mean: isNone ? null : this.#sum / present,
      count: this.#count,
      absent: this.#absent,
    };
  }
}

import type { DataType } from "../core/index.ts";
import type { Layout } from "./layout.ts";
import type { SeenColumn } from "./records.ts";

/** One column of a batch, in Arrow's layout. */
export interface FeedColumn {
  name: string;
  type: DataType;
  /** Fixed width: Int32Array (int, date), Float32Array, BigInt64Array (long, time, timestamps: µs), Float64Array, Uint8Array (boolean: a byte a value; decimal: 16 bytes, unscaled, two's complement). Else the bytes of strings, or the elements of lists. */
  values: Uint8Array | Int32Array | Float32Array | BigInt64Array | Float64Array;
  /** Strings, binary, lists: one more than there are rows; in bytes, or elements. */
  offsets?: Int32Array;
  /** Lists that all have this length: a tensor of rows × length. */
  listLength?: number;
  /** Images: height × width × channels, or channels × height × width. `values` are the samples, a byte each; those of a null are 0. */
  shape?: readonly number[];
  /** One bit a row, 1 = present. Absent: no nulls. */
  validity?: Uint8Array;
  nulls: number;
}

export interface FeedBatch {
  step: number;
  epoch: number;
  rows: number;
  columns: FeedColumn[];
}

const typedArrays = { float: Float32Array, double: Float64Array, long: BigInt64Array, int: Int32Array } as const;

/** Records at `bases` (bytes from the start of `arena`, multiples of 8) → columns. `arena` begins at a multiple of 8 of its buffer. */
export function gather(
  layout: Layout,
  seen: readonly SeenColumn[],
  arena: Uint8Array,
  bases: Float64Array,
): FeedColumn[] {
  const words = new Int32Array(arena.buffer, arena.byteOffset, Math.floor(arena.byteLength / 4));
  const rows = bases.length;
  return layout.columns.map(({ column, type, slot, shape }, index): FeedColumn => {
    const nulls = seen[index]!.nulls ? bitmap(arena, bases, index) : { nulls: 0 };
    const base = { name: column.name, type, ...nulls };
    if (slot.kind === "value") return { ...base, values: valuesOf(type, slot.width, slot.at, arena, words, bases) };
    const width = slot.kind === "list" ? slot.elementWidth : 1;
    const offsets = new Int32Array(rows + 1);
    const place = slot.at / 4;
    const samples = shape?.reduce((product, side) => product * side, 1);
    const fixed = slot.kind === "list" ? (seen[index]!.listLength ?? undefined) : samples;
    let total = 0;
    for (let row = 0; row < rows; row++) {
      // A list that is null has its room all the same where all have one length.
      total += fixed ?? (words[bases[row]! / 4 + place + 1]! >>> 0) / width;
      offsets[row + 1] = total;
    }
    const bytes = new Uint8Array(total * width);
    for (let row = 0; row < rows; row++) {
      const at = bases[row]!;
      const start = words[at / 4 + place]! >>> 0;
      const length = words[at / 4 + place + 1]! >>> 0;
      if (length > 0) bytes.set(arena.subarray(at + start, at + start + length), offsets[row]! * width);
    }
    if (slot.kind === "bytes") return { ...base, values: bytes, offsets, ...(shape === undefined ? {} : { shape }) };
    const element = (
      typeof type === "object" && type.type === "list" ? type.element : "int"
    ) as keyof typeof typedArrays;
    const values = new typedArrays[element](bytes.buffer);
    return { ...base, values, offsets, ...(fixed === undefined ? {} : { listLength: fixed }) };
  });
}

function bitmap(arena: Uint8Array, bases: Float64Array, index: number): { validity?: Uint8Array; nulls: number } {
  const validity = new Uint8Array(Math.ceil(bases.length / 64) * 8);
  const place = 8 + (index >> 3);
  const bit = index & 7;
  let nulls = 0;
  for (let row = 0; row < bases.length; row++) {
    const present = (arena[bases[row]! + place]! >> bit) & 1;
    validity[row >> 3]! |= present << (row & 7);
    nulls += 1 - present;
  }
  return nulls === 0 ? { nulls } : { validity, nulls };
}

/** Eight bytes are moved as two words: as a double, a NaN could lose its bits. */
function valuesOf(
  type: DataType,
  width: 1 | 4 | 8 | 16,
  at: number,
  arena: Uint8Array,
  words: Int32Array,
  bases: Float64Array,
): FeedColumn["values"] {
  const rows = bases.length;
  if (width === 1) {
    const values = new Uint8Array(rows);
    for (let row = 0; row < rows; row++) values[row] = arena[bases[row]! + at]!;
    return values;
  }
  const each = width / 4;
  const place = at / 4;
  const values = new Int32Array(rows * each);
  if (each === 1) for (let row = 0; row < rows; row++) values[row] = words[bases[row]! / 4 + place]!;
  else {
    for (let row = 0; row < rows; row++) {
      const from = bases[row]! / 4 + place;
      for (let word = 0; word < each; word++) values[row * each + word] = words[from + word]!;
    }
  }
  const { buffer } = values;
  if (type === "float") return new Float32Array(buffer);
  if (width === 4) return values;
  if (width === 16) return new Uint8Array(buffer);
  return type === "double" ? new Float64Array(buffer) : new BigInt64Array(buffer);
}

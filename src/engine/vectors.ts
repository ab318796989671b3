import {
  DuckDBListVector,
  DuckDBMapVector,
  DuckDBStructVector,
  DuckDBTypeId,
  type DuckDBConnection,
  type DuckDBDecimalType,
  type DuckDBVector,
} from "@duckdb/node-api";
import accessors from "@duckdb/node-api/lib/vectors/dataAccessors.js";
import { MillraceError, type Sql } from "../core/index.ts";

/**
 * A column of a batch in Arrow's layout (https://arrow.apache.org/docs/format/Columnar.html), a copy of its own.
 * `validity`: one bit a row, least significant first, 1 = present; absent when nothing is null.
 */
export type Vector = { length: number; validity?: Uint8Array } & (
  | {
      kind: "fixed";
      /** boolean: a byte a value; int, date (days): 32 bits; long, time, timestamps (µs): 64 bits; decimal: 16 bytes, unscaled, two's complement. */
      values: Uint8Array | Int32Array | BigInt64Array | Float32Array | Float64Array;
    }
  /** Text as UTF-8, and binary. `offsets` has one more than there are rows. UUIDs are text. */
  | { kind: "bytes"; offsets: Int32Array; bytes: Uint8Array }
  /** Lists, and maps, whose elements are structs of `key` and `value`. */
  | { kind: "list"; offsets: Int32Array; elements: Vector }
  | { kind: "struct"; fields: Vector[] }
);

/** A batch of rows, a vector a column. */
export interface VectorBatch {
  rows: number;
  vectors: Vector[];
}

/** What the library keeps of a vector. It is not part of its interface, but values one by one cost 70 times as much. */
interface Physical {
  items?: Int32Array | BigInt64Array | Float32Array | Float64Array;
  dataView?: DataView;
  validity?: { data: BigUint64Array | null; offset: number };
  listVector?: DuckDBListVector;
}

/** What offsets of 32 bits can tell. */
const maximumBytes = 2 ** 31 - 1;

/** The result of a SELECT in batches, pulled. */
export async function* streamVectors(connection: DuckDBConnection, select: Sql): AsyncGenerator<VectorBatch> {
  const result = await connection.stream(select);
  for (;;) {
    const chunk = await result.fetchChunk();
    if (chunk === null || chunk.rowCount === 0) return;
    const { rowCount, columnCount } = chunk;
    yield {
      rows: rowCount,
      vectors: Array.from({ length: columnCount }, (_, index) => read(chunk.getColumnVector(index), rowCount)),
    };
  }
}

/** Rows 0 to `length`, or those that `places` names. */
function read(vector: DuckDBVector, length: number, places?: Int32Array): Vector {
  const physical = vector as unknown as Physical;
  if (vector instanceof DuckDBMapVector) return read(physical.listVector!, length, places);
  const validity = validityOf(physical, length, places);
  const base = { length, ...(validity && { validity }) };
  if (vector instanceof DuckDBListVector) return { ...base, ...listOf(vector, length, validity, places) };
  if (vector instanceof DuckDBStructVector) {
    const { entryCount } = vector.type;
    const fields = Array.from({ length: entryCount }, (_, index) => read(vector.entryVectorAt(index), length, places));
    return { ...base, kind: "struct", fields };
  }
  const fixed = (values: Numbers): Vector => ({
    ...base,
    kind: "fixed",
    values: withoutNulls(values, length, validity),
  });
  if (physical.items !== undefined) return fixed(numbersOf(physical.items, length, places));
  const { dataView } = physical;
  switch (vector.type.typeId) {
    case DuckDBTypeId.BOOLEAN:
      return fixed(numbersOf(bytesOf(dataView!), length, places));
    case DuckDBTypeId.DECIMAL:
      return fixed(decimalsOf(dataView!, (vector.type as DuckDBDecimalType).width, length, places));
    case DuckDBTypeId.VARCHAR:
    case DuckDBTypeId.BLOB:
      return { ...base, ...textOf(length, validity, places, (row) => accessors.getStringBytes(dataView!, row * 16)) };
    case DuckDBTypeId.UUID:
      return { ...base, ...textOf(length, validity, places, (row) => uuidOf(dataView!, row)) };
    default:
      throw new MillraceError("internal", `vectors of \`${String(vector.type)}\` are not read`);
  }
}

const bytesOf = (view: DataView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

export const isPresent = (validity: Uint8Array | undefined, row: number): boolean =>
  validity === undefined || ((validity[row >> 3]! >> (row & 7)) & 1) === 1;

function validityOf({ validity }: Physical, length: number, places?: Int32Array): Uint8Array | undefined {
  const data = validity?.data;
  if (validity === undefined || !data) return undefined;
  const bits = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const result = new Uint8Array(Math.ceil(length / 64) * 8);
  let present = 0;
  for (let row = 0; row < length; row++) {
    const place = validity.offset + (places === undefined ? row : places[row]!);
    if (((bits[place >> 3]! >> (place & 7)) & 1) === 0) continue;
    result[row >> 3]! |= 1 << (row & 7);
    present++;
  }
  return present === length ? undefined : result;
}

type Numbers = Extract<Vector, { kind: "fixed" }>["values"];

/** Zeros in the place of nulls, where the engine leaves whatever was there before: the same rows are the same bytes. */
function withoutNulls(values: Numbers, length: number, validity: Uint8Array | undefined): Numbers {
  if (validity === undefined || length === 0) return values;
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const width = bytes.length / length;
  for (let row = 0; row < length; row++) {
    if (!isPresent(validity, row)) bytes.fill(0, row * width, (row + 1) * width);
  }
  return values;
}

function numbersOf<Values extends Uint8Array | NonNullable<Physical["items"]>>(
  items: Values,
  length: number,
  places?: Int32Array,
): Values {
  if (places === undefined) return items.slice(0, length) as Values;
  const result = new (items.constructor as new (length: number) => Values)(length);
  for (let row = 0; row < length; row++) result[row] = items[places[row]!]!;
  return result;
}

/** The engine keeps a decimal in 2, 4, 8 or 16 bytes, by its precision. */
function decimalsOf(view: DataView, precision: number, length: number, places?: Int32Array): Uint8Array {
  const width = precision <= 4 ? 2 : precision <= 9 ? 4 : precision <= 18 ? 8 : 16;
  const result = new Uint8Array(length * 16);
  const from = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  for (let row = 0; row < length; row++) {
    const at = (places === undefined ? row : places[row]!) * width;
    for (let byte = 0; byte < width; byte++) result[row * 16 + byte] = from[at + byte]!;
    if (width < 16 && from[at + width - 1]! >= 0x80) result.fill(0xff, row * 16 + width, row * 16 + 16);
  }
  return result;
}

function uuidOf(view: DataView, row: number): Uint8Array {
  const bytes = Buffer.from(view.buffer, view.byteOffset + row * 16, 16).toReversed();
  // Kept as a signed number, so that it sorts as text does.
  bytes[0]! ^= 0x80;
  const hex = Buffer.from(bytes).toString("hex");
  return Buffer.from(hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-"));
}

function textOf(
  length: number,
  validity: Uint8Array | undefined,
  places: Int32Array | undefined,
  get: (row: number) => Uint8Array,
): { kind: "bytes"; offsets: Int32Array; bytes: Uint8Array } {
  const offsets = new Int32Array(length + 1);
  const values: Uint8Array[] = [];
  let total = 0;
  for (let row = 0; row < length; row++) {
    if (isPresent(validity, row)) {
      const value = get(places === undefined ? row : places[row]!);
      values.push(value);
      total += value.byteLength;
      if (total > maximumBytes) {
        throw new MillraceError("unsupported", "2048 neighbouring rows hold more than 2 GB in one column", {
          hint: "split the rows with `--where`, or keep such large values as files of their own",
        });
      }
    }
    offsets[row + 1] = total;
  }
  return { kind: "bytes", offsets, bytes: Buffer.concat(values, total) };
}

function listOf(
  vector: DuckDBListVector,
  length: number,
  validity: Uint8Array | undefined,
  places?: Int32Array,
): { kind: "list"; offsets: Int32Array; elements: Vector } {
  const offsets = new Int32Array(length + 1);
  const starts = new Int32Array(length);
  let total = 0;
  let isDense = true;
  for (let row = 0; row < length; row++) {
    if (isPresent(validity, row)) {
      const place = places === undefined ? row : places[row]!;
      starts[row] = vector.getEntryOffset(place);
      if (starts[row] !== total) isDense = false;
      total += vector.getEntryLength(place);
    }
    offsets[row + 1] = total;
  }
  // After a filter the elements of rows that are gone lie between those of rows that stay.
  if (isDense) return { kind: "list", offsets, elements: read(vector.childVector, total) };
  const chosen = new Int32Array(total);
  for (let row = 0; row < length; row++) {
    for (let at = offsets[row]!; at < offsets[row + 1]!; at++) chosen[at] = starts[row]! + at - offsets[row]!;
  }
  return { kind: "list", offsets, elements: read(vector.childVector, total, chosen) };
}

import {
  Field,
  FixedSizeList,
  List,
  RecordBatch,
  Schema,
  Struct,
  makeData,
  type Data,
  type DataType as ArrowType,
  type Int32,
  Uint8,
  type Utf8,
} from "apache-arrow";
import type { Column } from "../core/index.ts";
import { arrowType } from "./arrow.ts";
import type { FeedBatch, FeedColumn } from "./batch.ts";

/** The Arrow type of a column of batches; lists that all have one length, and images, are of that fixed size. */
function typeOf({ type, listLength, shape }: Pick<FeedColumn, "type" | "listLength" | "shape">): ArrowType {
  if (shape !== undefined) {
    const samples = shape.reduce((product, side) => product * side, 1);
    return new FixedSizeList(samples, new Field("item", new Uint8(), true));
  }
  if (listLength === undefined || typeof type === "string" || type.type !== "list") return arrowType(type);
  return new FixedSizeList(listLength, new Field("element", arrowType(type.element), true));
}

/** What the schema of a feed says besides names and types. */
export interface SchemaFacts {
  /** Length of lists that all have one, by column. */
  listLengths?: ReadonlyMap<string, number>;
  /** Of images, by column. */
  shapes?: ReadonlyMap<string, readonly number[]>;
  /** Columns in which no batch has a null, so that a reader can choose once and for all how it holds a column. */
  present?: ReadonlySet<string>;
}

/** The schema of all batches of a feed. Images are of the extension type `arrow.fixed_shape_tensor`. */
export function feedSchema(
  columns: readonly Column[],
  { listLengths, shapes, present }: SchemaFacts = {},
  metadata: Record<string, string> = {},
): Schema {
  const fields = columns.map(({ name, type }) => {
    const [listLength, shape] = [listLengths?.get(name), shapes?.get(name)];
    const facts = {
      type,
      ...(listLength === undefined ? {} : { listLength }),
      ...(shape === undefined ? {} : { shape }),
    };
    const extension = shape && {
      "ARROW:extension:name": "arrow.fixed_shape_tensor",
      "ARROW:extension:metadata": JSON.stringify({ shape }),
    };
    return new Field(name, typeOf(facts), present?.has(name) !== true, new Map(Object.entries(extension ?? {})));
  });
  return new Schema(fields, new Map(Object.entries(metadata)));
}

/** The buffers of a batch as an Arrow record batch, without a copy but of booleans. */
export function toRecordBatch(schema: Schema, batch: FeedBatch): RecordBatch {
  const children = batch.columns.map((column, index) =>
    dataOf(column, schema.fields[index]!.type as ArrowType, batch.rows),
  );
  const struct = new Struct(schema.fields);
  return new RecordBatch(schema, makeData({ type: struct, length: batch.rows, nullCount: 0, children }));
}

function dataOf(column: FeedColumn, type: ArrowType, rows: number): Data {
  const { values, offsets, validity, nulls } = column;
  const base = { length: rows, nullCount: nulls, ...(validity === undefined ? {} : { nullBitmap: validity }) };
  if (type instanceof FixedSizeList || type instanceof List) {
    const element = type.children[0]!.type as Int32;
    const child = makeData({ type: element, length: values.length, nullCount: 0, data: values as Int32Array });
    if (type instanceof FixedSizeList) return makeData({ type, ...base, child });
    return makeData({ type, ...base, valueOffsets: offsets!, child });
  }
  if (offsets !== undefined) {
    return makeData({ type: type as Utf8, ...base, valueOffsets: offsets, data: values as Uint8Array });
  }
  if (column.type === "boolean")
    return makeData({ type: type as Int32, ...base, data: bits(values as Uint8Array) as never });
  // Decimals are four words a value.
  const data =
    typeof column.type === "string" && column.type.startsWith("decimal") ? new Uint32Array(values.buffer) : values;
  return makeData({ type: type as Int32, ...base, data: data as Int32Array });
}

function bits(values: Uint8Array): Uint8Array {
  const packed = new Uint8Array(Math.ceil(values.length / 64) * 8);
  for (const [index, value] of values.entries()) packed[index >> 3]! |= value << (index & 7);
  return packed;
}

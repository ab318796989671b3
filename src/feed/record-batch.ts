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
  type Utf8,
} from "apache-arrow";
import type { Column } from "../core/index.ts";
import { arrowType } from "./arrow.ts";
import type { FeedBatch, FeedColumn } from "./batch.ts";

/** The Arrow type of a column of batches; lists that all have one length are of that fixed size. */
function typeOf({ type, listLength }: Pick<FeedColumn, "type" | "listLength">): ArrowType {
  if (listLength === undefined || typeof type === "string" || type.type !== "list") return arrowType(type);
  return new FixedSizeList(listLength, new Field("element", arrowType(type.element), true));
}

/**
 * The schema of all batches of a feed. `lengths`: of lists that all have one, by column. `present`: columns in which no batch has a null,
 * so that a reader can choose once and for all how it holds a column.
 */
export function feedSchema(
  columns: readonly Column[],
  lengths: ReadonlyMap<string, number>,
  metadata: Record<string, string> = {},
  present: ReadonlySet<string> = new Set(),
): Schema {
  const fields = columns.map(({ name, type }) => {
    const listLength = lengths.get(name);
    return new Field(name, typeOf({ type, ...(listLength === undefined ? {} : { listLength }) }), !present.has(name));
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

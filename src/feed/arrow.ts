import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import {
  Binary,
  Bool,
  DateDay,
  Decimal,
  Field,
  Float32,
  Float64,
  Int32,
  Int64,
  List,
  makeData,
  Map_,
  RecordBatch,
  RecordBatchFileWriter,
  Schema,
  Struct,
  TimeMicrosecond,
  TimestampMicrosecond,
  Utf8,
  vectorFromArray,
  type Data,
  type DataType as ArrowType,
} from "apache-arrow";
import {
  MillraceError,
  parseDecimal,
  sqlName,
  type Column,
  type ColumnData,
  type DataType,
  type Sql,
} from "../core/index.ts";
import type { Engine } from "../engine/index.ts";

/** The Arrow type of a column. UUIDs are text: Arrow has them only as an extension that few readers know. */
export function arrowType(type: DataType): ArrowType {
  if (typeof type !== "string") {
    switch (type.type) {
      case "list":
        return new List(new Field("element", arrowType(type.element), true));
      case "struct":
        return new Struct(type.fields.map((field) => new Field(field.name, arrowType(field.type), true)));
      case "map": {
        const entries = new Struct<{ key: ArrowType; value: ArrowType }>([
          new Field("key", arrowType(type.key), false),
          new Field("value", arrowType(type.value), true),
        ]);
        return new Map_(new Field("entries", entries, false));
      }
    }
  }
  const decimal = parseDecimal(type);
  if (decimal) return new Decimal(decimal.scale, decimal.precision, 128);
  switch (type) {
    case "boolean":
      return new Bool();
    case "int":
      return new Int32();
    case "long":
      return new Int64();
    case "float":
      return new Float32();
    case "double":
      return new Float64();
    case "date":
      return new DateDay();
    case "time":
      return new TimeMicrosecond();
    case "timestamp":
      return new TimestampMicrosecond();
    case "timestamptz":
      return new TimestampMicrosecond("UTC");
    case "binary":
      return new Binary();
    default:
      return new Utf8();
  }
}

/** How a column leaves the engine so that its values are what Arrow's buffers hold: days, microseconds, unscaled digits. */
function wireExpression(column: Column): Sql {
  const name = sqlName(column.name);
  const { type } = column;
  const as = ` AS ${name}`;
  if (typeof type !== "string") {
    throw new MillraceError(
      "unsupported",
      `the column \`${column.name}\` is nested, which the export to Arrow does not write yet`,
      {
        where: { column: column.name },
        hint: "export to parquet or jsonl, which hold nested columns",
      },
    );
  }
  const decimal = parseDecimal(type);
  if (decimal) return `replace(${name}::VARCHAR, '.', '')${as}`;
  switch (type) {
    case "date":
      return `(${name} - DATE '1970-01-01')::INTEGER${as}`;
    case "time":
      return `epoch_us(${name})::BIGINT${as}`;
    case "timestamp":
    case "timestamptz":
      return `epoch_us(${name})::BIGINT${as}`;
    case "uuid":
      return `${name}::VARCHAR${as}`;
    default:
      return name;
  }
}

function bitmap(length: number, present: (index: number) => boolean): { nullBitmap: Uint8Array; nullCount: number } {
  const nullBitmap = new Uint8Array(Math.ceil(length / 64) * 8);
  let nullCount = 0;
  for (let index = 0; index < length; index++) {
    if (present(index)) nullBitmap[index >> 3]! |= 1 << (index & 7);
    else nullCount++;
  }
  return { nullBitmap, nullCount };
}

/** Two's complement, little endian, 128 bits: four words a value. */
function decimalWords(values: readonly unknown[]): Uint32Array {
  const words = new Uint32Array(values.length * 4);
  for (const [index, value] of values.entries()) {
    if (value === null) continue;
    let rest = BigInt.asUintN(128, BigInt(value as string));
    for (let word = 0; word < 4; word++) {
      words[index * 4 + word] = Number(rest & 0xffffffffn);
      rest >>= 32n;
    }
  }
  return words;
}

function arrowData(column: Column, data: ColumnData, length: number): Data {
  const type = arrowType(column.type);
  const { values, validity } = data;
  if (type instanceof Decimal) {
    return makeData({
      type,
      length,
      data: decimalWords(values as readonly unknown[]),
      ...bitmap(length, (index) => (values as readonly unknown[])[index] !== null),
    });
  }
  if (ArrayBuffer.isView(values)) {
    const nulls = validity === undefined ? { nullCount: 0 } : bitmap(length, (index) => validity[index] === 1);
    // The engine's arrays are the buffers of these types as they are.
    return makeData({ type: type as Int32, length, data: values as Int32Array, ...nulls });
  }
  return vectorFromArray(values as readonly unknown[], type).data[0]!;
}

/** The schema in Arrow's terms. */
export function arrowSchema(columns: readonly Column[]): Schema {
  return new Schema(columns.map((column) => new Field(column.name, arrowType(column.type), column.required !== true)));
}

function recordBatch(columns: readonly Column[], data: readonly ColumnData[], rows: number): RecordBatch {
  const schema = arrowSchema(columns);
  const children = columns.map((column, index) => arrowData(column, data[index]!, rows));
  return new RecordBatch(schema, makeData({ type: new Struct(schema.fields), length: rows, nullCount: 0, children }));
}

/** The rows of a SELECT as Arrow record batches. Throws `unsupported` for nested columns. */
export async function* arrowBatches(
  engine: Engine,
  select: Sql,
  columns: readonly Column[],
  signal?: AbortSignal,
): AsyncIterable<RecordBatch> {
  const list = columns.map(wireExpression).join(", ");
  for await (const { batch } of engine.stream(`SELECT ${list} FROM (${select})`, signal)) {
    yield recordBatch(columns, batch.columns, batch.rows);
  }
}

/** Writes an Arrow IPC file. Returns the number of rows. */
export async function writeArrowFile(engine: Engine, select: Sql, file: string, signal?: AbortSignal): Promise<number> {
  const columns = await engine.columnsOf(select);
  const writer = new RecordBatchFileWriter();
  const writing = pipeline(writer.toNodeStream(), createWriteStream(file), signal ? { signal } : {});
  let rows = 0;
  try {
    for await (const batch of arrowBatches(engine, select, columns, signal)) {
      rows += batch.numRows;
      writer.write(batch);
      // The writer queues without bound; a turn of the event loop lets the file keep up.
      await new Promise((resolve) => setImmediate(resolve));
    }
    // An empty table still needs its schema.
    if (rows === 0) {
      const nothing = columns.map((): ColumnData => ({ values: [] }));
      writer.write(recordBatch(columns, nothing, 0));
    }
    writer.finish();
  } catch (error) {
    writer.abort(error);
    await writing.catch(() => undefined);
    throw error;
  }
  await writing;
  return rows;
}

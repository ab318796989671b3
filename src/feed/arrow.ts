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
  type Data,
  type DataType as ArrowType,
} from "apache-arrow";
import { parseDecimal, type Column, type DataType, type Sql } from "../core/index.ts";
import type { Engine, Vector, VectorBatch } from "../engine/index.ts";
import { ArrowChunks } from "./arrow-chunks.ts";
import { createShardFile } from "./export/shard.ts";

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

/** The schema in Arrow's terms. */
export function arrowSchema(columns: readonly Column[]): Schema {
  return new Schema(columns.map((column) => new Field(column.name, arrowType(column.type), column.required !== true)));
}

/** The buffers of a column as Arrow holds it, nested columns too, without a copy but of booleans. */
function arrowData(type: ArrowType, vector: Vector): Data {
  const { length, validity } = vector;
  const base = { length, ...(validity === undefined ? { nullCount: 0 } : { nullBitmap: validity, nullCount: -1 }) };
  switch (vector.kind) {
    case "bytes":
      return makeData({ type: type as Utf8, ...base, valueOffsets: vector.offsets, data: vector.bytes });
    case "list": {
      const child = arrowData(type.children[0]!.type as ArrowType, vector.elements);
      return makeData({ type: type as List, ...base, valueOffsets: vector.offsets, child });
    }
    case "struct": {
      const children = vector.fields.map((field, index) => arrowData(type.children[index]!.type as ArrowType, field));
      return makeData({ type: type as Struct, ...base, children });
    }
    case "fixed": {
      const { values } = vector;
      if (type instanceof Bool) return makeData({ type, ...base, data: bits(values as Uint8Array) });
      // Decimals are four words a value; the arrays of the engine are the buffers of all other types as they are.
      const data = type instanceof Decimal ? new Uint32Array(values.buffer) : values;
      return makeData({ type: type as Int32, ...base, data: data as Int32Array });
    }
  }
}

function bits(values: Uint8Array): Uint8Array {
  const packed = new Uint8Array(Math.ceil(values.length / 64) * 8);
  for (const [index, value] of values.entries()) packed[index >> 3]! |= value << (index & 7);
  return packed;
}

function recordBatch(schema: Schema, { rows, vectors }: VectorBatch): RecordBatch {
  const children = vectors.map((vector, index) => arrowData(schema.fields[index]!.type as ArrowType, vector));
  return new RecordBatch(schema, makeData({ type: new Struct(schema.fields), length: rows, nullCount: 0, children }));
}

export interface ArrowFiles {
  /** Path of the n-th file. */
  path: (file: number) => string;
  /** A new file is begun before one is larger. Default: one file. */
  fileBytes?: number | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: (rows: number, bytes: number) => void;
}

export interface ArrowFile {
  rows: number;
  bytes: number;
  /** Lower-case hexadecimal. */
  sha256: string;
}

/** Writes the rows of a SELECT with these columns as Arrow IPC files. At most one batch of the engine is in memory. */
export async function writeArrowFiles(
  engine: Engine,
  select: Sql,
  columns: readonly Column[],
  { path, fileBytes = Infinity, signal, onProgress }: ArrowFiles,
): Promise<ArrowFile[]> {
  const schema = arrowSchema(columns);
  const files: ArrowFile[] = [];
  let [file, bytes, rows, allRows, allBytes] = [await openFile(path(0), schema), 0, 0, 0, 0];
  try {
    for await (const batch of engine.vectors(select, signal)) {
      const made = recordBatch(schema, batch);
      const size = made.data.byteLength;
      if (rows > 0 && bytes + size > fileBytes) {
        files.push({ rows, ...(await file.finish()) });
        file = await openFile(path(files.length), schema);
        [rows, bytes] = [0, 0];
      }
      await file.write(made);
      rows += batch.rows;
      bytes += size;
      onProgress?.((allRows += batch.rows), (allBytes += size));
    }
    files.push({ rows, ...(await file.finish()) });
  } catch (error) {
    await file.abandon().catch(() => undefined);
    throw error;
  }
  return files;
}

async function openFile(path: string, schema: Schema) {
  const file = await createShardFile(path);
  const chunks = new ArrowChunks();
  const writer = new RecordBatchFileWriter({ autoDestroy: false });
  writer.reset(chunks, schema);
  const flush = async (): Promise<void> => {
    for (const chunk of chunks.take()) await file.write(chunk);
  };
  return {
    async write(batch: RecordBatch): Promise<void> {
      writer.write(batch);
      await flush();
    },
    async finish(): Promise<{ bytes: number; sha256: string }> {
      writer.finish();
      await flush();
      return file.close();
    },
    abandon: () => file.abandon(),
  };
}

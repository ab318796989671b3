import { sqlName, type DataType, type Sql } from "../../core/index.ts";
import { isPresent } from "../../engine/index.ts";
import { maskedCrc32c } from "./crc32c.ts";
import { contentBytes, lengthDelimited, varint, varintBytes, writeContent, type FeatureKind } from "./example.ts";
import type { MeasuredColumn, SampleFormat, WrittenField } from "./format.ts";
import { jsonBytes } from "./json-sql.ts";

/*
 * TFRecord (https://www.tensorflow.org/tutorials/load_data/tfrecord): u64 length, its masked CRC-32C, the bytes, their masked CRC-32C.
 * The bytes are a tf.train.Example (tensorflow/core/example/{example,feature}.proto):
 *
 *   Example  { Features features = 1 }              Feature { oneof: BytesList = 1, FloatList = 2, Int64List = 3 }
 *   Features { map<string, Feature> feature = 1 }   …List   { repeated value = 1, numbers packed }
 */

export interface TfrecordOptions {
  /** The name of shards begins with it. */
  base: string;
  gzip?: boolean;
  /** Doubles as float_list, rounded to 32 bits. Default: as their 8 bytes. */
  float32?: boolean;
}

const listTags: Record<FeatureKind, number> = { bytes: 0x0a, raw: 0x0a, float: 0x12, int64: 0x1a };
const lists = { int64: "int64_list", float: "float_list", raw: "bytes_list", bytes: "bytes_list" } as const;

interface Plan {
  kind: FeatureKind;
  isList: boolean;
  sql: Sql;
  meaning?: string;
}

const units: Record<string, string> = {
  boolean: "0 or 1",
  date: "days since 1970-01-01",
  time: "microseconds since midnight",
  timestamp: "microseconds since 1970-01-01, no zone",
  timestamptz: "microseconds since 1970-01-01 UTC",
};

function scalarPlan(name: Sql, type: DataType, float32: boolean): Omit<Plan, "isList"> | undefined {
  switch (type) {
    case "boolean":
    case "int":
    case "long":
    case "date":
    case "time":
    case "timestamp":
    case "timestamptz":
      return { kind: "int64", sql: name, ...(units[type] && { meaning: units[type] }) };
    case "float":
      return { kind: "float", sql: name };
    case "double":
      return float32
        ? { kind: "float", sql: name, meaning: "rounded from 64 to 32 bits" }
        : { kind: "raw", sql: name, meaning: "float64, little endian: tf.io.decode_raw(value, tf.float64)" };
    case "string":
      return { kind: "bytes", sql: name, meaning: "UTF-8" };
    case "binary":
      return { kind: "bytes", sql: name };
    default:
      return undefined;
  }
}

function planOf(column: MeasuredColumn, float32: boolean): Plan {
  const name = sqlName(column.name);
  const { type, facts } = column;
  if (typeof type !== "string") {
    const element = type.type === "list" ? scalarPlan(name, type.element, float32) : undefined;
    if (element !== undefined && facts.list?.nulls === 0) {
      const rounded = element.kind === "float" && type.type === "list" && type.element === "double";
      return { ...element, isList: true, ...(rounded && { sql: `${name}::FLOAT[]` }) };
    }
    return { kind: "bytes", isList: false, sql: jsonBytes(column), meaning: "JSON" };
  }
  const scalar = scalarPlan(name, type, float32);
  // Decimals and UUIDs: exact text.
  if (scalar === undefined) return { kind: "bytes", isList: false, sql: `encode(${name}::VARCHAR)`, meaning: "text" };
  if (type === "string") return { ...scalar, isList: false, sql: `encode(${name})` };
  return { ...scalar, isList: false, ...(type === "double" && float32 && { sql: `${name}::FLOAT` }) };
}

export function tfrecordFormat(columns: readonly MeasuredColumn[], options: TfrecordOptions): SampleFormat {
  const plans = columns.map((column) => planOf(column, options.float32 === true));
  const keys = columns.map(({ name }) => lengthDelimited(0x0a, Buffer.from(name)));
  const written = columns.map((column, index): WrittenField => {
    const { kind, meaning } = plans[index]!;
    return {
      column: column.name,
      as: lists[kind],
      ...(meaning !== undefined && { meaning }),
      ...(column.facts.nulls > 0 && { null: "the feature is absent" }),
    };
  });
  const contents = new Float64Array(columns.length);
  const entries = new Float64Array(columns.length);
  const suffix = options.gzip === true ? "tfrecord.gz" : "tfrecord";
  return {
    fields: plans.map(({ sql, kind, isList }) => ({ sql, bytes: kind === "bytes" && !isList })),
    written,
    ...(options.gzip === true && { gzip: true }),
    fileName: (shard) => `${options.base}-${String(shard).padStart(5, "0")}.${suffix}`,
    encode({ columns: batch }, row, out) {
      let total = 0;
      for (let index = 0; index < plans.length; index++) {
        const column = batch[index]!;
        if (!isPresent(column.validity, row)) {
          entries[index] = -1;
          continue;
        }
        const content = contentBytes(column, row, plans[index]!.kind);
        const feature = 1 + varintBytes(content) + content;
        const entry = keys[index]!.length + 1 + varintBytes(feature) + feature;
        contents[index] = content;
        entries[index] = entry;
        total += 1 + varintBytes(entry) + entry;
      }
      const length = 1 + varintBytes(total) + total;
      out.reserve(length + 16);
      const start = out.length;
      out.uint32(length);
      out.uint32(0);
      out.uint32(maskedCrc32c(out.bytes, start, start + 8));
      out.byte(0x0a);
      varint(out, total);
      for (let index = 0; index < plans.length; index++) {
        if (entries[index]! < 0) continue;
        const { kind } = plans[index]!;
        const content = contents[index]!;
        out.byte(0x0a);
        varint(out, entries[index]!);
        out.push(keys[index]!);
        out.byte(0x12);
        varint(out, 1 + varintBytes(content) + content);
        out.byte(listTags[kind]);
        varint(out, content);
        writeContent(out, batch[index]!, row, kind);
      }
      out.uint32(maskedCrc32c(out.bytes, start + 12, start + 12 + length));
    },
    beside: () => [{ name: "feature_spec.json", bytes: featureSpec(columns, plans, options) }],
  };
}

/** What a reader needs to make a feature description of its own. */
function featureSpec(
  columns: readonly MeasuredColumn[],
  plans: readonly Plan[],
  { gzip }: TfrecordOptions,
): Uint8Array {
  const features = columns.map(({ name, type, facts }, index) => {
    const { kind, isList, meaning } = plans[index]!;
    const { shortest, longest } = facts.list ?? { shortest: 0, longest: 0 };
    const shape = !isList || kind === "raw" ? [] : [facts.nulls === 0 && shortest === longest ? longest : null];
    return [
      name,
      {
        kind: lists[kind],
        type: typeof type === "string" ? type : type.type,
        shape,
        optional: facts.nulls > 0,
        ...(meaning !== undefined && { meaning }),
      },
    ] as const;
  });
  const spec = {
    record: "tf.train.Example",
    compression: gzip === true ? "GZIP" : "",
    features: Object.fromEntries(features),
  };
  return Buffer.from(`${JSON.stringify(spec, undefined, 2)}\n`);
}

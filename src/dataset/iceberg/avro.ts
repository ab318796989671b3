import { randomBytes } from "node:crypto";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import avro from "avsc";
import { MillraceError, messageOf } from "../../core/index.ts";

/** An Avro schema as JSON. Attributes that Avro does not know (`field-id`, `element-id`) are kept in the file. */
export type AvroSchema = { [attribute: string]: unknown };

/** 64-bit integers: `number` where that is exact, else `bigint` (snapshot ids of other writers). */
const long = avro.types.LongType.__with({
  fromBuffer: (buffer: Buffer) => {
    const value = buffer.readBigInt64LE();
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  },
  toBuffer: (value: number | bigint) => {
    const buffer = Buffer.alloc(8);
    buffer.writeBigInt64LE(BigInt(value));
    return buffer;
  },
  fromJSON: Number,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === "bigint" || Number.isSafeInteger(value),
  compare: (left: number | bigint, right: number | bigint) => (left < right ? -1 : left > right ? 1 : 0),
});

const magic = Buffer.from("Obj\u0001", "latin1");
const headerType = avro.Type.forSchema({ type: "map", values: "bytes" });
/** Below this many bytes compression costs more than it saves. */
const deflateFrom = 4096;
const types = new Map<string, avro.Type>();

function typeOf(schema: AvroSchema): avro.Type {
  const text = JSON.stringify(schema);
  let type = types.get(text);
  if (type === undefined) {
    type = avro.Type.forSchema(schema as unknown as avro.Schema, { registry: { long } });
    if (types.size > 200) types.clear();
    types.set(text, type);
  }
  return type;
}

/** Avro 1.11 object container file: https://avro.apache.org/docs/1.11.1/specification/#object-container-files */
export function encodeAvro(schema: AvroSchema, records: readonly object[], metadata: Record<string, string>): Buffer {
  const type = typeOf(schema);
  const body = Buffer.concat(records.map((record) => type.toBuffer(record)));
  const deflate = body.length >= deflateFrom;
  const block = deflate ? deflateRawSync(body, { level: 1 }) : body;
  const header: Record<string, Buffer> = {
    "avro.schema": Buffer.from(JSON.stringify(schema)),
    "avro.codec": Buffer.from(deflate ? "deflate" : "null"),
  };
  for (const [key, value] of Object.entries(metadata)) header[key] = Buffer.from(value);
  const sync = randomBytes(16);
  const parts = [magic, headerType.toBuffer(header), sync];
  if (records.length > 0) parts.push(varint(records.length), varint(block.length), block, sync);
  return Buffer.concat(parts);
}

export interface AvroFile {
  metadata: Record<string, string>;
  records: Record<string, unknown>[];
}

/**
 * Reads a container file. `rename` maps Iceberg field ids to names: fields of the records (nested ones too) get the name of
 * their id, because ids and not names identify fields in Iceberg. Throws `corrupt`.
 */
export function decodeAvro(bytes: Uint8Array, rename: ReadonlyMap<number, string>, file: string): AvroFile {
  try {
    return decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), rename);
  } catch (cause) {
    throw new MillraceError("corrupt", `\`${file}\` is not a readable Avro file: ${messageOf(cause)}`, {
      cause,
      where: { file },
    });
  }
}

function decode(bytes: Buffer, rename: ReadonlyMap<number, string>): AvroFile {
  if (!bytes.subarray(0, 4).equals(magic)) throw new Error("it does not begin with `Obj1`");
  const { value: header, offset: afterHeader } = headerType.decode(bytes, 4) as {
    value: Record<string, Buffer>;
    offset: number;
  };
  if (afterHeader < 0) throw new Error("the header is cut");
  const metadata: Record<string, string> = {};
  for (const [key, value] of Object.entries(header)) metadata[key] = value.toString("utf8");
  const schema = JSON.parse(metadata["avro.schema"] ?? "null") as AvroSchema;
  const type = typeOf(renameFields(schema, rename) as AvroSchema);
  const codec = metadata["avro.codec"] ?? "null";
  if (codec !== "null" && codec !== "deflate") throw new Error(`its codec \`${codec}\` is not supported`);
  const sync = bytes.subarray(afterHeader, afterHeader + 16);
  const records: Record<string, unknown>[] = [];
  let offset = afterHeader + 16;
  if (offset > bytes.length) throw new Error("the header is cut");
  while (offset < bytes.length) {
    const count = readVarint(bytes, offset);
    const size = readVarint(bytes, count.offset);
    const end = size.offset + size.value;
    if (count.value < 0 || size.value < 0 || end + 16 > bytes.length) throw new Error("a block is cut");
    if (!bytes.subarray(end, end + 16).equals(sync)) throw new Error("a block does not end with the sync marker");
    const raw = bytes.subarray(size.offset, end);
    const block = codec === "deflate" ? inflateRawSync(raw) : raw;
    let position = 0;
    for (let index = 0; index < count.value; index++) {
      const result = type.decode(block, position) as { value: Record<string, unknown>; offset: number };
      if (result.offset < 0) throw new Error("a record is cut");
      records.push(result.value);
      position = result.offset;
    }
    offset = end + 16;
  }
  return { metadata, records };
}

function renameFields(schema: unknown, rename: ReadonlyMap<number, string>): unknown {
  if (Array.isArray(schema)) return schema.map((branch) => renameFields(branch, rename));
  if (typeof schema !== "object" || schema === null) return schema;
  const result: AvroSchema = { ...schema };
  // Avro's own logical types are of no use here, and a decimal over a named fixed type would not resolve.
  if (result["logicalType"] !== "map") delete result["logicalType"];
  if (Array.isArray(result["fields"])) {
    result["fields"] = (result["fields"] as AvroSchema[]).map((field) => {
      const name = rename.get(Number(field["field-id"]));
      return { ...field, name: name ?? field["name"], type: renameFields(field["type"], rename) };
    });
  }
  if (typeof result["type"] === "object") result["type"] = renameFields(result["type"], rename);
  if (result["items"] !== undefined) result["items"] = renameFields(result["items"], rename);
  if (result["values"] !== undefined) result["values"] = renameFields(result["values"], rename);
  return result;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = BigInt(value) * 2n;
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    bytes.push(rest > 0n ? low | 0x80 : low);
  } while (rest > 0n);
  return Buffer.from(bytes);
}

function readVarint(bytes: Buffer, offset: number): { value: number; offset: number } {
  let result = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = bytes[offset++];
    if (byte === undefined) throw new Error("a number is cut");
    result |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return { value: Number((result >> 1n) ^ -(result & 1n)), offset };
  }
  throw new Error("a number is longer than 64 bits");
}

import avro, { type Type } from "avsc";
import { MillraceError, type Column, type DataType } from "../../core/index.ts";
import { dateText, decimalText, exactMicros, jsonText, Pairs, timestampText, timeText, uuidText } from "../values.ts";
import { uniqueNames } from "../sql.ts";

/** A schema as JSON; names refer to types that stand before. */
type Schema = string | Schema[] | { [key: string]: unknown };

export interface Field {
  type: DataType;
  /** What the decoder gives, as a canonical value. */
  convert: (value: unknown) => unknown;
}

/** avsc refuses integers beyond 2^53; with this they are `bigint`. */
const exactLong = avro.types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(value);
    return bytes;
  },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === "bigint",
  compare: (left: bigint, right: bigint) => (left === right ? 0 : left < right ? -1 : 1),
});

/** The decoder of a schema. Unions give their branch, so that no value is taken for one of another branch. */
export function decoderOf(schema: Schema): Type {
  return avro.Type.forSchema(
    schema as avro.Schema,
    { registry: { long: exactLong } as never, wrapUnions: true, noAnonymousTypes: false } as never,
  );
}

const maximumDepth = 64;

/** Columns of the records of a file and how their values become canonical. Recursive parts become JSON text. */
export function recordOf(schema: Schema): {
  columns: Column[];
  names: string[];
  convert: ((value: unknown) => unknown)[];
} {
  const named = new Map<string, Schema>();
  const root = schema as { type?: unknown; fields?: { name: string; type: Schema; doc?: string }[] };
  if (typeof schema !== "object" || Array.isArray(schema) || root.type !== "record" || !Array.isArray(root.fields)) {
    const only = fieldOf(schema, named, undefined, []);
    return { columns: [{ name: "value", type: only.type }], names: [], convert: [only.convert] };
  }
  const namespace = remember(schema, named, undefined);
  const open = [fullName(schema, undefined)];
  const fields = root.fields.map((field) => fieldOf(field.type, named, namespace, open));
  const names = root.fields.map((field) => field.name);
  const unique = uniqueNames(names);
  return {
    columns: root.fields.map((field, index) => ({
      name: unique[index]!,
      type: fields[index]!.type,
      ...(typeof field.doc === "string" && field.doc !== "" ? { doc: field.doc } : {}),
    })),
    names,
    convert: fields.map((field) => field.convert),
  };
}

function fullName(schema: { [key: string]: unknown }, namespace: string | undefined): string {
  const name = String(schema.name);
  if (name.includes(".")) return name;
  const own = typeof schema.namespace === "string" ? schema.namespace : namespace;
  return own ? `${own}.${name}` : name;
}

/** Notes a named type and returns the namespace that holds within it. */
function remember(
  schema: { [key: string]: unknown },
  named: Map<string, Schema>,
  namespace: string | undefined,
): string | undefined {
  if (typeof schema.name !== "string") return namespace;
  const full = fullName(schema, namespace);
  named.set(full, schema);
  return full.includes(".") ? full.slice(0, full.lastIndexOf(".")) : undefined;
}

const asIs = (value: unknown): unknown => value;
const asText: Field = {
  type: "string",
  convert: (value) => (value === null ? null : jsonText("string", loose(value))),
};

/** Values of which no type is known, as canonical ones. */
function loose(value: unknown): unknown {
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(loose);
  return new Map(Object.entries(value).map(([key, each]) => [key, loose(each)]));
}

const primitives: Record<string, DataType> = {
  null: "string",
  boolean: "boolean",
  int: "int",
  long: "long",
  float: "float",
  double: "double",
  bytes: "binary",
  string: "string",
};

/** `open` are the records that are being described: one of them within itself would never end. */
function fieldOf(
  schema: Schema,
  named: Map<string, Schema>,
  namespace: string | undefined,
  open: readonly string[],
): Field {
  if (open.length > maximumDepth) return asText;
  if (Array.isArray(schema)) return unionOf(schema, named, namespace, open);
  if (typeof schema === "string") {
    const primitive = primitives[schema];
    if (primitive !== undefined) return { type: primitive, convert: asIs };
    const full = schema.includes(".") || namespace === undefined ? schema : `${namespace}.${schema}`;
    const found = named.has(full) ? full : schema;
    const definition = named.get(found);
    if (definition === undefined)
      throw new MillraceError("parse", `the Avro schema refers to \`${schema}\`, which it does not define`);
    if (open.includes(found)) return asText;
    return fieldOf(definition, named, found.includes(".") ? found.slice(0, found.lastIndexOf(".")) : undefined, open);
  }
  const { type } = schema;
  if (typeof type === "object") return fieldOf(type as Schema, named, namespace, open);
  const logical = logicalOf(schema);
  const inner = remember(schema, named, namespace);
  if (logical !== undefined) return logical;
  switch (type) {
    case "record":
    case "error": {
      const fields = schema.fields as { name: string; type: Schema }[];
      if (!Array.isArray(fields) || fields.length === 0) return asText;
      const within = [...open, fullName(schema, namespace)];
      const parts = fields.map((field) => ({ name: field.name, ...fieldOf(field.type, named, inner, within) }));
      return {
        type: { type: "struct", fields: parts.map(({ name, type: part }) => ({ name, type: part })) },
        convert: (value) =>
          new Map(parts.map((part) => [part.name, part.convert((value as Record<string, unknown>)[part.name])])),
      };
    }
    case "array": {
      const element = fieldOf(schema.items as Schema, named, namespace, open);
      return {
        type: { type: "list", element: element.type },
        convert: (value) => (value as unknown[]).map(element.convert),
      };
    }
    case "map": {
      const element = fieldOf(schema.values as Schema, named, namespace, open);
      return {
        type: { type: "map", key: "string", value: element.type },
        convert: (value) =>
          new Pairs(
            Object.entries(value as Record<string, unknown>).map(([key, each]) => [key, element.convert(each)]),
          ),
      };
    }
    case "enum":
      return { type: "string", convert: asIs };
    case "fixed":
      return { type: "binary", convert: asIs };
    default:
      return fieldOf(type as string, named, namespace, open);
  }
}

/** Unions: `null` makes a column nullable; numbers are widened; anything else with more than one branch becomes JSON text. */
function unionOf(
  branches: Schema[],
  named: Map<string, Schema>,
  namespace: string | undefined,
  open: readonly string[],
): Field {
  const unwrap = (value: unknown): unknown => {
    if (value === null) return null;
    // With `wrapUnions`, a value is an object with its branch as only key.
    const [inner] = Object.values(value as object);
    return inner;
  };
  const fields = branches
    .filter((branch) => branch !== "null" && (branch as { type?: unknown }).type !== "null")
    .map((branch) => fieldOf(branch, named, namespace, open));
  if (fields.length === 0) return { type: "string", convert: () => null };
  if (fields.length === 1) {
    const [only] = fields;
    return { type: only!.type, convert: (value) => (value === null ? null : only!.convert(unwrap(value))) };
  }
  const types = new Set(fields.map((field) => field.type));
  const plainNumbers = branches.every((branch) => typeof branch === "string");
  if (plainNumbers && [...types].every((type) => type === "int" || type === "long")) {
    return { type: "long", convert: unwrap };
  }
  if (plainNumbers && [...types].every((type) => type === "int" || type === "float" || type === "double")) {
    return { type: "double", convert: unwrap };
  }
  return {
    type: "string",
    convert: (value) => {
      if (value === null) return null;
      const inner = unwrap(value);
      return typeof inner === "string" ? inner : jsonText("string", loose(inner));
    },
  };
}

/** https://avro.apache.org/docs/1.12.0/specification/#logical-types; an unknown or ill-formed one is ignored, as the specification says. */
function logicalOf(schema: { [key: string]: unknown }): Field | undefined {
  const { logicalType, type } = schema;
  const big = (value: unknown): bigint => BigInt(value as bigint | number);
  switch (logicalType) {
    case "decimal": {
      const precision = Number(schema.precision);
      const scale = Number(schema.scale ?? 0);
      if (!(type === "bytes" || type === "fixed") || !(precision > 0) || !(scale >= 0) || scale > precision)
        return undefined;
      const convert = (value: unknown): string => decimalText(signedBytes(value as Uint8Array), scale);
      return { type: precision <= 38 ? `decimal(${precision},${scale})` : "string", convert };
    }
    case "uuid":
      if (type === "string") return { type: "uuid", convert: asIs };
      return type === "fixed" && schema.size === 16
        ? { type: "uuid", convert: (value) => uuidText(value as Uint8Array) }
        : undefined;
    case "date":
      return type === "int" ? { type: "date", convert: (value) => dateText(value as number) } : undefined;
    case "time-millis":
      return type === "int" ? { type: "time", convert: (value) => timeText(big(value) * 1000n) } : undefined;
    case "time-micros":
      return type === "long" ? { type: "time", convert: (value) => timeText(big(value)) } : undefined;
    default: {
      const match = /^(local-)?timestamp-(millis|micros|nanos)$/.exec(String(logicalType));
      if (match === null || type !== "long") return undefined;
      const zone = match[1] === undefined;
      const micros =
        match[2] === "millis"
          ? (value: bigint) => value * 1000n
          : match[2] === "micros"
            ? (value: bigint) => value
            : exactMicros;
      return { type: zone ? "timestamptz" : "timestamp", convert: (value) => timestampText(micros(big(value)), zone) };
    }
  }
}

/** Two's complement, big-endian. */
function signedBytes(bytes: Uint8Array): bigint {
  if (bytes.length === 0) return 0n;
  return BigInt.asIntN(bytes.length * 8, BigInt(`0x${Buffer.from(bytes).toString("hex")}`));
}

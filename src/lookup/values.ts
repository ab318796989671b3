import { momentText, parseDecimal, type Column, type DataType, type LookupValue } from "../core/index.ts";
import type { LaidColumn } from "../feed/layout.ts";
import { formatDate, formatTime, formatTimestamp } from "./moments.ts";

/*
 * Values as an answer in JSON has them, without loss, whoever reads it and whatever the value is:
 *
 *   int, float, double    numbers; NaN and infinities the texts "NaN", "Infinity", "-Infinity"
 *   long, decimal         text, always: most readers of JSON round numbers to 53 bits
 *   date, time, timestamp ISO 8601 text; timestamptz in UTC, with `Z`
 *   binary                base64
 *   lists, structs, maps  JSON, by the same rules (keys of maps are text)
 */

/** Records of an index, to be read at places in them. */
export interface Records {
  bytes: Buffer;
  view: DataView;
}

export function recordsIn(arena: Uint8Array): Records {
  return {
    bytes: Buffer.from(arena.buffer, arena.byteOffset, arena.byteLength),
    view: new DataView(arena.buffer, arena.byteOffset, arena.byteLength),
  };
}

/** How one column is read out of the record that begins at `base`. */
export interface ColumnReader {
  name: string;
  /** JSON of the value. */
  json(records: Records, base: number): string;
  value(records: Records, base: number): LookupValue;
}

/** `column` has its own type; `laid` says where and as what it is kept (nested columns: as JSON text). */
export function columnReader(laid: LaidColumn, index: number, column: Column): ColumnReader {
  const place = 8 + (index >> 3);
  const bit = 1 << (index & 7);
  const isPresent = ({ bytes }: Records, base: number): boolean => (bytes[base + place]! & bit) !== 0;
  const { json, value } = present(laid, column.type);
  return {
    name: column.name,
    json: (records, base) => (isPresent(records, base) ? json(records, base) : "null"),
    value: (records, base) => (isPresent(records, base) ? value(records, base) : null),
  };
}

type Present = Pick<ColumnReader, "json" | "value">;

function present({ slot, type }: LaidColumn, own: DataType): Present {
  const { at } = slot;
  if (slot.kind === "list") return listReader(at, type);
  if (slot.kind === "bytes") {
    const part = ({ bytes, view }: Records, base: number): Buffer => {
      const start = base + view.getUint32(base + at, true);
      return bytes.subarray(start, start + view.getUint32(base + at + 4, true));
    };
    if (typeof own !== "string") {
      const text = (records: Records, base: number): string => finiteJson(part(records, base).toString("utf8"));
      const value = (records: Records, base: number): LookupValue => nestedValue(JSON.parse(text(records, base)), own);
      return { json: holdsMoment(own) ? (records, base) => valueJson(value(records, base)) : text, value };
    }
    if (own === "binary") {
      return {
        json: (records, base) => `"${part(records, base).toString("base64")}"`,
        value: (records, base) => new Uint8Array(part(records, base)),
      };
    }
    return {
      json: (records, base) => JSON.stringify(part(records, base).toString("utf8")),
      value: (records, base) => part(records, base).toString("utf8"),
    };
  }
  const decimal = typeof type === "string" ? parseDecimal(type) : undefined;
  if (decimal) {
    return quoted(({ view }, base) =>
      formatDecimal((view.getBigInt64(base + at + 8, true) << 64n) | view.getBigUint64(base + at, true), decimal.scale),
    );
  }
  switch (type) {
    case "boolean":
      return {
        json: ({ bytes }, base) => (bytes[base + at] === 1 ? "true" : "false"),
        value: ({ bytes }, base) => bytes[base + at] === 1,
      };
    case "int":
      return plain(({ view }, base) => view.getInt32(base + at, true));
    case "float":
      return plain(({ view }, base) => view.getFloat32(base + at, true));
    case "double":
      return plain(({ view }, base) => view.getFloat64(base + at, true));
    case "date":
      return quoted(({ view }, base) => formatDate(view.getInt32(base + at, true)));
    case "time":
      return quoted(({ view }, base) => formatTime(view.getBigInt64(base + at, true)));
    case "timestamp":
      return quoted(({ view }, base) => formatTimestamp(view.getBigInt64(base + at, true)));
    case "timestamptz":
      return quoted(({ view }, base) => `${formatTimestamp(view.getBigInt64(base + at, true))}Z`);
    default:
      return {
        json: ({ view }, base) => `"${view.getBigInt64(base + at, true)}"`,
        value: ({ view }, base) => view.getBigInt64(base + at, true),
      };
  }
}

const plain = (read: (records: Records, base: number) => number): Present => ({
  json: (records, base) => jsonNumber(read(records, base)),
  value: read,
});

/** Texts that need no escapes. */
const quoted = (read: (records: Records, base: number) => string): Present => ({
  json: (records, base) => `"${read(records, base)}"`,
  value: read,
});

/** The shortest text that gives the same double again; also of minus zero. */
export function jsonNumber(value: number): string {
  // With a point: there are readers of JSON to whom `-0` is an integer, and 0.
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0";
  return Number.isFinite(value) ? String(value) : `"${value}"`;
}

export function formatDecimal(unscaled: bigint, scale: number): string {
  if (scale === 0) return String(unscaled);
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, "0");
  return `${unscaled < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

const elementReaders = {
  int: [4, (view: DataView, at: number): number => view.getInt32(at, true)],
  float: [4, (view: DataView, at: number): number => view.getFloat32(at, true)],
  long: [8, (view: DataView, at: number): bigint => view.getBigInt64(at, true)],
  double: [8, (view: DataView, at: number): number => view.getFloat64(at, true)],
} as const;

function listReader(at: number, type: DataType): Present {
  const element = typeof type === "object" && type.type === "list" ? type.element : "int";
  const [width, read] = elementReaders[element as keyof typeof elementReaders];
  const elements = ({ view }: Records, base: number): (number | bigint)[] => {
    const start = base + view.getUint32(base + at, true);
    const length = view.getUint32(base + at + 4, true) / width;
    return Array.from({ length }, (_, index) => read(view, start + index * width));
  };
  return {
    json: (records, base) =>
      `[${elements(records, base)
        .map((value) => (typeof value === "bigint" ? `"${value}"` : jsonNumber(value)))
        .join(",")}]`,
    value: elements,
  };
}

/** The engine writes NaN and infinities into JSON as they are, which JSON does not know. */
function finiteJson(text: string): string {
  if (!/nan|inf/i.test(text)) return text;
  return text.replaceAll(
    /"(?:[^"\\]|\\.)*"|(-?)(nan|inf(?:inity)?)/gi,
    (match, sign: string | undefined, word?: string) =>
      word === undefined ? match : `"${sign}${word.toLowerCase() === "nan" ? "NaN" : "Infinity"}"`,
  );
}

/** Values inside of nested ones as `LookupValue` has them: 64-bit integers, which are text in the JSON, as `bigint`. */
function nestedValue(value: unknown, type: DataType): LookupValue {
  if (value === null) return null;
  if (typeof type !== "string") {
    switch (type.type) {
      case "list":
        return (value as unknown[]).map((item) => nestedValue(item, type.element));
      case "struct": {
        const fields = value as Record<string, unknown>;
        return Object.fromEntries(
          type.fields.map((field) => [field.name, nestedValue(fields[field.name], field.type)]),
        );
      }
      case "map":
        return Object.fromEntries(
          Object.entries(value as object).map(([key, item]) => [key, nestedValue(item, type.value)]),
        );
    }
  }
  if (type === "long") return BigInt(value as string);
  if ((type === "float" || type === "double") && typeof value === "string") return Number(value);
  return typeof value === "string" ? momentText(value, type) : (value as LookupValue);
}

/** The engine writes them into JSON in a way of its own. */
function holdsMoment(type: DataType): boolean {
  if (typeof type === "string") return ["date", "time", "timestamp", "timestamptz"].includes(type);
  switch (type.type) {
    case "list":
      return holdsMoment(type.element);
    case "struct":
      return type.fields.some((field) => holdsMoment(field.type));
    case "map":
      return holdsMoment(type.value);
  }
}

/** JSON of a value whose column is not known, by the same rules; of numbers it is not known whether they are 32 bits wide. */
export function valueJson(value: LookupValue | undefined): string {
  if (value === null || value === undefined) return "null";
  switch (typeof value) {
    case "bigint":
      return `"${value}"`;
    case "number":
      return jsonNumber(value);
    case "object":
      if (value instanceof Uint8Array) return `"${Buffer.from(value).toString("base64")}"`;
      if (Array.isArray(value)) return `[${value.map(valueJson).join(",")}]`;
      return `{${Object.entries(value)
        .map(([name, item]) => `${JSON.stringify(name)}:${valueJson(item)}`)
        .join(",")}}`;
    default:
      return JSON.stringify(value);
  }
}

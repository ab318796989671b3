import { MillraceError, type Column, type Converted, type DataType } from "../core/index.ts";

/**
 * What converters turn values into: text that the engine casts without loss. Runs in the sandbox child.
 * Canonical values: `null`, `boolean`, `number`, `bigint`, `string` (also decimals, dates, times, timestamps, UUIDs in the engine's
 * notation), `Uint8Array`, arrays for lists, `Map` by field name for structs, arrays of pairs wrapped in `Pairs` for maps.
 */
export class Pairs {
  readonly entries: [unknown, unknown][];
  constructor(entries: [unknown, unknown][]) {
    this.entries = entries;
  }
}

/** Columns whose cells are not the engine's own notation. */
export function encodingsOf(columns: readonly Column[]): Record<string, "json" | "hex"> {
  const encodings: [string, "json" | "hex"][] = [];
  for (const { name, type } of columns) {
    if (typeof type !== "string") encodings.push([name, "json"]);
    else if (type === "binary") encodings.push([name, "hex"]);
  }
  return Object.fromEntries(encodings);
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (value === Infinity) return "Infinity";
  if (value === -Infinity) return "-Infinity";
  return Object.is(value, -0) ? "-0.0" : String(value);
}

function plainText(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return numberText(value);
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex");
  if (typeof value === "object") return jsonText("string", value);
  return String(value as boolean | bigint);
}

function jsonString(text: string): string {
  return JSON.stringify(text);
}

/** Bytes within JSON, as the engine reads a BLOB from text. */
function escapedBytes(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += `\\x${byte.toString(16).padStart(2, "0").toUpperCase()}`;
  return text;
}

/** A value as JSON. Structs have all fields of the type, so that strict casts find them. */
export function jsonText(type: DataType, value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) {
    const element = typeof type === "object" && type.type === "list" ? type.element : "string";
    return `[${value.map((each) => jsonText(element, each)).join(",")}]`;
  }
  if (value instanceof Pairs) {
    const inner = typeof type === "object" && type.type === "map" ? type.value : "string";
    return `{${value.entries.map(([key, each]) => `${jsonString(plainText(key))}:${jsonText(inner, each)}`).join(",")}}`;
  }
  if (value instanceof Map) {
    if (typeof type === "object" && type.type === "struct") {
      return `{${type.fields.map((field) => `${jsonString(field.name)}:${jsonText(field.type, value.get(field.name))}`).join(",")}}`;
    }
    return `{${[...(value as Map<string, unknown>)].map(([key, each]) => `${jsonString(key)}:${jsonText("string", each)}`).join(",")}}`;
  }
  if (value instanceof Uint8Array) return jsonString(escapedBytes(value));
  if (typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (typeof value === "number") return Number.isFinite(value) ? numberText(value) : jsonString(numberText(value));
  return jsonString(plainText(value));
}

const needsQuotes = /[",\r\n]/;

/** A cell of CSV: null is nothing at all, the empty string is `""`. */
function cellText(type: DataType, value: unknown): string {
  if (value === null || value === undefined) return "";
  const text =
    typeof type === "string" && !(value instanceof Map || value instanceof Pairs || Array.isArray(value))
      ? plainText(value)
      : jsonText(type, value);
  if (text !== "" && typeof type === "string" && type !== "string") return text;
  return text === "" || needsQuotes.test(text) || text !== text.trim() || type === "string"
    ? `"${text.replaceAll('"', '""')}"`
    : text;
}

const flushCharacters = 64 * 1024;

/** Collects rows as CSV without header; `take` gives what is there once it is worth sending. */
export class RowWriter {
  readonly #columns: readonly Column[];
  #text = "";
  readonly #encoder = new TextEncoder();

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
  }

  add(values: readonly unknown[]): void {
    let line = "";
    for (let index = 0; index < this.#columns.length; index++) {
      if (index > 0) line += ",";
      line += cellText(this.#columns[index]!.type, values[index]);
    }
    this.#text += `${line}\n`;
  }

  take(all = false): Uint8Array | undefined {
    if (this.#text === "" || (!all && this.#text.length < flushCharacters)) return undefined;
    const bytes = this.#encoder.encode(this.#text);
    this.#text = "";
    return bytes;
  }
}

/** The first message of a converter. */
export function headerOf(columns: Column[]): Converted {
  return { columns, format: "csv", encodings: encodingsOf(columns) };
}

export interface ConvertOptions {
  /** Give the columns only. */
  columns_only?: boolean;
  /** The columns to give, in this order; by name, null where the file has none. Default: those of the file. */
  columns?: Column[];
}

/** For each wanted column its place in the file, or -1. */
export function placesOf(wanted: readonly Column[], names: readonly string[]): number[] {
  return wanted.map((column) => names.findIndex((name) => name.toLowerCase() === column.name.toLowerCase()));
}

const perSecond = 1_000_000n;
const perDay = 86_400n * perSecond;

function floorDivide(value: bigint, by: bigint): bigint {
  const quotient = value / by;
  return value % by < 0n ? quotient - 1n : quotient;
}

/** Days since 1970-01-01 as `YYYY-MM-DD`, proleptic Gregorian. Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days. */
export function dateText(days: number): string {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthIndex = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * monthIndex + 2) / 5) + 1;
  const month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const two = (number: number): string => String(number).padStart(2, "0");
  const named = year > 0 ? String(year).padStart(4, "0") : String(1 - year).padStart(4, "0");
  return `${named}-${two(month)}-${two(day)}${year > 0 ? "" : " (BC)"}`;
}

/** Microseconds since midnight as `HH:MM:SS.ffffff`. Throws `value` outside of a day. */
export function timeText(micros: bigint): string {
  if (micros < 0n || micros > perDay) throw new MillraceError("value", `${micros} µs is not a time of day`);
  const seconds = micros / perSecond;
  const two = (number: bigint): string => String(number).padStart(2, "0");
  const fraction = micros % perSecond;
  return `${two(seconds / 3600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}${fraction === 0n ? "" : `.${String(fraction).padStart(6, "0")}`}`;
}

/** Microseconds since the epoch as the engine writes a timestamp; `zone` marks an instant. */
export function timestampText(micros: bigint, zone: boolean): string {
  const days = floorDivide(micros, perDay);
  const date = dateText(Number(days));
  const time = timeText(micros - days * perDay);
  return `${date} ${time}${zone ? "+00" : ""}`;
}

/** Nanoseconds to microseconds. Throws `value` when that would lose something. */
export function exactMicros(nanos: bigint): bigint {
  if (nanos % 1000n !== 0n)
    throw new MillraceError("value", `${nanos} ns has nanoseconds, which a timestamp of microseconds cannot hold`);
  return nanos / 1000n;
}

/** An unscaled integer as decimal text. */
export function decimalText(unscaled: bigint, scale: number): string {
  if (scale <= 0) return String(unscaled * 10n ** BigInt(-scale));
  const negative = unscaled < 0n;
  const digits = String(negative ? -unscaled : unscaled).padStart(scale + 1, "0");
  return `${negative ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** 16 bytes as a UUID. */
export function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

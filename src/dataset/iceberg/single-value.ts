import { type PrimitiveType, parseDecimal } from "../../core/index.ts";

/*
 * Binary single-value serialization: https://iceberg.apache.org/spec/#binary-single-value-serialization (format v2)
 *
 *   boolean               0x00 | non-zero            decimal     unscaled value, two's complement, big-endian, minimal
 *   int, date             4 bytes little-endian      string      UTF-8
 *   long, time, timestamp 8 bytes little-endian      uuid        16 bytes big-endian
 *   float, double         IEEE 754 little-endian     binary      the bytes
 */

/** Java's default `truncate(16)` for metrics of strings and bytes. */
const truncation = 16;

/** A value in the engine's notation → bytes; undefined when it cannot be parsed exactly (infinity, BC years, NaN). */
export function encodeValue(type: PrimitiveType, text: string): Buffer | undefined {
  switch (type) {
    case "boolean":
      if (text === "true" || text === "1") return Buffer.from([1]);
      return text === "false" || text === "0" ? Buffer.from([0]) : undefined;
    case "int":
      return /^-?\d+$/.test(text) ? int32(Number(text)) : undefined;
    case "long":
      return /^-?\d+$/.test(text) ? int64(BigInt(text)) : undefined;
    case "float":
    case "double": {
      const value = text.trim() === "" ? Number.NaN : Number(text);
      if (!Number.isFinite(value)) return undefined;
      const bytes = Buffer.alloc(type === "float" ? 4 : 8);
      if (type === "float") bytes.writeFloatLE(value);
      else bytes.writeDoubleLE(value);
      return bytes;
    }
    case "date": {
      const match = /^(\d{4,6})-(\d\d)-(\d\d)$/.exec(text);
      return match ? int32(Number(daysOf(match))) : undefined;
    }
    case "time": {
      const micros = microsOfDay(text);
      return micros === undefined ? undefined : int64(micros);
    }
    case "timestamp":
    case "timestamptz": {
      const micros = microsOfTimestamp(text, type === "timestamptz");
      return micros === undefined ? undefined : int64(micros);
    }
    case "string":
      return Buffer.from(text, "utf8");
    case "uuid": {
      const hex = text.replaceAll("-", "");
      return /^[0-9a-fA-F]{32}$/.test(hex) ? Buffer.from(hex, "hex") : undefined;
    }
    case "binary":
      return /^([0-9A-Fa-f]{2})*$/.test(text) ? Buffer.from(text, "hex") : undefined;
    default:
      return encodeDecimal(type, text);
  }
}

function int32(value: number): Buffer | undefined {
  if (!Number.isInteger(value) || value < -(2 ** 31) || value >= 2 ** 31) return undefined;
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function int64(value: bigint): Buffer | undefined {
  if (BigInt.asIntN(64, value) !== value) return undefined;
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(value);
  return bytes;
}

function daysOf(match: RegExpExecArray): bigint {
  // Date.UTC takes the years 0 to 99 for 1900 to 1999.
  const moment = new Date(0).setUTCFullYear(Number(match[1]), Number(match[2]) - 1, Number(match[3]));
  return BigInt(Math.floor(moment / 86_400_000));
}

function microsOfDay(text: string): bigint | undefined {
  const match = /^(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?$/.exec(text);
  if (!match) return undefined;
  const seconds = Number(match[1]) * 3600 + Number(match[2]) * 60 + Number(match[3]);
  return BigInt(seconds) * 1_000_000n + BigInt((match[4] ?? "").padEnd(6, "0"));
}

function microsOfTimestamp(text: string, zoned: boolean): bigint | undefined {
  const match = /^(\d{4,6})-(\d\d)-(\d\d)[ T]([\d:.]+)(Z|[+-]\d\d(?::?\d\d)?)?$/.exec(text);
  if (!match || zoned !== (match[5] !== undefined)) return undefined;
  const time = microsOfDay(match[4]!);
  if (time === undefined) return undefined;
  return daysOf(match) * 86_400_000_000n + time - offsetMicros(match[5]);
}

function offsetMicros(zone: string | undefined): bigint {
  if (zone === undefined || zone === "Z") return 0n;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3).replace(":", "") || 0);
  return BigInt(zone.startsWith("-") ? -minutes : minutes) * 60_000_000n;
}

function encodeDecimal(type: string, text: string): Buffer | undefined {
  const decimal = parseDecimal(type);
  const match = /^(-?)(\d+)(?:\.(\d*))?$/.exec(text);
  if (!decimal || !match) return undefined;
  const fraction = (match[3] ?? "").replace(/0+$/, "");
  if (fraction.length > decimal.scale) return undefined;
  const unscaled = BigInt(match[2]! + fraction.padEnd(decimal.scale, "0"));
  return twosComplement(match[1] === "-" ? -unscaled : unscaled);
}

function twosComplement(value: bigint): Buffer {
  let length = 1;
  while (BigInt.asIntN(8 * length, value) !== value) length++;
  const hex = BigInt.asUintN(8 * length, value)
    .toString(16)
    .padStart(2 * length, "0");
  return Buffer.from(hex, "hex");
}

/** The bounds of a leaf that go into a manifest. One that is not known, or not safe for every reader, is left out. */
export function encodeBounds(
  type: PrimitiveType,
  min: string | undefined,
  max: string | undefined,
): { lower?: Buffer; upper?: Buffer } {
  const lower = min === undefined ? undefined : encodeValue(type, min);
  const upper = max === undefined ? undefined : encodeValue(type, max);
  const bounds: { lower?: Buffer | undefined; upper?: Buffer | undefined } = { lower, upper };
  if (type === "float" || type === "double") {
    // Zeros compare as equal where the statistics are made, and -0 < 0 where they are used.
    if (lower && Number(min) === 0) bounds.lower = encodeValue(type, "-0");
    if (upper && Number(max) === 0) bounds.upper = encodeValue(type, "0");
  } else if (type === "string") {
    if (lower) bounds.lower = Buffer.from(Array.from(min!).slice(0, truncation).join(""), "utf8");
    if (upper) bounds.upper = upperText(max!);
  } else if (type === "binary") {
    if (lower) bounds.lower = lower.subarray(0, truncation);
    if (upper) bounds.upper = upperBytes(upper);
  } else if (type === "uuid") {
    return lower && upper ? uuidBounds(lower, upper) : {};
  }
  const result: { lower?: Buffer; upper?: Buffer } = {};
  if (bounds.lower) result.lower = bounds.lower;
  if (bounds.upper) result.upper = bounds.upper;
  return result;
}

function upperText(text: string): Buffer | undefined {
  const points = Array.from(text, (character) => character.codePointAt(0)!);
  if (points.length <= truncation) return Buffer.from(text, "utf8");
  points.length = truncation;
  for (let index = truncation - 1; index >= 0; index--) {
    let next = points[index]! + 1;
    if (next === 0xd800) next = 0xe000;
    if (next <= 0x10ffff) return Buffer.from(String.fromCodePoint(...points.slice(0, index), next), "utf8");
  }
  return undefined;
}

function upperBytes(bytes: Buffer): Buffer | undefined {
  if (bytes.length <= truncation) return bytes;
  for (let index = truncation - 1; index >= 0; index--) {
    if (bytes[index]! < 0xff) {
      const upper = Buffer.from(bytes.subarray(0, index + 1));
      upper[index]!++;
      return upper;
    }
  }
  return undefined;
}

/**
 * Some readers compare the two halves of a UUID as signed numbers (Java's `UUID.compareTo`), others the bytes. These bounds hold
 * in both orders: the first half is moved one outwards, and there are none when the first halves differ in sign.
 */
function uuidBounds(lower: Buffer, upper: Buffer): { lower?: Buffer; upper?: Buffer } {
  const low = lower.readBigInt64BE();
  const high = upper.readBigInt64BE();
  if (low < 0n !== high < 0n) return {};
  const smallest = low < 0n ? -(1n << 63n) : 0n;
  const greatest = low < 0n ? -1n : (1n << 63n) - 1n;
  if (low === smallest || high === greatest) return {};
  const bounds = { lower: Buffer.alloc(16), upper: Buffer.alloc(16) };
  bounds.lower.writeBigInt64BE(low - 1n);
  bounds.upper.writeBigInt64BE(high + 1n);
  return bounds;
}

import { formatType, parseDecimal, type Column, type DataType, type LookupValue } from "../core/index.ts";
import type { Layout, Slot } from "../feed/layout.ts";
import { parseDate, parseTime, parseTimestamp } from "./moments.ts";

/** Where the values of one key column lie in a record. */
interface KeyPart {
  column: Column;
  slot: Exclude<Slot, { kind: "list" }>;
}

/** The key columns of a record, in the order of the key. They have been checked with `keyProblem`. */
export function keyParts(layout: Layout, key: readonly string[]): KeyPart[] {
  return key.map((name) => {
    const { column, slot } = layout.columns.find((laid) => laid.column.name === name)!;
    return { column, slot: slot as KeyPart["slot"] };
  });
}

/** Why a column cannot be part of a key; undefined when it can. */
export function keyProblem({ name, type }: Column): string | undefined {
  if (typeof type === "string" && type !== "float" && type !== "double") return undefined;
  const why = typeof type === "string" ? "two floating point numbers are seldom equal" : "a nested value is no key";
  return `\`${name}\` is of type \`${formatType(type)}\`, and ${why}`;
}

/**
 * Bytes of a key, as they stand in the records: fixed-width values as they lie, text and binary as u32 length and bytes. Two keys are equal
 * when their bytes are. Returned as a view of `into` when it fits.
 */
export function encodeKey(
  parts: readonly KeyPart[],
  values: readonly LookupValue[],
  into: Buffer,
): Buffer | { column: string; problem: string } {
  let bytes = into;
  let used = 0;
  for (const [index, { column, slot }] of parts.entries()) {
    const value = values[index]!;
    const problem = (why: string): { column: string; problem: string } => ({ column: column.name, problem: why });
    if (slot.kind === "bytes") {
      const found = bytesOf(column.type, value);
      if (found === undefined) return problem(`${shown(value)} is no ${formatType(column.type)}`);
      if (used + 4 + found.length > bytes.length) {
        const larger = Buffer.alloc((used + 4 + found.length) * 2);
        bytes.copy(larger, 0, 0, used);
        bytes = larger;
      }
      bytes.writeUInt32LE(found.length, used);
      bytes.set(found, used + 4);
      used += 4 + found.length;
      continue;
    }
    const found = numberOf(column.type, value);
    if (found === undefined || !fits(found, slot.width)) {
      return problem(`${shown(value)} is no ${formatType(column.type)}`);
    }
    if (used + 16 > bytes.length) bytes = Buffer.concat([bytes.subarray(0, used), Buffer.alloc(64)]);
    if (slot.width === 1) bytes[used] = Number(found);
    else if (slot.width === 4) bytes.writeInt32LE(Number(found), used);
    else {
      bytes.writeBigUInt64LE(BigInt.asUintN(64, found), used);
      if (slot.width === 16) bytes.writeBigInt64LE(found >> 64n, used + 8);
    }
    used += slot.width;
  }
  return bytes.subarray(0, used);
}

const shown = (value: LookupValue): string =>
  typeof value === "string" ? `\`${value.slice(0, 40)}\`` : value === null ? "null" : `a ${typeof value}`;

const fits = (value: bigint, width: 1 | 4 | 8 | 16): boolean => BigInt.asIntN(width * 8, value) === value;

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

function bytesOf(type: DataType, value: LookupValue): Uint8Array | undefined {
  if (type === "binary") {
    if (value instanceof Uint8Array) return value;
    return typeof value === "string" && isBase64(value) ? Buffer.from(value, "base64") : undefined;
  }
  if (typeof value !== "string") return undefined;
  if (type !== "uuid") return Buffer.from(value, "utf8");
  const lower = value.toLowerCase();
  return uuid.test(lower) ? Buffer.from(lower, "latin1") : undefined;
}

const isBase64 = (text: string): boolean => text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);

/** Numbers, booleans, dates and times as the integer that their slot holds. Text is read as the type says. */
function numberOf(type: DataType, value: LookupValue): bigint | undefined {
  if (typeof type !== "string") return undefined;
  const decimal = parseDecimal(type);
  if (decimal) return decimalOf(value, decimal.scale);
  switch (type) {
    case "boolean":
      if (value === true || value === "true") return 1n;
      return value === false || value === "false" ? 0n : undefined;
    case "int":
    case "long":
      return integerOf(value);
    case "date":
      return typeof value === "string" ? parseDate(value) : undefined;
    case "time":
      return typeof value === "string" ? parseTime(value) : undefined;
    case "timestamp":
      return typeof value === "string" ? parseTimestamp(value, false) : undefined;
    case "timestamptz":
      return typeof value === "string" ? parseTimestamp(value, true) : undefined;
    default:
      return undefined;
  }
}

function integerOf(value: LookupValue): bigint | undefined {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : undefined;
  return typeof value === "string" && /^[+-]?\d{1,40}$/.test(value) ? BigInt(value.replace("+", "")) : undefined;
}

function decimalOf(value: LookupValue, scale: number): bigint | undefined {
  const integer = integerOf(value);
  if (integer !== undefined) return integer * 10n ** BigInt(scale);
  const match = typeof value === "string" ? /^([+-]?)(\d{0,40})\.(\d{1,40})$/.exec(value) : null;
  if (match === null) return undefined;
  const digits = match[3]!.replace(/0+$/, "");
  if (digits.length > scale) return undefined;
  const unscaled = BigInt(`${match[2]}${digits.padEnd(scale, "0")}`);
  return match[1] === "-" ? -unscaled : unscaled;
}

import { type PrimitiveType, parseDecimal } from "../../core/index.ts";
import { encodeBounds } from "./single-value.ts";

/** Java's default `truncate(16)`: a bound of this length may have been cut. */
const truncation = 16;

/** The text of a bound when it is exactly a value that occurs, in the engine's notation; undefined when it was cut or is not known. */
export function exactText(type: PrimitiveType, bytes: Buffer): string | undefined {
  switch (type) {
    case "boolean":
      return bytes[0] === 0 ? "false" : "true";
    case "int":
      return bytes.length === 4 ? String(bytes.readInt32LE()) : undefined;
    case "long":
      // A column that was widened keeps the narrow bounds of its old files.
      return bytes.length === 8 ? String(bytes.readBigInt64LE()) : exactText("int", bytes);
    case "float":
      return bytes.length === 4 ? floatText(bytes.readFloatLE()) : undefined;
    case "double":
      return bytes.length === 8 ? String(bytes.readDoubleLE()) : exactText("float", bytes);
    case "date":
      return bytes.length === 4
        ? new Date(bytes.readInt32LE() * 86_400_000).toISOString().replace(/T.*/, "")
        : undefined;
    case "time":
      return bytes.length === 8 ? timeText(bytes.readBigInt64LE()) : undefined;
    case "timestamp":
    case "timestamptz":
      return bytes.length === 8 ? timestampText(bytes.readBigInt64LE(), type === "timestamptz") : undefined;
    case "string": {
      const text = bytes.toString("utf8");
      return Array.from(text).length < truncation ? text : undefined;
    }
    case "binary":
      return bytes.length < truncation ? bytes.toString("hex").toUpperCase() : undefined;
    case "uuid":
      return undefined;
    default: {
      const { scale } = parseDecimal(type)!;
      return decimalText(signed(bytes), scale);
    }
  }
}

function floatText(value: number): string {
  for (let digits = 6; digits <= 9; digits++) {
    const text = String(Number(value.toPrecision(digits)));
    if (Math.fround(Number(text)) === value) return text;
  }
  return String(value);
}

function timeText(micros: bigint): string {
  const seconds = micros / 1_000_000n;
  const two = (value: bigint): string => String(value).padStart(2, "0");
  const fraction = String(micros % 1_000_000n)
    .padStart(6, "0")
    .replace(/0+$/, "");
  return `${two(seconds / 3600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}${fraction && `.${fraction}`}`;
}

function timestampText(micros: bigint, zoned: boolean): string | undefined {
  const day = 86_400_000_000n;
  const inDay = ((micros % day) + day) % day;
  const date = new Date(Number((micros - inDay) / 1000n));
  if (Number.isNaN(date.getTime()) || date.getUTCFullYear() < 1 || date.getUTCFullYear() > 9999) return undefined;
  return `${date.toISOString().slice(0, 10)} ${timeText(inDay)}${zoned ? "+00" : ""}`;
}

function signed(bytes: Buffer): bigint {
  return bytes.length === 0 ? 0n : BigInt.asIntN(8 * bytes.length, BigInt(`0x${bytes.toString("hex")}`));
}

function decimalText(unscaled: bigint, scale: number): string {
  if (scale === 0) return String(unscaled);
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, "0");
  return `${unscaled < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** A bound as something that `<` orders as the column does; undefined where the order is not certain. */
function comparable(type: PrimitiveType, bytes: Buffer): bigint | number | string | undefined {
  switch (type) {
    case "boolean":
      return bytes[0];
    case "int":
    case "date":
      return bytes.length === 4 ? BigInt(bytes.readInt32LE()) : undefined;
    case "long":
    case "time":
    case "timestamp":
    case "timestamptz":
      if (bytes.length === 4) return BigInt(bytes.readInt32LE());
      return bytes.length === 8 ? bytes.readBigInt64LE() : undefined;
    case "float":
    case "double":
      if (bytes.length === 4) return bytes.readFloatLE();
      return bytes.length === 8 ? bytes.readDoubleLE() : undefined;
    case "string":
    case "binary":
    case "uuid":
      return bytes.toString("hex");
    default:
      return signed(bytes);
  }
}

/**
 * Whether values between `min` and `max` (engine's notation; absent: open) may occur in a file with these bounds. True when it cannot be ruled out.
 * Scales of decimals never change in a column, so unscaled values compare.
 */
export function mayOverlap(
  type: PrimitiveType,
  range: { min?: string; max?: string },
  bounds: { lower?: Buffer | undefined; upper?: Buffer | undefined },
): boolean {
  const wanted = encodeBounds(type, range.min, range.max);
  const after = (left: Buffer | undefined, right: Buffer | undefined): boolean => {
    if (!left || !right) return false;
    const [first, second] = [comparable(type, left), comparable(type, right)];
    return first !== undefined && second !== undefined && first > second;
  };
  return !after(bounds.lower, wanted.upper) && !after(wanted.lower, bounds.upper);
}

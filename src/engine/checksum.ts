import { parseDecimal, type DataType, type Sql } from "../core/index.ts";

/**
 * The text of a value that every system can make, as `docs/reference/checksums.md` defines it.
 * Undefined for types that have none: floating point and nested ones.
 */
export function canonicalText(column: Sql, type: DataType): Sql | undefined {
  if (typeof type !== "string") return undefined;
  const decimal = parseDecimal(type);
  // The engine leaves out the zero before the point where the type has room for none.
  if (decimal && decimal.precision === decimal.scale) return `regexp_replace(${column}::VARCHAR, '^(-?)\\.', '\\10.')`;
  if (decimal) return `${column}::VARCHAR`;
  switch (type) {
    case "float":
    case "double":
      return undefined;
    case "binary":
      return `lower(hex(${column}))`;
    // strftime knows no infinity; its own text serves there.
    case "timestamp":
      return `CASE WHEN isfinite(${column}) THEN strftime(${column}, '%Y-%m-%d %H:%M:%S.%f') ELSE ${column}::VARCHAR END`;
    case "timestamptz":
      return `CASE WHEN isfinite(${column}) THEN strftime(${column} AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S.%f') ELSE ${column}::VARCHAR END`;
    case "time":
      return `strftime(DATE '2000-01-01' + ${column}, '%H:%M:%S.%f')`;
    default:
      return `${column}::VARCHAR`;
  }
}

/** An aggregate: the sum over all non-null values of the first 60 bits of the MD5 of their text, as decimal digits. */
export function columnChecksum(column: Sql, type: DataType): Sql | undefined {
  const text = canonicalText(column, type);
  if (text === undefined) return undefined;
  return `coalesce(sum(('0x' || substr(md5(${text}), 1, 15))::BIGINT::HUGEINT), 0)::VARCHAR`;
}

import {
  DuckDBArrayValue,
  DuckDBBlobValue,
  DuckDBListValue,
  DuckDBMapValue,
  DuckDBStructValue,
  type DuckDBValue,
} from "@duckdb/node-api";

/**
 * A value of the engine without loss: BIGINT and wider are `bigint`; DECIMAL, DATE, TIME, TIMESTAMP, UUID and INTERVAL
 * are their exact text; BLOB is bytes; lists are arrays, structs objects, maps arrays of pairs.
 */
export function toLossless(value: DuckDBValue): unknown {
  if (value === null || typeof value !== "object") return value;
  if (value instanceof DuckDBBlobValue) return value.bytes;
  if (value instanceof DuckDBListValue || value instanceof DuckDBArrayValue) return value.items.map(toLossless);
  if (value instanceof DuckDBStructValue) {
    return Object.fromEntries(Object.entries(value.entries).map(([name, entry]) => [name, toLossless(entry)]));
  }
  if (value instanceof DuckDBMapValue)
    return value.entries.map(({ key, value: entry }) => [toLossless(key), toLossless(entry)]);
  return value.toString();
}

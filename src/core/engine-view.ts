import type { Column } from "./types.ts";

/**
 * What modules under `sources` and `formats` may ask of the engine without importing it.
 * SQL is DuckDB's; paths inside it must be quoted with `sqlString`.
 */
export interface EngineView {
  /** The columns that a FROM clause would give (`read_csv('…')`). Reads no more than the engine's sample. */
  describe(relation: string): Promise<Column[]>;
  /** A small result: values as strings, numbers, bigints, booleans or null. Not for data. */
  query(sql: string): Promise<Record<string, unknown>[]>;
}

/** A string literal of the engine's SQL. */
export function sqlString(text: string): string {
  if (text.includes("\0")) text = text.replaceAll("\0", "");
  return `'${text.replaceAll("'", "''")}'`;
}

/** A quoted identifier of the engine's SQL. */
export function sqlName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

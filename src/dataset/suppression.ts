import { createHash, randomBytes } from "node:crypto";
import { type Column, MillraceError, messageOf, sqlName, sqlString, type Sql } from "../core/index.ts";
import { type TableMetadata, property } from "./iceberg/metadata.ts";
import { engineType } from "./relation.ts";

/**
 * Values of one column whose rows must not come back: SHA-256 of the salt and the value as the engine writes it. The hashes keep
 * whoever has a value from being told the others, but a short list of possible values can be tried out: guard the lake accordingly.
 */
export interface Suppression {
  /** Field id of the column. */
  column: number;
  salt: string;
  /** Lower-case hexadecimal, sorted. */
  hashes: string[];
}

export function suppressionsOf(metadata: TableMetadata): Suppression[] {
  const text = metadata.properties[property.suppressed];
  if (text === undefined) return [];
  try {
    return JSON.parse(text) as Suppression[];
  } catch (cause) {
    throw new MillraceError("corrupt", `the list of suppressed values is not JSON: ${messageOf(cause)}`, { cause });
  }
}

/** The metadata with more suppressed values of a column; each column keeps the salt that it got first. */
export function withSuppressed(metadata: TableMetadata, column: number, values: readonly string[]): TableMetadata {
  const list = suppressionsOf(metadata);
  const known = list.find((one) => one.column === column);
  const salt = known?.salt ?? randomBytes(16).toString("hex");
  const hashes = values.map((value) => createHash("sha256").update(`${salt}${value}`).digest("hex"));
  const merged: Suppression = { column, salt, hashes: [...new Set([...(known?.hashes ?? []), ...hashes])].sort() };
  const next = [...list.filter((one) => one !== known), merged];
  return { ...metadata, properties: { ...metadata.properties, [property.suppressed]: JSON.stringify(next) } };
}

/** A predicate, never null, of the rows that may come in. Undefined: nothing is suppressed among these columns. */
export function admittedPredicate(suppressions: readonly Suppression[], columns: readonly Column[]): Sql | undefined {
  const parts = suppressions.flatMap(({ column, salt, hashes }) => {
    const found = columns.find((candidate) => candidate.id === column);
    if (found === undefined || hashes.length === 0) return [];
    // As text of the column's own type, which what comes may not have yet.
    const text = `CAST(CAST(${sqlName(found.name)} AS ${engineType(found.type)}) AS VARCHAR)`;
    const hash = `sha256(${sqlString(salt)} || ${text})`;
    return [`coalesce(${hash} NOT IN (${hashes.map(sqlString).join(", ")}), true)`];
  });
  return parts.length === 0 ? undefined : parts.join(" AND ");
}

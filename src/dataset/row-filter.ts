import { type Column, MillraceError, suggestion } from "../core/index.ts";
import { mayOverlap } from "./iceberg/bounds.ts";
import type { StoredFile } from "./iceberg/manifest.ts";

/**
 * What is known of the rows that somebody wants. A value is null in none of them, and lies between `min` and `max`, both included, in
 * the engine's notation; an absent end is open.
 */
export type RowFilter =
  | { all: readonly RowFilter[] }
  | { any: readonly RowFilter[] }
  | { column: string; min?: string; max?: string };

/** False when the bounds that the manifest has for a file rule out that one of its rows is wanted. */
export function mayHoldRows(file: StoredFile, filter: RowFilter, columns: readonly Column[]): boolean {
  if ("all" in filter) return filter.all.every((one) => mayHoldRows(file, one, columns));
  if ("any" in filter) return filter.any.some((one) => mayHoldRows(file, one, columns));
  const column = columns.find(({ name }) => name === filter.column);
  if (column === undefined) {
    const names = columns.map(({ name }) => name);
    throw new MillraceError("not-found", `there is no column \`${filter.column}\``, {
      where: { column: filter.column },
      hint: suggestion(filter.column, names),
    });
  }
  // Floating point orders NaN differently here and there.
  if (typeof column.type !== "string" || column.type === "float" || column.type === "double") return true;
  const bound = (bounds: StoredFile["lower_bounds"]): Buffer | undefined =>
    bounds?.find(({ key }) => key === column.id)?.value;
  return mayOverlap(column.type, filter, { lower: bound(file.lower_bounds), upper: bound(file.upper_bounds) });
}

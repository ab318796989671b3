import { parseDecimal, type Column, type DataType, type StagedFile, type Statistics } from "../core/index.ts";

/** Orders two values in the engine's notation. Undefined where text does not tell (strings may be cut off in statistics). */
function compare(type: DataType, left: string, right: string): number | undefined {
  if (type === "int" || type === "long")
    return Number(BigInt(left) > BigInt(right)) - Number(BigInt(left) < BigInt(right));
  if (type === "float" || type === "double") return Number(left) - Number(right);
  if (typeof type === "string" && parseDecimal(type)) {
    const [a, b] = [scaled(left), scaled(right)];
    return Number(a > b) - Number(a < b);
  }
  if (type === "date" || type === "time" || type === "timestamp" || type === "timestamptz") {
    // Years of four digits order as text; others (BC, beyond 9999, infinity) do not.
    const plain = /^(\d{4}-\d\d-\d\d|\d\d:\d\d)/;
    return plain.test(left) && plain.test(right) ? (left < right ? -1 : left > right ? 1 : 0) : undefined;
  }
  return undefined;
}

/** Decimals of one column have one scale, so the digits alone order them. */
function scaled(text: string): bigint {
  return BigInt(text.replace(".", ""));
}

/** Statistics of the top-level columns over all files, for checks and reports that need no scan. */
export function mergeStatistics(files: readonly StagedFile[], columns: readonly Column[]): Statistics {
  const result: Statistics = { rows: files.reduce((sum, file) => sum + file.rows, 0), columns: {} };
  for (const column of columns) {
    if (typeof column.type !== "string" || column.id === undefined) continue;
    const merged: { nulls?: number; min?: string; max?: string; nan?: boolean } = { nulls: 0 };
    let bounded = true;
    for (const file of files) {
      const leaf = file.statistics[column.id];
      if (leaf === undefined) {
        delete merged.nulls;
        bounded = false;
        continue;
      }
      if (merged.nulls !== undefined) merged.nulls += leaf.nulls;
      if (leaf.nan) merged.nan = true;
      if (leaf.nulls === leaf.values) continue;
      if (leaf.min === undefined || leaf.max === undefined) bounded = false;
      if (!bounded) continue;
      const low = merged.min === undefined ? -1 : compare(column.type, leaf.min!, merged.min);
      const high = merged.max === undefined ? 1 : compare(column.type, leaf.max!, merged.max);
      if (
        low === undefined ||
        high === undefined ||
        (merged.min === undefined && compare(column.type, leaf.min!, leaf.max!) === undefined)
      ) {
        bounded = false;
        continue;
      }
      if (low < 0) merged.min = leaf.min!;
      if (high > 0) merged.max = leaf.max!;
    }
    if (!bounded) {
      delete merged.min;
      delete merged.max;
    }
    result.columns[column.name] = merged;
  }
  return result;
}

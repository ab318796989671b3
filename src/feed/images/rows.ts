import type { ColumnBatch, ColumnData } from "../../core/index.ts";

/** Some rows of a batch, in the order of `rows`. Elements of lists are shared with it. */
export function pickRows(batch: ColumnBatch, rows: readonly number[]): ColumnBatch {
  return { rows: rows.length, columns: batch.columns.map((column) => pick(column, rows)) };
}

function pick({ values, validity, list }: ColumnData, rows: readonly number[]): ColumnData {
  const picked = {
    values: list === undefined ? take(values, rows) : values,
    ...(validity === undefined ? {} : { validity: Uint8Array.from(rows, (row) => validity[row]!) }),
  };
  if (list === undefined) return picked;
  const starts = Int32Array.from(rows, (row) => list.starts[row]!);
  const lengths = Int32Array.from(rows, (row) => list.lengths[row]!);
  return { ...picked, list: { starts, lengths, elements: list.elements } };
}

function take(values: ColumnData["values"], rows: readonly number[]): ColumnData["values"] {
  if (Array.isArray(values)) return rows.map((row) => values[row] as string);
  const typed = values as Float64Array;
  const taken = new (typed.constructor as Float64ArrayConstructor)(rows.length);
  for (const [index, row] of rows.entries()) taken[index] = typed[row]!;
  return taken;
}

import type { Sql } from "../../core/index.ts";
import { isPresent, type Engine, type Vector, type VectorBatch } from "../../engine/index.ts";

/** What a value leaves the engine as. `bytes` are expressions of type BLOB. */
export interface FlatField {
  sql: Sql;
  bytes: boolean;
}

/** Values of variable size of a batch: those of row r are `bytes` from `starts[r]` to `ends[r]`. */
export interface ByteValues {
  length: number;
  kind: "slices";
  validity?: Uint8Array;
  bytes: Uint8Array;
  starts: Int32Array;
  ends: Int32Array;
}

export type FlatColumn = ByteValues | Exclude<Vector, { kind: "bytes" }>;

/** A batch for encoders of samples, a column a field. */
export interface FlatBatch {
  rows: number;
  columns: FlatColumn[];
}

/**
 * The fields of all rows of `from` (`FROM … [WHERE …] [ORDER BY …]`), in its order. Fields of bytes travel in one value a row with their
 * lengths beside it: to take a value of variable size over from the engine costs a microsecond each.
 */
export async function* flatBatches(
  engine: Engine,
  fields: readonly FlatField[],
  from: Sql,
  signal?: AbortSignal,
): AsyncGenerator<FlatBatch> {
  const packed = fields.filter((field) => field.bytes);
  const pack = packed.length > 1;
  const items = fields.map(({ sql, bytes }, index) =>
    pack && bytes ? `octet_length(${sql})::INTEGER AS f${index}` : `${sql} AS f${index}`,
  );
  if (pack) items.push(`${packed.map(({ sql }) => `coalesce(${sql}, ''::BLOB)`).join(" || ")} AS packed`);
  for await (const batch of engine.vectors(`SELECT ${items.join(", ")} ${from}`, signal)) {
    yield { rows: batch.rows, columns: columnsOf(fields, batch, pack) };
  }
}

function columnsOf(fields: readonly FlatField[], { rows, vectors }: VectorBatch, packed: boolean): FlatColumn[] {
  const all = packed ? vectors.at(-1)! : undefined;
  const next = all?.kind === "bytes" ? all.offsets.slice(0, rows) : undefined;
  return fields.map((field, index): FlatColumn => {
    const vector = vectors[index]!;
    if (vector.kind === "bytes") {
      const { offsets, bytes } = vector;
      const slices = { bytes, starts: offsets.subarray(0, rows), ends: offsets.subarray(1) };
      return { kind: "slices", length: rows, ...(vector.validity && { validity: vector.validity }), ...slices };
    }
    if (!field.bytes || next === undefined || all?.kind !== "bytes" || vector.kind !== "fixed") return vector;
    const starts = next.slice();
    const lengths = vector.values as Int32Array;
    for (let row = 0; row < rows; row++) {
      if (isPresent(vector.validity, row)) next[row]! += lengths[row]!;
    }
    const slices = { bytes: all.bytes, starts, ends: next.slice() };
    return { kind: "slices", length: rows, ...(vector.validity && { validity: vector.validity }), ...slices };
  });
}

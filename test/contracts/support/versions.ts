import type { Column, ColumnBatch, ColumnData, VersionRows } from "../../../src/core/index.ts";

export type TextRow = readonly (string | null)[];

export interface MadeVersion {
  dataset?: string;
  version: number;
  columns: readonly Column[];
  /** Values as text in the engine's notation. */
  rows: readonly TextRow[];
  /** Rows that are handed over at a time. Default 100. */
  chunk?: number;
  /** Before each chunk, counted from 0, and once more at the end: may wait or throw. */
  before?: (chunk: number) => void | Promise<void>;
}

/** A version of a dataset that is only in memory, handed over in chunks that a test can stop at. */
export function versionOf({ dataset = "made", version, columns, rows, chunk = 100, before }: MadeVersion): VersionRows {
  async function* chunks(signal: AbortSignal | undefined): AsyncGenerator<readonly TextRow[]> {
    let number = 0;
    for (let from = 0; from < rows.length; from += chunk) {
      await before?.(number++);
      signal?.throwIfAborted();
      yield rows.slice(from, from + chunk);
    }
    await before?.(number);
    signal?.throwIfAborted();
  }
  return {
    dataset,
    version,
    columns,
    rows: rows.length,
    async *bytes({ format, signal }) {
      const encoder = new TextEncoder();
      if (format === "csv") yield encoder.encode(`${columns.map(({ name }) => csvText(name)).join(",")}\n`);
      const line = format === "csv" ? csvLine : (row: TextRow): string => jsonLine(columns, row);
      for await (const some of chunks(signal)) yield encoder.encode(some.map(line).join(""));
    },
    async *batches({ signal } = {}) {
      for await (const some of chunks(signal)) yield batchOf(columns, some);
    },
  };
}

const csvText = (text: string): string => (/^$|[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const csvLine = (row: TextRow): string => `${row.map((value) => (value === null ? "" : csvText(value))).join(",")}\n`;

function jsonLine(columns: readonly Column[], row: TextRow): string {
  const fields = columns.map(({ name, type }, index) => {
    const text = row[index] ?? null;
    const isPlain = text === null || type === "boolean" || typeof type !== "string";
    const isNumber = typeof type === "string" && /^(int|long|float|double|decimal)/.test(type);
    const finite = text !== null && /^-?[\d.]+(e[+-]?\d+)?$/i.test(text);
    return `${JSON.stringify(name)}:${isPlain || (isNumber && finite) ? text : JSON.stringify(text)}`;
  });
  return `{${fields.join(",")}}\n`;
}

function batchOf(columns: readonly Column[], rows: readonly TextRow[]): ColumnBatch {
  return {
    rows: rows.length,
    columns: columns.map(({ type }, index) =>
      dataOf(
        type,
        rows.map((row) => row[index]!),
      ),
    ),
  };
}

function dataOf(type: Column["type"], values: readonly (string | null)[]): ColumnData {
  const validity = Uint8Array.from(values, (value) => (value === null ? 0 : 1));
  switch (type) {
    case "long":
      return { values: BigInt64Array.from(values, (value) => BigInt(value ?? 0)), validity };
    case "int":
      return { values: Int32Array.from(values, (value) => Number(value ?? 0)), validity };
    case "float":
      return { values: Float32Array.from(values, (value) => Number(value ?? 0)), validity };
    case "double":
      return { values: Float64Array.from(values, (value) => Number(value ?? 0)), validity };
    case "boolean":
      return { values: values.map((value) => (value === null ? null : value === "true")) };
    case "binary":
      return { values: values.map((value) => (value === null ? null : Uint8Array.from(Buffer.from(value, "hex")))) };
    default:
      return { values: [...values] };
  }
}

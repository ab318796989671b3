import {
  DuckDBBlobValue,
  DuckDBBlobVector,
  DuckDBDataChunk,
  DuckDBListVector,
  DuckDBTypeId,
  type DuckDBConnection,
  type DuckDBType,
  type DuckDBValue,
  type DuckDBVector,
} from "@duckdb/node-api";
import { randomBytes } from "node:crypto";
import { sqlName, type Column, type ColumnBatch, type ColumnData, type Sql } from "../core/index.ts";
import { shapeOf } from "./copy.ts";
import { typeSql } from "./types.ts";
import { toLossless } from "./values.ts";

/** Rows of one chunk of the engine. */
const chunkRows = 2048;

/** Types whose JavaScript values go into a vector as they are; all others travel as text and are cast by the engine. */
const direct = new Set(["boolean", "int", "long", "float", "double", "string", "binary"]);

/** Brings batches of columns into a temporary table of the connection and gives its name and how many rows it holds. */
export async function appendBatches(
  connection: DuckDBConnection,
  columns: readonly Column[],
  batches: AsyncIterable<ColumnBatch>,
  onRows?: (rows: number) => void,
): Promise<{ table: Sql; rows: number }> {
  const table = `landing_${randomBytes(6).toString("hex")}`;
  const carried = columns.map((column) =>
    typeof column.type === "string" && direct.has(column.type) ? typeSql(column.type) : "VARCHAR",
  );
  await connection.run(
    `CREATE TEMP TABLE ${table} (${columns.map((column, index) => `${sqlName(column.name)} ${carried[index]}`).join(", ")})`,
  );
  const types: DuckDBType[] = (await shapeOf(connection, `SELECT * FROM ${table}`)).map(({ type }) => type);
  const appender = await connection.createAppender(table, null, "temp");
  let rows = 0;
  try {
    for await (const batch of batches) {
      for (let start = 0; start < batch.rows; start += chunkRows) {
        const count = Math.min(chunkRows, batch.rows - start);
        const chunk = DuckDBDataChunk.create(types, count);
        for (const [index, data] of batch.columns.entries())
          chunk.setColumnValues(index, valuesOf(columns[index]!, data, start, count));
        appender.appendDataChunk(chunk);
      }
      rows += batch.rows;
      onRows?.(rows);
    }
    appender.flushSync();
  } finally {
    appender.closeSync();
  }
  return { table, rows };
}

function valuesOf(column: Column, data: ColumnData, start: number, count: number): DuckDBValue[] {
  const result: DuckDBValue[] = [];
  const { values, validity } = data;
  const binary = column.type === "binary";
  const long = column.type === "long";
  const number = column.type === "int" || column.type === "float" || column.type === "double";
  for (let index = 0; index < count; index++) {
    const value = validity !== undefined && validity[start + index] !== 1 ? null : values[start + index]!;
    if (value === null) result[index] = null;
    else if (binary) result[index] = new DuckDBBlobValue(value as Uint8Array);
    else if (long && typeof value === "number") result[index] = BigInt(value);
    else if (number && typeof value === "bigint") result[index] = Number(value);
    else result[index] = value as DuckDBValue;
  }
  return result;
}

const arrays: Partial<
  Record<DuckDBTypeId, { new (length: number): Int32Array | BigInt64Array | Float32Array | Float64Array }>
> = {
  [DuckDBTypeId.INTEGER]: Int32Array,
  [DuckDBTypeId.BIGINT]: BigInt64Array,
  [DuckDBTypeId.FLOAT]: Float32Array,
  [DuckDBTypeId.DOUBLE]: Float64Array,
};

/**
 * The result of a SELECT in batches of columns, pulled: numbers as typed arrays, all else as `toLossless` gives it. With `flatLists`,
 * lists of numbers come as one array of their elements with offsets, and bytes are good until the next batch only.
 */
export async function* streamBatches(
  connection: DuckDBConnection,
  select: Sql,
  flatLists = false,
): AsyncGenerator<ColumnBatch> {
  const result = await connection.stream(select);
  for (;;) {
    const chunk = await result.fetchChunk();
    if (chunk === null || chunk.rowCount === 0) return;
    const columns = Array.from({ length: chunk.columnCount }, (_, index) =>
      columnData(chunk.getColumnVector(index), chunk.rowCount, flatLists),
    );
    yield { rows: chunk.rowCount, columns };
  }
}

function columnData(vector: DuckDBVector, rows: number, flatLists: boolean): ColumnData {
  const TypedArray = arrays[vector.type.typeId];
  if (TypedArray === undefined) {
    if (flatLists && vector instanceof DuckDBListVector) {
      const list = listData(vector, rows);
      if (list !== undefined) return list;
    }
    return {
      values: Array.from({ length: rows }, (_, index) => itemOf(vector, index, flatLists)) as string[],
    };
  }
  const values = new TypedArray(rows);
  const validity = new Uint8Array(rows);
  let nulls = 0;
  for (let index = 0; index < rows; index++) {
    const value = vector.getItem(index) as number | bigint | null;
    if (value === null) nulls++;
    else {
      values[index] = value as never;
      validity[index] = 1;
    }
  }
  return nulls === 0 ? { values } : { values, validity };
}

/** `borrowed`: bytes are not copied, and are good until the next batch. */
function itemOf(vector: DuckDBVector, index: number, borrowed: boolean): unknown {
  if (borrowed && vector instanceof DuckDBBlobVector) return vector.getItemBytes(index);
  return toLossless(vector.getItem(index) as DuckDBValue);
}

function listData(vector: DuckDBListVector, rows: number): ColumnData | undefined {
  const child = vector.childVector;
  if (arrays[child.type.typeId] === undefined) return undefined;
  const elements = columnData(child, child.itemCount, false);
  const starts = new Int32Array(rows);
  const lengths = new Int32Array(rows);
  const validity = new Uint8Array(rows);
  for (let index = 0; index < rows; index++) {
    if (vector.getItemVector(index) === null) continue;
    validity[index] = 1;
    starts[index] = vector.getEntryOffset(index);
    lengths[index] = vector.getEntryLength(index);
  }
  return { values: [], validity, list: { starts, lengths, elements } };
}

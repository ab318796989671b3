import { sqlName, type Column, type ColumnBatch, type ColumnData, type Sql, type VersionRows } from "../core/index.ts";
import { runKey, type Dataset, type Version } from "../dataset/index.ts";
import { plainJson } from "../quality/index.ts";
import type { LakeHandles } from "./lake.ts";

/** The rows of a version as sinks take them. */
export async function versionRows(lake: LakeHandles, dataset: Dataset, version: Version): Promise<VersionRows> {
  const columns = dataset.columns(version);
  const relation = await dataset.relation(version);
  const run = version.summary[runKey];
  return {
    dataset: dataset.name,
    version: version.number,
    ...(run === undefined ? {} : { run }),
    erasures: dataset.erasures().epoch,
    columns,
    rows: version.rows,
    async *bytes({ format, signal }) {
      const engine = await lake.engine();
      const select = `SELECT ${columns.map(format === "csv" ? csvCell : jsonMember).join(", ")} FROM ${relation}`;
      const copy = format === "csv" ? "FORMAT csv, HEADER" : "FORMAT json";
      yield* engine.exportStream(select, copy, signal);
    },
    async *batches({ rows, signal } = {}) {
      const engine = await lake.engine();
      const select = `SELECT ${columns.map(batchValue).join(", ")} FROM ${relation}`;
      for await (const { batch } of engine.stream(select, signal, { flatLists: true })) {
        yield* rows === undefined ? [batch] : slices(batch, rows);
      }
    },
  };
}

const as = (value: Sql, { name }: Column): Sql => `${value} AS ${sqlName(name)}`;

function csvCell(column: Column): Sql {
  const value = sqlName(column.name);
  if (column.type === "binary") return as(`lower(hex(${value}))`, column);
  if (typeof column.type === "string") return value;
  // A JSON null would be the text `null`.
  return as(
    `CASE WHEN ${value} IS NOT NULL THEN CAST(to_json(${plainJson(value, column.type)}) AS VARCHAR) END`,
    column,
  );
}

const jsonMember = (column: Column): Sql => as(plainJson(sqlName(column.name), column.type), column);

/** Dates, times, decimals and uuids travel as text anyway: made by the engine, they cost no object each. */
function batchValue(column: Column): Sql {
  const { type } = column;
  const value = sqlName(column.name);
  const isText = typeof type === "string" && /^(date|time|timestamp|timestamptz|uuid|decimal.*)$/.test(type);
  return isText ? as(`CAST(${value} AS VARCHAR)`, column) : value;
}

function* slices(batch: ColumnBatch, rows: number): Generator<ColumnBatch> {
  for (let from = 0; from < batch.rows; from += rows) {
    const to = Math.min(from + rows, batch.rows);
    yield { rows: to - from, columns: batch.columns.map((column) => sliceOf(column, from, to)) };
  }
}

function sliceOf({ values, validity, list }: ColumnData, from: number, to: number): ColumnData {
  return {
    values: values.slice(from, to) as ColumnData["values"],
    ...(validity === undefined ? {} : { validity: validity.subarray(from, to) }),
    ...(list === undefined
      ? {}
      : { list: { ...list, starts: list.starts.subarray(from, to), lengths: list.lengths.subarray(from, to) } }),
  };
}

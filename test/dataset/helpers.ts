import { randomUUID } from "node:crypto";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import {
  type Column,
  type DataType,
  type LeafStatistics,
  type StagedFile,
  type Store,
  sqlName,
  sqlString,
} from "../../src/core/index.ts";
import type { Dataset } from "../../src/dataset/index.ts";
import * as fileSystem from "../../src/stores/fs/driver.ts";

export interface Workplace extends AsyncDisposable {
  folder: string;
  store: Store;
}

/** A store in a new temporary folder. */
export async function workplace(): Promise<Workplace> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-dataset-"));
  const store = await fileSystem.open({ path: "lake" }, { connection: "lake", folder });
  return { folder, store, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}

let instance: Promise<DuckDBInstance> | undefined;

/** Rows of a query; big integers and decimals as text. */
export async function query(sql: string): Promise<Record<string, unknown>[]> {
  instance ??= DuckDBInstance.create(":memory:", { threads: "2", memory_limit: "500MB" });
  const connection = await (await instance).connect();
  try {
    await connection.run("SET TimeZone = 'UTC'");
    return (await connection.runAndReadAll(sql)).getRowObjectsJson() as Record<string, unknown>[];
  } finally {
    connection.closeSync();
  }
}

function fieldIds(type: DataType, id: number | undefined): string {
  if (typeof type === "string") return String(id);
  const parts = [`__duckdb_field_id: ${id}`];
  if (type.type === "struct") for (const field of type.fields) parts.push(`${sqlName(field.name)}: ${fieldIds(field.type, field.id)}`);
  else if (type.type === "list") parts.push(`element: ${fieldIds(type.element, type.elementId)}`);
  else parts.push(`key: ${fieldIds(type.key, type.keyId)}`, `value: ${fieldIds(type.value, type.valueId)}`);
  return `{${parts.join(", ")}}`;
}

function leafIds(columns: readonly Column[]): Map<string, number> {
  const ids = new Map<string, number>();
  const visit = (path: string, type: DataType, id: number | undefined): void => {
    if (typeof type === "string") ids.set(path, id!);
    else if (type.type === "struct") for (const field of type.fields) visit(`${path}.${sqlName(field.name)}`, field.type, field.id);
    else if (type.type === "list") visit(`${path}."element"`, type.element, type.elementId);
    else {
      visit(`${path}."key"`, type.key, type.keyId);
      visit(`${path}."value"`, type.value, type.valueId);
    }
  };
  for (const column of columns) visit(sqlName(column.name), column.type, column.id);
  return ids;
}

/** Writes the rows of a SELECT as a data file of the dataset, with the field ids of `columns`. */
export async function stage(
  dataset: Dataset,
  select: string,
  columns: readonly Column[] = dataset.columns(),
): Promise<StagedFile> {
  const path = `${dataset.folder}/data/${randomUUID()}.parquet`;
  const local = join(tmpdir(), `millrace-${randomUUID()}.parquet`);
  const ids = columns.map((column) => `${sqlName(column.name)}: ${fieldIds(column.type, column.id)}`);
  const [result] = await query(
    `COPY (${select}) TO ${sqlString(local)} (FORMAT parquet, COMPRESSION zstd, FIELD_IDS {${ids.join(", ")}}, RETURN_STATS)`,
  );
  const leaves = leafIds(columns);
  const statistics: Record<number, LeafStatistics> = {};
  for (const { key, value } of result!["column_statistics"] as { key: string; value: { key: string; value: string }[] }[]) {
    const facts = Object.fromEntries(value.map((entry) => [entry.key, entry.value]));
    const leaf: LeafStatistics = {
      values: Number(facts["num_values"]),
      nulls: Number(facts["null_count"] ?? 0),
      bytes: Number(facts["column_size_bytes"]),
    };
    if (facts["min"] !== undefined) leaf.min = facts["min"];
    if (facts["max"] !== undefined) leaf.max = facts["max"];
    if (facts["has_nan"] !== undefined) leaf.nan = facts["has_nan"] === "true";
    const id = leaves.get(key);
    if (id !== undefined) statistics[id] = leaf;
  }
  const sha256 = createHash("sha256").update(await readFile(local)).digest("hex");
  const entry = await dataset.store.adopt(local, path);
  return { path, rows: Number(result!["count"]), bytes: entry.size, sha256, statistics };
}

/** Rows of a version of the dataset, by its own relation. */
export async function rowsOf(dataset: Dataset, tail = "", version = dataset.current()): Promise<Record<string, unknown>[]> {
  return query(`SELECT * FROM ${await dataset.relation(version)} ${tail}`);
}

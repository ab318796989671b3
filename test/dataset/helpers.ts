import { createHash, randomUUID } from "node:crypto";
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
import { toIcebergSchema } from "../../src/core/iceberg-schema.ts";
import { type Engine, openEngine } from "../../src/engine/index.ts";
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
  if (type.type === "struct")
    for (const field of type.fields) parts.push(`${sqlName(field.name)}: ${fieldIds(field.type, field.id)}`);
  else if (type.type === "list") parts.push(`element: ${fieldIds(type.element, type.elementId)}`);
  else parts.push(`key: ${fieldIds(type.key, type.keyId)}`, `value: ${fieldIds(type.value, type.valueId)}`);
  return `{${parts.join(", ")}}`;
}

function leafIds(columns: readonly Column[]): Map<string, number> {
  const ids = new Map<string, number>();
  const visit = (path: string, type: DataType, id: number | undefined): void => {
    if (typeof type === "string") ids.set(path, id!);
    else if (type.type === "struct")
      for (const field of type.fields) visit(`${path}.${sqlName(field.name)}`, field.type, field.id);
    else if (type.type === "list") visit(`${path}."element"`, type.element, type.elementId);
    else {
      visit(`${path}."key"`, type.key, type.keyId);
      visit(`${path}."value"`, type.value, type.valueId);
    }
  };
  for (const column of columns) visit(sqlName(column.name), column.type, column.id);
  return ids;
}

/** Writes the rows of a SELECT as a local Parquet file with field ids; `path` of the result is local. */
async function writeParquet(select: string, columns: readonly Column[], local: string): Promise<StagedFile> {
  const ids = columns.map((column) => `${sqlName(column.name)}: ${fieldIds(column.type, column.id)}`);
  const schema = JSON.stringify(toIcebergSchema(columns, 0));
  const [result] = await query(
    `COPY (${select}) TO ${sqlString(local)} (FORMAT parquet, COMPRESSION zstd, FIELD_IDS {${ids.join(", ")}}, ` +
      `KV_METADATA {'iceberg.schema': ${sqlString(schema)}}, RETURN_STATS)`,
  );
  const leaves = leafIds(columns);
  const statistics: Record<number, LeafStatistics> = {};
  const facts = result!["column_statistics"] as { key: string; value: { key: string; value: string }[] }[];
  for (const { key, value } of facts) {
    const known = Object.fromEntries(value.map((entry) => [entry.key, entry.value]));
    const leaf: LeafStatistics = {
      values: Number(known["num_values"]),
      nulls: Number(known["null_count"] ?? 0),
      bytes: Number(known["column_size_bytes"]),
    };
    if (known["min"] !== undefined) leaf.min = known["min"];
    if (known["max"] !== undefined) leaf.max = known["max"];
    if (known["has_nan"] !== undefined) leaf.nan = known["has_nan"] === "true";
    const id = leaves.get(key);
    if (id !== undefined) statistics[id] = leaf;
  }
  const bytes = await readFile(local);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { path: local, rows: Number(result!["count"]), bytes: bytes.length, sha256, statistics };
}

/** Writes the rows of a SELECT as a data file of the dataset, with the field ids of `columns`. */
export async function stage(
  dataset: Dataset,
  select: string,
  columns: readonly Column[] = dataset.columns(),
): Promise<StagedFile> {
  const local = join(tmpdir(), `millrace-${randomUUID()}.parquet`);
  const file = await writeParquet(select, columns, local);
  const path = `${dataset.folder}/data/${randomUUID()}.parquet`;
  await dataset.store.adopt(local, path);
  return { ...file, path };
}

/** Stages and appends. */
export async function append(dataset: Dataset, select: string, columns?: readonly Column[]): Promise<void> {
  const file = await stage(dataset, select, columns);
  await dataset.commit({ operation: "append", add: [file], ...(columns && { columns: [...columns] }) });
}

let opened: Promise<Engine> | undefined;
const real = (): Promise<Engine> => {
  opened ??= openEngine({
    spillFolder: join(tmpdir(), `millrace-spill-${process.pid}`),
    allowed: [tmpdir()],
    threads: 2,
  });
  return opened;
};

/** The engine, opened on first use. */
export const engine: Engine = {
  query: async (sql, signal) => (await real()).query(sql, signal),
  write: async (select, request) => (await real()).write(select, request),
} satisfies Partial<Engine> as unknown as Engine;

/** Closes the engine; for `afterAll`. */
export async function closeEngine(): Promise<void> {
  await (await opened)?.[Symbol.asyncDispose]();
  opened = undefined;
}

/** `write` of this one puts the schema into the Parquet files too, where icebird looks for it. */
export const engineForIcebird: Engine = {
  query,
  async write(select, request) {
    const names = request.columns.map((column) => sqlName(column.name)).join(", ");
    const local = join(request.folder, `${request.prefix}-0.parquet`);
    return [await writeParquet(`SELECT ${names} FROM (${select}) AS t`, request.columns, local)];
  },
} satisfies Partial<Engine> as unknown as Engine;

/** Rows of a version of the dataset, by its own relation. */
export async function rowsOf(
  dataset: Dataset,
  tail = "",
  version = dataset.current(),
): Promise<Record<string, unknown>[]> {
  return query(`SELECT * FROM ${await dataset.relation(version)} ${tail}`);
}

import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import type { Column, StagedFile, Store } from "../../src/core/index.ts";
import type { Dataset } from "../../src/dataset/index.ts";
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

/** Writes the rows of a SELECT as a data file of the dataset, with the field ids of `columns`. */
export async function stage(
  dataset: Dataset,
  select: string,
  columns: readonly Column[] = dataset.columns(),
): Promise<StagedFile> {
  const engine = await real();
  const [file] = await engine.write(select, {
    columns: [...columns],
    folder: tmpdir(),
    prefix: `millrace-${randomUUID()}`,
  });
  if (file === undefined) throw new Error(`no rows to stage: ${select}`);
  const path = `${dataset.folder}/data/${randomUUID()}.parquet`;
  await dataset.store.adopt(file.path, path);
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

/** Rows of a version of the dataset, by its own relation. */
export async function rowsOf(
  dataset: Dataset,
  tail = "",
  version = dataset.current(),
): Promise<Record<string, unknown>[]> {
  return query(`SELECT * FROM ${await dataset.relation(version)} ${tail}`);
}

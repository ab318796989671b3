import { type Column, type Sql, formatType, sameType, sqlName } from "../core/index.ts";
import type { Engine } from "../engine/engine.ts";
import type { DataFile, Dataset, Version } from "./dataset.ts";

/** What is different between two versions. */
export interface DatasetDiff {
  before: number;
  after: number;
  /** One sentence each: `added price: double`. */
  schema: string[];
  filesAdded: number;
  filesRemoved: number;
  rowsBefore: number;
  rowsAfter: number;
  rowsAdded: number;
  rowsRemoved: number;
  /** Rows whose key is in both and whose other columns differ. 0 without a key: then a change is a removed and an added row. */
  rowsChanged: number;
  key: string[];
  /** A few of the added rows and of the removed ones (changed rows are among both). */
  samples: { added: Record<string, unknown>[]; removed: Record<string, unknown>[] };
}

export interface DiffOptions {
  key?: readonly string[];
  /** Rows in each of `samples`. Default 5. */
  samples?: number;
  signal?: AbortSignal;
}

/**
 * Compares two versions by what they hold. Files that both have are equal and are not read; of the others, rows are compared as
 * multisets over the columns that both versions have (by field id, under the names of `after`).
 */
export async function diffVersions(
  dataset: Dataset,
  before: Version,
  after: Version,
  engine: Pick<Engine, "query">,
  options: DiffOptions = {},
): Promise<DatasetDiff> {
  const { signal, samples = 5 } = options;
  const [oldColumns, newColumns] = [dataset.columns(before), dataset.columns(after)];
  const [oldFiles, newFiles] = [await dataset.files(before), await dataset.files(after)];
  const removedFiles = without(oldFiles, newFiles);
  const addedFiles = without(newFiles, oldFiles);
  const oldIds = new Map(oldColumns.map((column) => [column.id, column]));
  const common = newColumns.filter((column) => oldIds.has(column.id));
  const key = (options.key ?? []).filter((name) => common.some((column) => column.name === name));
  const diff: DatasetDiff = {
    before: before.number,
    after: after.number,
    schema: schemaChanges(oldColumns, newColumns),
    filesAdded: addedFiles.length,
    filesRemoved: removedFiles.length,
    rowsBefore: before.rows,
    rowsAfter: after.rows,
    rowsAdded: rowsOf(addedFiles),
    rowsRemoved: rowsOf(removedFiles),
    rowsChanged: 0,
    key,
    samples: { added: [], removed: [] },
  };
  if (common.length === 0 || (addedFiles.length === 0 && removedFiles.length === 0)) return diff;

  const names = common.map((column) => sqlName(column.name)).join(", ");
  const select = async (files: readonly DataFile[]): Promise<Sql> =>
    `SELECT ${names} FROM ${await dataset.relation(after, files)}`;
  const [oldRows, newRows] = [await select(removedFiles), await select(addedFiles)];
  const removed =
    removedFiles.length === 0 || addedFiles.length === 0 ? oldRows : `(${oldRows}) EXCEPT ALL (${newRows})`;
  const added = removedFiles.length === 0 || addedFiles.length === 0 ? newRows : `(${newRows}) EXCEPT ALL (${oldRows})`;
  const count = async (sql: Sql): Promise<number> => {
    const [row] = await engine.query(`SELECT count(*) AS n FROM (${sql}) AS t`, signal);
    return Number(row!["n"]);
  };
  diff.rowsAdded = await count(added);
  diff.rowsRemoved = await count(removed);
  if (key.length > 0 && diff.rowsAdded > 0 && diff.rowsRemoved > 0) {
    const keys = key.map(sqlName).join(", ");
    diff.rowsChanged = await count(
      `(SELECT ${keys} FROM (${added}) AS a) INTERSECT ALL (SELECT ${keys} FROM (${removed}) AS r)`,
    );
    diff.rowsAdded -= diff.rowsChanged;
    diff.rowsRemoved -= diff.rowsChanged;
  }
  const order = key.length > 0 ? ` ORDER BY ${key.map(sqlName).join(", ")}` : "";
  const sample = (sql: Sql): Promise<Record<string, unknown>[]> =>
    engine.query(`SELECT * FROM (${sql}) AS t${order} LIMIT ${samples}`, signal);
  if (samples > 0) diff.samples = { added: await sample(added), removed: await sample(removed) };
  return diff;
}

function without(files: readonly DataFile[], others: readonly DataFile[]): DataFile[] {
  const paths = new Set(others.map((file) => file.path));
  return files.filter((file) => !paths.has(file.path));
}

function rowsOf(files: readonly DataFile[]): number {
  return files.reduce((sum, file) => sum + file.rows, 0);
}

function schemaChanges(before: readonly Column[], after: readonly Column[]): string[] {
  const changes: string[] = [];
  const old = new Map(before.map((column) => [column.id, column]));
  for (const column of after) {
    const was = old.get(column.id);
    old.delete(column.id);
    if (was === undefined) {
      changes.push(`added \`${column.name}\`: ${formatType(column.type)}`);
      continue;
    }
    if (was.name !== column.name) changes.push(`renamed \`${was.name}\` to \`${column.name}\``);
    if (!sameType(was.type, column.type)) {
      changes.push(`\`${column.name}\` was ${formatType(was.type)}, is ${formatType(column.type)}`);
    }
    if (was.required && !column.required) changes.push(`\`${column.name}\` may now be null`);
  }
  for (const column of old.values()) changes.push(`dropped \`${column.name}\``);
  return changes;
}

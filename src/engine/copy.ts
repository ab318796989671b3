import type { DuckDBConnection, DuckDBType } from "@duckdb/node-api";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import {
  MillraceError,
  sqlName,
  sqlString,
  systemCode,
  type Column,
  type LeafStatistics,
  type Sql,
  type StagedFile,
} from "../core/index.ts";
import { toIcebergSchema } from "../core/iceberg-schema.ts";
import { castSql, fieldIds, fromDuckDB, leafPaths } from "./types.ts";

export interface CopyTarget {
  columns: readonly Column[];
  folder: string;
  prefix: string;
}

/**
 * A row group is in memory until it is written, one a thread, and its compressed columns beside it, which the limit of memory does not count:
 * with 32 MB a process takes 200 MB more, and no less time. The engine's own bound is 122,880 rows, however long they are.
 */
const rowGroupBytes = "12MB";

/** Names and types of what a SELECT gives, without running it over data. */
export async function shapeOf(
  connection: DuckDBConnection,
  select: Sql,
): Promise<{ name: string; type: DuckDBType }[]> {
  const prepared = await connection.prepare(`SELECT * FROM (${select})`);
  try {
    return Array.from({ length: prepared.columnCount }, (_, index) => ({
      name: prepared.columnName(index),
      type: prepared.columnType(index),
    }));
  } finally {
    prepared.destroySync();
  }
}

export async function columnsOf(connection: DuckDBConnection, select: Sql): Promise<Column[]> {
  return (await shapeOf(connection, select)).map(({ name, type }) => ({ name, type: fromDuckDB(type) }));
}

/** The rows of a SELECT as exactly `columns`, picked by name. */
export async function castSelect(connection: DuckDBConnection, select: Sql, columns: readonly Column[]): Promise<Sql> {
  const shape = new Map((await shapeOf(connection, select)).map(({ name, type }) => [name, type]));
  const list = columns.map((column) => {
    const type = shape.get(column.name);
    if (type === undefined) {
      throw new MillraceError("schema", `the rows have no column \`${column.name}\``, {
        where: { column: column.name },
        hint: `they have ${[...shape.keys()].map((name) => `\`${name}\``).join(", ")}`,
      });
    }
    return `${castSql(sqlName(column.name), type, column)} AS ${sqlName(column.name)}`;
  });
  return `SELECT ${list.join(", ")} FROM (${select})`;
}

/**
 * Writes the rows of a SELECT as one Parquet file with field ids; durable when the promise resolves. Zero rows give none.
 * The SELECT must give `columns` in name, order and type (see `castSelect`).
 */
export async function copyToParquet(
  connection: DuckDBConnection,
  select: Sql,
  target: CopyTarget,
): Promise<StagedFile[]> {
  const path = join(target.folder, `${target.prefix}-0.parquet`);
  const partial = `${path}.partial`;
  // Some readers of Iceberg in JavaScript resolve columns by this key rather than by the field ids of the Parquet schema.
  const schema = sqlString(JSON.stringify(toIcebergSchema(target.columns, 0)));
  const options = `FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE_BYTES '${rowGroupBytes}', FIELD_IDS ${fieldIds(target.columns)}, KV_METADATA {'iceberg.schema': ${schema}}, RETURN_STATS`;
  try {
    const reader = await connection.runAndReadAll(`COPY (${select}) TO ${sqlString(partial)} (${options})`);
    const [row] = reader.getRowObjectsJson() as unknown as CopyRow[];
    if (row === undefined || Number(row.count) === 0) {
      await rm(partial, { force: true });
      return [];
    }
    const [{ size }, sha256] = await Promise.all([stat(partial), fileSha256(partial), syncFile(partial)]);
    await renameDurably(partial, path);
    return [{ path, rows: Number(row.count), bytes: size, sha256, statistics: statisticsOf(row, target.columns) }];
  } catch (error) {
    await rm(partial, { force: true });
    // Files of a run are removed by nobody but a run that took it over while this process slept, and what collects garbage after it.
    if (systemCode(error) !== "ENOENT") throw error;
    throw new MillraceError("conflict", `${basename(path)} was removed as it was written`, {
      hint: "another run went on with this one's work; nothing is lost: run again for what came since",
      cause: error,
    });
  }
}

/** Lower-case hexadecimal SHA-256 of a local file. */
export async function fileSha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The folder's entry is durable too. */
async function renameDurably(from: string, to: string): Promise<void> {
  await rename(from, to);
  const folder = await open(dirname(to), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** A row of COPY … RETURN_STATS, every value as text. */
interface CopyRow {
  count: string;
  column_statistics: { key: string; value: { key: string; value: string }[] }[];
}

function statisticsOf(row: CopyRow, columns: readonly Column[]): Record<number, LeafStatistics> {
  const leaves = leafPaths(columns);
  const result: Record<number, LeafStatistics> = {};
  for (const { key, value } of row.column_statistics) {
    const leaf = leaves.get(key);
    if (leaf === undefined) continue;
    const facts = Object.fromEntries(value.map((entry) => [entry.key, entry.value]));
    const values = Number(facts.num_values);
    const statistics: LeafStatistics = {
      values,
      nulls: Number(facts.null_count),
      bytes: Number(facts.column_size_bytes),
    };
    const bound = (text: string | undefined): string | undefined =>
      leaf.type === "boolean" && text !== undefined ? (text === "1" ? "true" : "false") : text;
    const [min, max] = [bound(facts.min), bound(facts.max)];
    if (min !== undefined) statistics.min = min;
    if (max !== undefined) statistics.max = max;
    if (facts.has_nan !== undefined) statistics.nan = facts.has_nan === "true";
    result[leaf.id] = statistics;
  }
  return result;
}

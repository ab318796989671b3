import {
  type Column,
  type DataType,
  type KnownFile,
  MillraceError,
  type Sql,
  forEachLimited,
  localFile,
  sqlName,
  sqlString,
} from "../core/index.ts";
import type { DataFile, Version } from "./dataset.ts";
import type { StoredFile } from "./iceberg/manifest.ts";
import { hasFieldIds } from "./iceberg/parquet-footer.ts";
import { fromIcebergSchema } from "../core/iceberg-schema.ts";
import type { Table } from "./table.ts";

/** The engine's name of a type. */
export function engineType(type: DataType): Sql {
  if (typeof type === "string") {
    switch (type) {
      case "int":
        return "INTEGER";
      case "long":
        return "BIGINT";
      case "string":
        return "VARCHAR";
      case "binary":
        return "BLOB";
      case "timestamptz":
        return "TIMESTAMPTZ";
      default:
        return type.toUpperCase();
    }
  }
  switch (type.type) {
    case "struct":
      return `STRUCT(${type.fields.map((field) => `${sqlName(field.name)} ${engineType(field.type)}`).join(", ")})`;
    case "list":
      return `${engineType(type.element)}[]`;
    case "map":
      return `MAP(${engineType(type.key)}, ${engineType(type.value)})`;
  }
}

/** See `Dataset.relation`. */
export async function relation(
  table: Table,
  version: Version | undefined,
  files?: readonly DataFile[],
  options: { rowNumber?: boolean; fetched?: boolean } = {},
): Promise<Sql> {
  const columns = table.columns(version?.schemaId);
  const chosen = files ?? (await table.files(version));
  if (options.fetched !== false) await table.store.fetch?.(chosen.map(knownData));
  await assertFieldIds(table, chosen);
  return readFiles(
    table,
    columns,
    chosen.map((file) => file.path),
    { ...options, rows: chosen.reduce((sum, file) => sum + file.rows, 0) },
  );
}

/** Files of other writers may lack field ids (Hive tables brought in); by ids they would read as nulls. */
async function assertFieldIds(table: Table, files: readonly DataFile[]): Promise<void> {
  const unknown = files.filter((file) => file.sha256 === undefined && !table.withFieldIds.has(file.path));
  await forEachLimited(unknown, 8, async ({ path }) => {
    if (!(await hasFieldIds(table.store, path))) {
      throw new MillraceError("unsupported", `the file \`${path}\` of \`${table.name}\` has no Iceberg field ids`, {
        where: { dataset: table.name, file: path },
        hint: "rewrite the table with the engine that made it (Spark: `call system.rewrite_data_files`), or read the files as a source",
      });
    }
    table.withFieldIds.add(path);
  });
}

/**
 * A FROM item with the columns, read from Parquet files of the table by field id. `filename` adds that column, `rowNumber` the
 * column `file_row_number`: the place of the row in its file, from 0. `rows` is how many rows the files have: read by field ids they look
 * empty to the planner, and a join would hold the larger side in memory.
 */
export function readFiles(
  table: Table,
  columns: readonly Column[],
  paths: readonly string[],
  options: { filename?: boolean; rowNumber?: boolean; rows?: number } = {},
): Sql {
  if (paths.length === 0) {
    const items = columns.map((column) => `CAST(NULL AS ${engineType(column.type)}) AS ${sqlName(column.name)}`);
    if (options.filename) items.push("CAST(NULL AS VARCHAR) AS filename");
    if (options.rowNumber) items.push("CAST(NULL AS BIGINT) AS file_row_number");
    return `(SELECT ${items.join(", ")} WHERE false)`;
  }
  assertNestedNames(table, columns);
  const list = paths.map((path) => sqlString(engineFile(table, path))).join(", ");
  const schema = columns.map(
    (column) =>
      `${column.id}: {name: ${sqlString(column.name)}, type: ${sqlString(engineType(column.type))}, default_value: NULL}`,
  );
  const filename = options.filename ? ", filename = true" : "";
  const rowNumber = options.rowNumber ? ", file_row_number = true" : "";
  const rows = options.rows === undefined ? "" : `, explicit_cardinality = ${options.rows}`;
  return `read_parquet([${list}]${filename}${rowNumber}${rows}, schema = MAP {${schema.join(", ")}})`;
}

/** What is known of a data file, for `Store.fetch`. */
export function knownData({ path, bytes, sha256 }: DataFile): KnownFile {
  return { path, bytes, ...(sha256 === undefined ? {} : { sha256 }) };
}

/** What a manifest says of a file, for `Store.fetch`. */
export function knownFile(file: StoredFile, path: string): KnownFile {
  const { file_size_in_bytes: bytes, millrace_sha256: sha256 } = file;
  return { path, bytes, ...(sha256 === null ? {} : { sha256 }) };
}

/** What the engine opens: a file of this machine, or the absolute name. Glob characters in it are taken literally. */
export function engineFile(table: Pick<Table, "store">, path: string): string {
  return localFile(table.store, path).replaceAll(/[[*?]/g, "[$&]");
}

/**
 * The engine finds columns by field id and fields inside a struct by name. That is the same thing unless a name inside a struct
 * meant another field once; then it is refused rather than read wrongly.
 */
function assertNestedNames(table: Table, columns: readonly Column[]): void {
  const wanted = new Map<number, string>();
  const byPath = new Map<string, number>();
  for (const [path, id] of nestedFields(columns)) {
    wanted.set(id, path);
    byPath.set(path, id);
  }
  if (byPath.size === 0) return;
  for (const schema of table.metadata.schemas) {
    for (const [path, id] of nestedFields(fromIcebergSchema(schema))) {
      const renamed = wanted.has(id) && wanted.get(id) !== path;
      const reused = byPath.has(path) && byPath.get(path) !== id;
      if (!renamed && !reused) continue;
      const [column, ...names] = path.split("\0");
      throw new MillraceError(
        "unsupported",
        `\`${names.join(".")}\` inside the column with field id ${column} of \`${table.name}\` was renamed or replaced, which Millrace cannot read`,
        { where: { dataset: table.name }, hint: "rewrite the table with the engine that renamed it" },
      );
    }
  }
}

/** Fields inside columns: path (id of the column, then names, separated by NUL) → field id. */
function* nestedFields(columns: readonly Column[]): Generator<[path: string, id: number]> {
  for (const column of columns) yield* inside(column.type, String(column.id));
}

function* inside(type: DataType, path: string): Generator<[path: string, id: number]> {
  if (typeof type === "string") return;
  if (type.type === "struct") {
    for (const field of type.fields) {
      const own = `${path}\0${field.name}`;
      if (field.id !== undefined) yield [own, field.id];
      yield* inside(field.type, own);
    }
  } else if (type.type === "list") {
    yield* inside(type.element, `${path}\0element`);
  } else {
    yield* inside(type.key, `${path}\0key`);
    yield* inside(type.value, `${path}\0value`);
  }
}

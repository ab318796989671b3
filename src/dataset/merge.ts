import {
  localFile,
  type Column,
  MillraceError,
  type PrimitiveType,
  type Sql,
  type StagedFile,
  sqlName,
  suggestion,
} from "../core/index.ts";
import type { Engine } from "../engine/engine.ts";
import type { Dataset } from "./dataset.ts";
import { mayOverlap } from "./iceberg/bounds.ts";
import type { StoredFile } from "./iceberg/manifest.ts";
import { tableOf } from "./open.ts";
import { knownFile, readFiles } from "./relation.ts";
import { currentSnapshot } from "./iceberg/metadata.ts";

export interface MergeRequest {
  dataset: Dataset;
  engine: Engine;
  /** A FROM item with the new rows; no two of them with the same key. */
  rows: Sql;
  /** The files that hold the new rows. Their statistics, when complete, spare a scan for the range of the keys. */
  staged: readonly StagedFile[];
  /** A FROM item with keys whose rows go and get no new one: none of them is a key of `rows`. */
  gone?: Sql;
  /** Columns that identify a row. Nulls count as equal. */
  key: readonly string[];
  /** Columns that the dataset will have, with ids. */
  columns: readonly Column[];
  /** Local folder for the replacement files, which are named `<prefix>-<n>.parquet`. */
  folder: string;
  prefix: string;
  signal?: AbortSignal;
}

export interface Merged {
  /** Replacement files with the untouched rows of the removed ones; `path` is local. The new rows are not among them. */
  add: StagedFile[];
  /** Paths of data files that hold rows with a key of the new rows. */
  remove: string[];
  /** New rows that take the place of an earlier row. */
  updated: number;
  /** Earlier rows with a key of `gone`. */
  deleted: number;
}

/**
 * Copy-on-write merge by key, against the current version: files without a matching key stay as they are, the others are
 * written again without the matching rows. Commit `add` and the staged files, and remove `remove`, in one `overwrite` with `base`.
 */
export async function mergeChange(request: MergeRequest): Promise<Merged> {
  const { dataset, engine, rows, gone, key, columns, folder, prefix, signal } = request;
  const keyColumns = key.map((name) => keyColumn(dataset, columns, name));
  if (keyColumns.length === 0) throw new MillraceError("usage", `a merge into \`${dataset.name}\` needs a key`);
  const table = tableOf(dataset);
  const snapshot = currentSnapshot(table.metadata);
  const nothing: Merged = { add: [], remove: [], updated: 0, deleted: 0 };
  if (snapshot === undefined) return nothing;

  const known = new Set(table.columns().map((column) => column.id));
  if (keyColumns.some((column) => !known.has(column.id))) {
    // A key column that is new is null in every earlier row.
    if (keyColumns.every((column) => column.required)) return nothing;
  }
  const names = keyColumns.map((column) => sqlName(column.name)).join(", ");
  const keys = gone === undefined ? rows : `(SELECT ${names} FROM ${rows} UNION ALL SELECT ${names} FROM ${gone})`;
  const ranges = await keyRanges(request, keys, keyColumns);
  const live = (await table.liveEntries(snapshot)).map((entry) => entry.data_file);
  const candidates = live.filter((file) => mayMatch(file, ranges));
  if (candidates.length === 0) return nothing;

  const paths = candidates.map((file) => table.pathOf(file.file_path));
  await table.store.fetch?.(
    candidates.map((file, index) => knownFile(file, paths[index]!)),
    signal,
  );
  const allRows = candidates.reduce((sum, file) => sum + file.record_count, 0);
  const same = keyColumns
    .map((column) => `o.${sqlName(column.name)} IS NOT DISTINCT FROM n.${sqlName(column.name)}`)
    .join(" AND ");
  const found = await engine.query(
    `SELECT filename, count(*) AS matched FROM ${readFiles(table, keyColumns, paths, { filename: true, rows: allRows })} AS o ` +
      `WHERE EXISTS (SELECT 1 FROM ${keys} AS n WHERE ${same}) GROUP BY filename`,
    signal,
  );
  if (found.length === 0) return nothing;
  const byFile = new Map(
    candidates.map((file, index) => [localFile(table.store, paths[index]!), { file, path: paths[index]! }]),
  );
  const remove: string[] = [];
  let [total, matched] = [0, 0];
  for (const row of found) {
    const hit = byFile.get(String(row["filename"]));
    if (hit === undefined) {
      throw new MillraceError(
        "internal",
        `the engine names a file \`${String(row["filename"])}\` that is not of \`${dataset.name}\``,
      );
    }
    remove.push(hit.path);
    total += hit.file.record_count;
    matched += Number(row["matched"]);
  }

  const old = readFiles(table, columns, remove, { rows: total });
  const oldKeys = readFiles(table, keyColumns, remove, { rows: total });
  const [counted] = await engine.query(
    `SELECT (SELECT count(*) FROM (SELECT ${names} FROM ${rows}) AS n ` +
      `WHERE EXISTS (SELECT 1 FROM ${oldKeys} AS o WHERE ${same})) AS updated, ` +
      (gone === undefined
        ? "0 AS deleted"
        : `(SELECT count(*) FROM ${oldKeys} AS o WHERE EXISTS (SELECT 1 FROM ${gone} AS n WHERE ${same})) AS deleted`),
    signal,
  );
  const add =
    total === matched
      ? []
      : await engine.write(`SELECT o.* FROM ${old} AS o WHERE NOT EXISTS (SELECT 1 FROM ${keys} AS n WHERE ${same})`, {
          columns: [...columns],
          folder,
          prefix,
          ...(signal ? { signal } : {}),
        });
  const written = add.reduce((sum, file) => sum + file.rows, 0);
  if (written !== total - matched) {
    throw new MillraceError(
      "corrupt",
      `the merge into \`${dataset.name}\` kept ${written} of ${total} rows, but ${matched} have a new row or none any more; nothing was committed`,
      { hint: `millrace verify ${dataset.name}`, where: { dataset: dataset.name } },
    );
  }
  return { add, remove, updated: Number(counted!["updated"]), deleted: Number(counted!["deleted"]) };
}

function keyColumn(
  dataset: Dataset,
  columns: readonly Column[],
  name: string,
): Column & { type: PrimitiveType; id: number } {
  const column = columns.find((candidate) => candidate.name === name);
  const where = { dataset: dataset.name, column: name };
  if (column === undefined) {
    throw new MillraceError("config", `the key column \`${name}\` is not a column of \`${dataset.name}\``, {
      where,
      hint: suggestion(
        name,
        columns.map((one) => one.name),
      ),
    });
  }
  if (typeof column.type !== "string" || column.id === undefined) {
    throw new MillraceError(
      "config",
      `the key column \`${name}\` of \`${dataset.name}\` is nested and cannot identify a row`,
      { where },
    );
  }
  return column as Column & { type: PrimitiveType; id: number };
}

interface Range {
  id: number;
  type: PrimitiveType;
  min: string;
  max: string;
}

/** The span of each key column in the new rows, where nulls do not make it useless. */
async function keyRanges(
  request: MergeRequest,
  keys: Sql,
  keyColumns: readonly (Column & { type: PrimitiveType; id: number })[],
): Promise<Range[]> {
  // Comparison of text and of floating point differs between engine and bounds for NaN; a null key matches files of any range.
  const usable = keyColumns.filter(
    (column) => column.type !== "float" && column.type !== "double" && column.type !== "binary",
  );
  if (usable.length === 0) return [];
  const items = usable.flatMap((column, index) => {
    const name = sqlName(column.name);
    return [
      `CAST(min(${name}) AS VARCHAR) AS min${index}`,
      `CAST(max(${name}) AS VARCHAR) AS max${index}`,
      `count(*) - count(${name}) AS nulls${index}`,
    ];
  });
  const [row] = await request.engine.query(`SELECT ${items.join(", ")} FROM ${keys} AS n`, request.signal);
  return usable.flatMap((column, index): Range[] => {
    const [min, max] = [row![`min${index}`], row![`max${index}`]];
    if (typeof min !== "string" || typeof max !== "string" || Number(row![`nulls${index}`]) > 0) return [];
    return [{ id: column.id, type: column.type, min, max }];
  });
}

function mayMatch(file: StoredFile, ranges: readonly Range[]): boolean {
  return ranges.every(({ id, type, min, max }) =>
    mayOverlap(
      type,
      { min, max },
      {
        lower: file.lower_bounds?.find((bound) => bound.key === id)?.value,
        upper: file.upper_bounds?.find((bound) => bound.key === id)?.value,
      },
    ),
  );
}

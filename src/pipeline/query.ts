import { MillraceError, sqlName, suggestion, type Column } from "../core/index.ts";
import { selectRows, type Selection } from "./folds.ts";
import type { LakeHandles } from "./lake.ts";
import { enoughFiles, type Reshape, withDatasets } from "./views.ts";

export interface Rows {
  columns: Column[];
  rows: Record<string, unknown>[];
  /** True when there were more rows than asked for. */
  more: boolean;
}

/** Runs one statement that reads. Throws `usage` with the engine's own words when it is wrong. */
export async function queryLake(
  lake: LakeHandles,
  sql: string,
  options: Omit<Selection, "split"> & { maximumRows?: number; signal?: AbortSignal } = {},
): Promise<Rows> {
  const engine = await lake.engine();
  const limit = options.maximumRows ?? 10_000;
  // With folds, rows have columns that their files do not have.
  const reshape: Reshape | undefined =
    options.folds === undefined && options.fold === undefined && options.gap === undefined
      ? undefined
      : (dataset, of, relation) => selectRows(lake, dataset, of, relation, options).relation;
  const statement = await withDatasets(lake, sql.trim().replace(/;\s*$/, ""), limit + 1, reshape);
  const columns = await engine.columnsOf(statement);
  const rows = await engine.query(statement, options.signal);
  return { columns, rows: rows.slice(0, limit), more: rows.length > limit };
}

/** The first rows of a version, or of one of its splits. */
export async function previewDataset(
  lake: LakeHandles,
  reference: string,
  options: Selection & { rows?: number; columns?: string[] } = {},
): Promise<Rows> {
  const { dataset, version } = await lake.resolve(reference);
  const limit = options.rows ?? 10;
  const all = dataset.columns(version);
  const isWhole = options.split === undefined && options.folds === undefined;
  const files = isWhole ? enoughFiles(await dataset.files(version), limit + 1) : undefined;
  const { relation, columns } = selectRows(lake, dataset.name, all, await dataset.relation(version, files), options);
  const names = columns.map((column) => column.name);
  const known = (name: string): string => {
    if (names.includes(name)) return sqlName(name);
    throw new MillraceError("not-found", `\`${reference}\` has no column \`${name}\``, {
      hint: suggestion(name, names),
      where: { dataset: dataset.name, column: name },
    });
  };
  const list = options.columns === undefined ? "*" : options.columns.map(known).join(", ");
  const engine = await lake.engine();
  const select = `SELECT ${list} FROM ${relation}`;
  const rows = await engine.query(`${select} LIMIT ${limit + 1}`);
  return { columns: await engine.columnsOf(select), rows: rows.slice(0, limit), more: rows.length > limit };
}

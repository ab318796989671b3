import { MillraceError, sqlName, sqlString, suggestion, type Column } from "../core/index.ts";
import type { DataFile } from "../dataset/index.ts";
import type { LakeHandles } from "./lake.ts";
import { viewsFor } from "./views.ts";

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
  options: { maximumRows?: number; signal?: AbortSignal } = {},
): Promise<Rows> {
  const engine = await lake.engine();
  await viewsFor(lake, sql);
  const limit = options.maximumRows ?? 10_000;
  const statement = sql.trim().replace(/;\s*$/, "");
  const columns = await engine.columnsOf(statement);
  const rows = await engine.query(`SELECT * FROM (${statement}) LIMIT ${limit + 1}`, options.signal);
  return { columns, rows: rows.slice(0, limit), more: rows.length > limit };
}

/** The first rows of a version, or of one of its splits. */
export async function previewDataset(
  lake: LakeHandles,
  reference: string,
  options: { split?: string; rows?: number; columns?: string[] } = {},
): Promise<Rows> {
  const { dataset, version } = await lake.resolve(reference);
  const columns = dataset.columns(version);
  const names = columns.map((column) => column.name);
  const known = (name: string): string => {
    if (names.includes(name)) return sqlName(name);
    throw new MillraceError("not-found", `\`${reference}\` has no column \`${name}\``, {
      hint: suggestion(name, names),
      where: { dataset: dataset.name, column: name },
    });
  };
  const list = options.columns === undefined ? "*" : options.columns.map(known).join(", ");
  const where =
    options.split === undefined
      ? ""
      : ` WHERE ${known(splitColumn(lake, dataset.name, names))} = ${sqlString(options.split)}`;
  const limit = options.rows ?? 10;
  const engine = await lake.engine();
  const files = where === "" ? enough(await dataset.files(version), limit + 1) : undefined;
  const select = `SELECT ${list} FROM ${await dataset.relation(version, files)}${where}`;
  const rows = await engine.query(`${select} LIMIT ${limit + 1}`);
  return { columns: await engine.columnsOf(select), rows: rows.slice(0, limit), more: rows.length > limit };
}

/** As many files as hold so many rows: those of a store that is elsewhere have to be fetched. */
function enough(files: readonly DataFile[], rows: number): DataFile[] {
  let held = 0;
  return files.filter((file) => {
    if (held >= rows) return false;
    held += file.rows;
    return true;
  });
}

/** The column that holds the split of a dataset: what its flow says, else `split`. */
export function splitColumn(lake: LakeHandles, dataset: string, names: readonly string[]): string {
  const flow = Object.entries(lake.config.flows).find(([name, candidate]) => (candidate.into ?? name) === dataset)?.[1];
  const column = flow?.split?.into ?? "split";
  if (names.includes(column)) return column;
  throw new MillraceError("not-found", `\`${dataset}\` has no splits`, {
    where: { dataset },
    hint: "add `split: { train: 0.8, validation: 0.1, test: 0.1 }` to its flow and run it with `--full`",
  });
}

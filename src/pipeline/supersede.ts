import { sqlName, type Column, type Sql, type StagedFile } from "../core/index.ts";
import type { Flow } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { relationOf, stagingFolder } from "./staging.ts";
import type { RunPlan } from "./runs.ts";
import { adoptFiles, stagedPrefix } from "./stage.ts";

/** What a merge takes out of the dataset besides the rows that get a new one. */
export interface Removal {
  /** Files with the keys of deletions; none of them has a new row. */
  gone: StagedFile[];
  /** All earlier rows go. */
  emptied: boolean;
}

export interface Superseded {
  files: StagedFile[];
  /** Rows that a later row of the same batch has taken the place of. */
  superseded: number;
  /** Rows that say that a row, or all rows, are gone. */
  deletions: number;
  removal: Removal;
}

/** The columns that tell which of two rows with one key is newer. Empty: nothing does. */
export function orderOf(flow: Flow, plan: RunPlan): string[] {
  const { cursor } = flow.from;
  if (cursor !== undefined && plan.output.some((column) => column.name === cursor)) return [cursor];
  return plan.marks?.order ?? [];
}

/**
 * Merge only: one row per key. Of several rows with the same key the newest stays; when it is a deletion, only its key is kept.
 * Rows whose key has a null are all left for the audit, which moves them out: a null does not tell that two rows are one.
 */
export async function supersede(
  lake: LakeHandles,
  flow: Flow,
  plan: RunPlan,
  files: readonly StagedFile[],
  signal?: AbortSignal,
): Promise<Superseded> {
  const engine = await lake.engine();
  const relation = await relationOf(lake, files, plan.output);
  const key = plan.key.map(sqlName).join(", ");
  const known = plan.key.map((name) => `${sqlName(name)} IS NOT NULL`).join(" AND ");
  const { deleted, emptied } = plan.marks ?? {};
  const isDeletion = deleted === undefined ? "false" : `coalesce(${sqlName(deleted)}, false)`;
  const empties =
    emptied === undefined
      ? "false"
      : `coalesce(${sqlName(emptied.column)} = '${emptied.value.replaceAll("'", "''")}', false)`;
  const [counted] = await engine.query(
    `SELECT (SELECT count(*) FROM (SELECT DISTINCT ${key} FROM ${relation} WHERE ${known})) AS keys, ` +
      `count(*) FILTER (NOT (${known})) AS unknown, count(*) FILTER (${isDeletion}) AS deletions, ` +
      `count(*) FILTER (${empties}) AS empties FROM ${relation}`,
    signal,
  );
  const rows = rowsIn(files);
  const { keys, unknown, deletions, empties: emptyings } = counted!;
  const none: Removal = { gone: [], emptied: false };
  if (Number(keys) + Number(unknown) === rows && Number(deletions) + Number(emptyings) === 0) {
    return { files: [...files], superseded: 0, deletions: 0, removal: none };
  }
  const order = orderOf(flow, plan);
  const newest = order.map((name) => `${sqlName(name)} DESC NULLS LAST, `).join("");
  let row = "row";
  while (plan.output.some((column) => column.name.toLowerCase() === row)) row = `_${row}`;
  const moment = `{${order.map((name, index) => `'o${index}': ${sqlName(name)}`).join(", ")}}`;
  const later =
    Number(emptyings) === 0
      ? "true"
      : `${moment} > (SELECT max(${moment}) FROM ${relation} WHERE ${empties}) AND NOT ${empties}`;
  // The hash makes the choice the same in every attempt where the order does not decide.
  const latest: Sql =
    `(SELECT * FROM ${relation} AS ${row} WHERE ${later} ` +
    `QUALIFY NOT (${known}) OR row_number() OVER (PARTITION BY ${key} ORDER BY ${newest}md5(${row}::VARCHAR)) = 1)`;
  const write = async (select: Sql, what: string, columns: readonly Column[]): Promise<StagedFile[]> =>
    adoptFiles(
      lake,
      plan.dataset,
      await engine.write(select, {
        columns: [...columns],
        folder: await stagingFolder(lake, plan.dataset),
        prefix: stagedPrefix(plan.run, what),
        ...(signal ? { signal } : {}),
      }),
    );
  const applies = `(${isDeletion} AND ${known})`;
  const kept = await write(`SELECT * FROM ${latest} WHERE NOT ${applies}`, "latest", plan.output);
  const keyColumns = plan.output.filter(({ name }) => plan.key.includes(name));
  const gone =
    Number(deletions) === 0
      ? []
      : await write(
          `SELECT ${keyColumns.map(({ name }) => sqlName(name)).join(", ")} FROM ${latest} WHERE ${applies}`,
          "gone",
          keyColumns,
        );
  const applied = rowsIn(gone) + Number(emptyings);
  return {
    files: kept,
    superseded: rows - rowsIn(kept) - applied,
    deletions: applied,
    removal: { gone, emptied: Number(emptyings) > 0 },
  };
}

export function rowsIn(files: readonly StagedFile[]): number {
  return files.reduce((sum, file) => sum + file.rows, 0);
}

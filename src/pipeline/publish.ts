import { isMillraceError, MillraceError, sqlName, type Cursor, type Sql, type StagedFile } from "../core/index.ts";
import { mergeChange, type Change, type Dataset, type Version } from "../dataset/index.ts";
import type { Audited } from "./audit.ts";
import { relationOf } from "./staging.ts";
import type { Flow } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { flowCursor, openIfExists } from "./plan.ts";
import { rejectedColumns, rejectedName } from "./rejected.ts";
import type { RunPlan } from "./runs.ts";
import { adoptFiles, stagedPrefix } from "./stage.ts";
import { stagingFolder } from "./staging.ts";

export interface Published {
  version: Version;
  updated?: number;
  /** Another call made the version. */
  already?: boolean;
}

/** The column that tells which of two rows with one key is newer. Undefined: nothing does. */
export function orderOf(flow: Flow, plan: RunPlan): string | undefined {
  const { cursor } = flow.from;
  return plan.output.some((column) => column.name === cursor) ? cursor : undefined;
}

/**
 * Merge only: one row per key. Of several rows with the same key the one with the highest cursor stays.
 * Rows whose key has a null are all left for the audit, which moves them out: a null does not tell that two rows are one.
 */
export async function supersede(
  lake: LakeHandles,
  flow: Flow,
  plan: RunPlan,
  files: readonly StagedFile[],
  signal?: AbortSignal,
): Promise<{ files: StagedFile[]; superseded: number }> {
  const engine = await lake.engine();
  const relation = await relationOf(lake, files, plan.output);
  const key = plan.key.map(sqlName).join(", ");
  const known = plan.key.map((name) => `${sqlName(name)} IS NOT NULL`).join(" AND ");
  const rows = files.reduce((sum, file) => sum + file.rows, 0);
  const [counted] = await engine.query(
    `SELECT (SELECT count(*) FROM (SELECT DISTINCT ${key} FROM ${relation} WHERE ${known})) AS keys, ` +
      `(SELECT count(*) FROM ${relation} WHERE NOT (${known})) AS unknown`,
    signal,
  );
  const left = Number(counted!.keys) + Number(counted!.unknown);
  if (left === rows) return { files: [...files], superseded: 0 };
  const order = orderOf(flow, plan);
  const newest = order === undefined ? "" : `${sqlName(order)} DESC NULLS LAST, `;
  let row = "row";
  while (plan.output.some((column) => column.name.toLowerCase() === row)) row = `_${row}`;
  // The hash makes the choice the same in every attempt where the cursor does not decide.
  const select: Sql =
    `SELECT * FROM ${relation} AS ${row} ` +
    `QUALIFY NOT (${known}) OR row_number() OVER (PARTITION BY ${key} ORDER BY ${newest}md5(${row}::VARCHAR)) = 1`;
  const kept = await engine.write(select, {
    columns: plan.output,
    folder: await stagingFolder(lake, plan.dataset),
    prefix: stagedPrefix(plan.run, "latest"),
    ...(signal ? { signal } : {}),
  });
  return { files: await adoptFiles(lake, plan.dataset, kept), superseded: rows - left };
}

/** Puts what was refused beside the dataset. Done before the dataset's own commit: a refused row may be seen early, never lost. */
export async function publishRejected(lake: LakeHandles, plan: RunPlan, files: readonly StagedFile[]): Promise<void> {
  if (files.length === 0) return;
  const target = await openIfExists(lake, plan.dataset);
  // A run that will be refused must not leave its rejected records beside those of the run that was published.
  if (target !== undefined && target.versionOfRun(plan.run) === undefined) fence(target, plan);
  const name = rejectedName(plan.dataset);
  const dataset = await openOrCreate(lake, name, () => lake.catalog.create(name, rejectedColumns));
  await dataset.commit({
    operation: "append",
    add: [...files],
    runId: plan.run,
    erasures: plan.erasures?.rejected ?? 0,
    summary: { "millrace.flow": plan.flow },
  });
}

async function openOrCreate(lake: LakeHandles, name: string, create: () => Promise<Dataset>): Promise<Dataset> {
  const existing = await openIfExists(lake, name);
  if (existing) return existing;
  try {
    return await create();
  } catch (error) {
    if (isMillraceError(error) && error.code === "already-exists") return lake.catalog.open(name);
    throw error;
  }
}

/** One commit: data, position, receipt and lineage together. Repeating it gives the same version. */
export async function publish(
  lake: LakeHandles,
  flow: Flow,
  plan: RunPlan,
  audited: Audited,
  summary: Record<string, string>,
  signal?: AbortSignal,
): Promise<Published> {
  const dataset = await openOrCreate(lake, plan.dataset, () => lake.catalog.create(plan.dataset, plan.output));
  const tries = 5;
  for (let attempt = 1; ; attempt++) {
    await dataset.refresh();
    const already = dataset.versionOfRun(plan.run);
    if (already) return { version: already, already: true };
    fence(dataset, plan);
    const { change, updated, rewritten } = await changeOf(lake, flow, plan, audited, dataset, signal);
    try {
      const version = await dataset.commit({
        ...change,
        runId: plan.run,
        erasures: plan.erasures?.dataset ?? 0,
        expectCursor: { flow: plan.flow, cursor: dataset.cursor(plan.flow) ?? null },
        ...(plan.evolves ? { columns: plan.output } : {}),
        summary: {
          ...summary,
          [`millrace.cursor.${plan.flow}`]: JSON.stringify({
            run: plan.sequence + 1,
            position: plan.cursor,
          } satisfies Record<string, Cursor | number | null>),
        },
      });
      return { version, ...(updated === undefined ? {} : { updated }) };
    } catch (error) {
      // Another flow of the dataset was first: what this one replaces is computed again from the newer version.
      if (!isMillraceError(error) || error.code !== "conflict") throw error;
      // Copies of rows are of no use to anybody now.
      for (const file of rewritten) await lake.store.remove(file.path);
      if (change.base === undefined || attempt >= tries) throw error;
    }
  }
}

/** A run whose flow has been committed since it was planned must not be committed too. */
function fence(dataset: Dataset, plan: RunPlan): void {
  dataset.assertOpen();
  const done = flowCursor(dataset, plan.flow);
  if (done.run === plan.sequence) return;
  throw new MillraceError("conflict", `another run of \`${plan.flow}\` was published while this one was going on`, {
    where: { flow: plan.flow, run: plan.run, dataset: plan.dataset },
    hint: `millrace run ${plan.flow}`,
  });
}

async function changeOf(
  lake: LakeHandles,
  flow: Flow,
  plan: RunPlan,
  audited: Audited,
  dataset: Dataset,
  signal?: AbortSignal,
): Promise<{ change: Change; updated?: number; rewritten: StagedFile[] }> {
  const current = dataset.current();
  if (flow.mode === "append" || current === undefined) {
    return { change: { operation: "append", add: audited.files }, rewritten: [] };
  }
  if (flow.mode === "replace") {
    const change: Change = { operation: "overwrite", add: audited.files, removeAll: true, base: current.number };
    return { change, rewritten: [] };
  }
  const merged = await mergeChange({
    dataset,
    engine: await lake.engine(),
    rows: await relationOf(lake, audited.files, plan.output),
    staged: audited.files,
    key: plan.key,
    columns: plan.output,
    folder: await stagingFolder(lake, plan.dataset),
    prefix: stagedPrefix(plan.run, "merged"),
    ...(signal ? { signal } : {}),
  });
  const rewritten = await adoptFiles(lake, plan.dataset, merged.add);
  return {
    change: {
      operation: "overwrite",
      add: [...audited.files, ...rewritten],
      remove: merged.remove,
      base: current.number,
    },
    updated: merged.updated,
    rewritten,
  };
}

import { isMillraceError, MillraceError, type Column, type Cursor, type StagedFile } from "../core/index.ts";
import { mergeChange, type Change, type Dataset, type Version } from "../dataset/index.ts";
import type { Audited } from "./audit.ts";
import { relationOf, stagingFolder } from "./staging.ts";
import type { Flow } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { flowCursor, openIfExists } from "./plan.ts";
import { rejectedColumns, rejectedName } from "./rejected.ts";
import type { RunPlan } from "./runs.ts";
import { adoptFiles, stagedPrefix } from "./stage.ts";
import type { Removal } from "./supersede.ts";

export interface Published {
  version: Version;
  updated?: number;
  deleted?: number;
  /** Another call made the version. */
  already?: boolean;
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
  audited: Audited & { removal?: Removal },
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
    const { change, updated, deleted, rewritten } = await changeOf(lake, flow, plan, audited, dataset, signal);
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
      return {
        version,
        ...(updated === undefined ? {} : { updated }),
        ...(deleted === undefined ? {} : { deleted }),
      };
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
  audited: Audited & { removal?: Removal },
  dataset: Dataset,
  signal?: AbortSignal,
): Promise<{ change: Change; updated?: number; deleted?: number; rewritten: StagedFile[] }> {
  const current = dataset.current();
  if (flow.mode === "append" || current === undefined) {
    return { change: { operation: "append", add: audited.files }, rewritten: [] };
  }
  const { removal } = audited;
  if (flow.mode === "replace" || removal?.emptied === true) {
    const change: Change = { operation: "overwrite", add: audited.files, removeAll: true, base: current.number };
    return { change, rewritten: [], ...(flow.mode === "replace" ? {} : { updated: 0, deleted: current.rows }) };
  }
  const gone = removal?.gone ?? [];
  const merged = await mergeChange({
    dataset,
    engine: await lake.engine(),
    rows: await relationOf(lake, audited.files, plan.output),
    staged: audited.files,
    ...(gone.length === 0 ? {} : { gone: await relationOf(lake, gone, keyColumns(plan)) }),
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
    ...(gone.length === 0 ? {} : { deleted: merged.deleted }),
    rewritten,
  };
}

function keyColumns({ key, output }: RunPlan): Column[] {
  return output.filter(({ name }) => key.includes(name));
}

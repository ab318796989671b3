import { isMillraceError, MillraceError, type StagedFile } from "../core/index.ts";
import { relationOf } from "./staging.ts";
import type { LakeHandles } from "./lake.ts";
import { openIfExists } from "./plan.ts";
import { rejectedColumns, rejectedName } from "./rejected.ts";
import type { RunReport } from "./report.ts";
import { cancelRun, finishRun, readReplay, unfinishedReplays } from "./runs.ts";
import { adoptFiles, stagedPrefix } from "./stage.ts";
import { stagingFolder } from "./staging.ts";

/**
 * A replay takes two commits: mended rows go into the dataset, then their records leave the rejected dataset. What the second
 * one needs is written down before the first one, as `runs/<run>/replay.json`, so that it can be made up for after a kill.
 */
export interface ReplayState {
  /** The report as it will be. */
  report: RunReport;
  /** Staged copies of the records that were taken: rows of the rejected dataset. */
  taken: StagedFile[];
  /** Staged records that were refused again, with their new reasons. */
  again: StagedFile[];
}

/** Second commit: the rejected dataset without what was taken, and with what failed again. Repeating it changes nothing. */
export async function takeOut(lake: LakeHandles, state: ReplayState): Promise<void> {
  const { run, flow, dataset: target } = state.report;
  const name = rejectedName(target);
  const dataset = await lake.catalog.open(name);
  const engine = await lake.engine();
  const tries = 5;
  for (let attempt = 1; ; attempt++) {
    await dataset.refresh();
    if (dataset.versionOfRun(run) !== undefined) break;
    // Row by row, not file by file: a run or a compaction may have changed the files since.
    const remaining = `SELECT * FROM ${await dataset.relation()} EXCEPT ALL SELECT * FROM ${await relationOf(lake, state.taken, rejectedColumns)}`;
    const kept = await engine.write(remaining, {
      columns: rejectedColumns,
      folder: await stagingFolder(lake, name),
      prefix: stagedPrefix(run, "remaining"),
    });
    const files = await adoptFiles(lake, name, kept);
    try {
      await dataset.commit({
        operation: "overwrite",
        add: [...files, ...state.again],
        removeAll: true,
        base: dataset.current()!.number,
        runId: run,
        summary: { "millrace.flow": flow },
      });
      break;
    } catch (error) {
      if (!isMillraceError(error) || error.code !== "conflict" || attempt >= tries) throw error;
      for (const file of files) await lake.store.remove(file.path);
    }
  }
  for (const file of state.taken) await lake.store.remove(file.path);
}

/** Makes up for second commits that a kill prevented. A replay whose first commit was never made is given up. */
export async function completeReplays(lake: LakeHandles, flowName: string): Promise<void> {
  for (const run of await unfinishedReplays(lake.store, flowName)) {
    const state = await readReplay<ReplayState>(lake.store, run);
    if (state === undefined) continue;
    const dataset = await openIfExists(lake, state.report.dataset);
    const version = dataset?.versionOfRun(run);
    if (version === undefined) {
      await cancelRun(lake.store, run, "planned anew");
      continue;
    }
    await takeOut(lake, state);
    await finishRun(lake.store, { ...state.report, version: version.number });
  }
}

/** The rejected dataset that a replay reads. Throws `not-found` when nothing was ever rejected. */
export async function openRejected(
  lake: LakeHandles,
  dataset: string,
): Promise<Awaited<ReturnType<LakeHandles["resolve"]>>> {
  const name = rejectedName(dataset);
  if (await lake.catalog.exists(name)) return lake.resolve(name);
  throw new MillraceError("not-found", `nothing of \`${dataset}\` was rejected yet: there is no \`${name}\``, {
    where: { dataset: name },
  });
}

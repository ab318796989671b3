import type { StagedFile } from "../core/index.ts";
import { assignFieldIds } from "../dataset/index.ts";
import type { Flow } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { admittedSelect } from "./columns.ts";
import type { RunPlan } from "./runs.ts";
import { adoptFiles, stagedPrefix } from "./stage.ts";
import { relationOf, stagingFolder } from "./staging.ts";

/** Sends all rows of a run through its transform at once. The files that it read are for the caller to remove. */
export async function transformWhole(
  lake: LakeHandles,
  flow: Flow,
  plan: RunPlan,
  staged: readonly StagedFile[],
  signal?: AbortSignal,
): Promise<StagedFile[]> {
  const engine = await lake.engine();
  const select = await admittedSelect(lake, flow, plan);
  const files = await engine.write(select(await relationOf(lake, staged, assignFieldIds(plan.input))), {
    columns: plan.output,
    folder: await stagingFolder(lake, plan.dataset),
    prefix: stagedPrefix(plan.run, "whole"),
    ...(signal ? { signal } : {}),
  });
  return adoptFiles(lake, plan.dataset, files);
}

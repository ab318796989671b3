import { MillraceError, sqlName, type Sql, type StagedFile } from "../core/index.ts";
import type { Dataset } from "../dataset/index.ts";
import { measureChecks, rejectingSql, type PlannedCheck } from "../quality/index.ts";
import { planFlowChecks } from "./checks.ts";
import type { Flow } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import type { CheckResult } from "./report.ts";
import type { RunPlan } from "./runs.ts";
import { adoptFiles, stagedPrefix } from "./stage.ts";
import { relationOf, stagingFolder } from "./staging.ts";

export interface Masked {
  files: StagedFile[];
  /** What the checks with `on_fail: mask` found before they masked it, by their place in the flow. */
  verdicts: ReadonlyMap<number, CheckResult>;
}

/** Takes out of the staged rows what checks with `on_fail: mask` find, before any other check sees them. The files that it read are for the caller to remove. */
export async function maskStaged(
  lake: LakeHandles,
  flow: Flow,
  plan: RunPlan,
  staged: readonly StagedFile[],
  dataset: Dataset | undefined,
  signal?: AbortSignal,
): Promise<Masked> {
  const places = [...flow.checks.keys()].filter((place) => flow.checks[place]!.on_fail === "mask");
  const verdicts = new Map<number, CheckResult>();
  let files = [...staged];
  if (places.length === 0) return { files, verdicts };
  const engine = await lake.engine();
  await using checks = await planFlowChecks(lake, flow, plan, dataset, undefined, signal);
  for (const place of places) {
    const check = checks.planned[place]!;
    const relation = await relationOf(lake, files, plan.output);
    const [verdict] = await measureChecks([check], { relation, engine, ...(signal ? { signal } : {}) });
    verdicts.set(place, verdict!);
    if (verdict!.status !== "failed" && (verdict!.failing ?? 0) > 0)
      files = await rewritten(lake, plan, check, files, signal);
  }
  return { files, verdicts };
}

/** The verdict of a check on masked rows: what was found before, unless some of it is still there. */
export function maskedVerdict(before: CheckResult | undefined, after: CheckResult): CheckResult {
  if (before === undefined || before.status === "failed") return before ?? after;
  if (after.status === "passed") return before;
  return { ...after, status: "failed", message: `${after.message}: still there, in what cannot be masked` };
}

/** Files with rows that fail are written anew; the others stay as they are. */
async function rewritten(
  lake: LakeHandles,
  plan: RunPlan,
  check: PlannedCheck,
  files: readonly StagedFile[],
  signal?: AbortSignal,
): Promise<StagedFile[]> {
  const engine = await lake.engine();
  const masks = check.definition.mask!(check.options, check.context);
  const replaced = Object.entries(masks).map(([column, sql]) => `${sql} AS ${sqlName(column)}`);
  const { row = "false" } = rejectingSql(check);
  const result: StagedFile[] = [];
  for (const file of files) {
    const data: Sql = `WITH data AS (SELECT * FROM ${await relationOf(lake, [file], plan.output)})`;
    const [found] = await engine.query(`${data} SELECT 1 FROM data WHERE ${row} LIMIT 1`, signal);
    if (found === undefined) {
      result.push(file);
      continue;
    }
    const written = await engine.write(`${data} SELECT * REPLACE (${replaced.join(", ")}) FROM data`, {
      columns: plan.output,
      folder: await stagingFolder(lake, plan.dataset),
      prefix: stagedPrefix(plan.run, "masked"),
      ...(signal ? { signal } : {}),
    });
    const rows = written.reduce((sum, each) => sum + each.rows, 0);
    if (rows !== file.rows) {
      throw new MillraceError("internal", `${file.rows} rows were to be masked, and ${rows} came of them`, {
        where: { run: plan.run, dataset: plan.dataset },
      });
    }
    result.push(...(await adoptFiles(lake, plan.dataset, written)));
  }
  return result;
}

import { MillraceError, sqlName, type ColumnFacts, type Sql, type StagedFile } from "../core/index.ts";
import type { Dataset } from "../dataset/index.ts";
import { leakageChecks } from "../feed/leakage.ts";
import { nearChecks, originOf } from "../feed/near-checks.ts";
import { measureChecks, quarantineSelect, type PlannedCheck } from "../quality/index.ts";
import type { Flow, SplitSpec } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { maskedVerdict, type Masked } from "./mask.ts";
import { planFlowChecks } from "./checks.ts";
import { rejectedColumns, rejectedName } from "./rejected.ts";
import type { CheckResult } from "./report.ts";
import type { RunPlan } from "./runs.ts";
import { adoptFiles, stagedPrefix } from "./stage.ts";
import { relationOf, stagingFolder } from "./staging.ts";
import { mergeStatistics } from "./statistics.ts";

export interface Audited {
  files: StagedFile[];
  rejectedFiles: StagedFile[];
  /** Rows that checks moved out. */
  rejected: number;
  checks: CheckResult[];
  columns: Record<string, ColumnFacts>;
  failed: boolean;
}

/**
 * Measures the staged files in one scan, moves failing rows out where a check says `reject`, and judges what is left.
 * Nothing is published here.
 */
export async function audit(
  lake: LakeHandles,
  flow: Flow,
  plan: RunPlan,
  { files: staged, verdicts }: Masked,
  dataset: Dataset | undefined,
  signal?: AbortSignal,
): Promise<Audited> {
  const engine = await lake.engine();
  const rows = await relationOf(lake, staged, plan.output);
  await using flowChecks = await planFlowChecks(lake, flow, plan, dataset, rows, signal);
  const { context, planned } = flowChecks;
  const measure = async (checks: readonly PlannedCheck[], files: readonly StagedFile[]): Promise<CheckResult[]> =>
    measureChecks(checks, {
      relation: await relationOf(lake, files, plan.output),
      engine,
      statistics: mergeStatistics(files, plan.output),
      ...(signal ? { signal } : {}),
    });

  let files = [...staged];
  let rejectedFiles: StagedFile[] = [];
  let rejected = 0;
  let checks = await measure(planned, files);
  const rejecting = planned.filter(
    (check, index) => check.spec.on_fail === "reject" && (checks[index]!.failing ?? 0) > 0,
  );
  if (rejecting.length > 0) {
    const moved = await quarantine(lake, plan, files, rejecting, signal);
    files = moved.files;
    rejectedFiles = moved.rejectedFiles;
    rejected = moved.rejected;
    // What is published is what is left, so the other checks are judged on that.
    const others = planned.filter((check) => check.spec.on_fail !== "reject");
    const again = await measure(others, files);
    checks = checks.map((result, index) => {
      const at = others.indexOf(planned[index]!);
      if (at >= 0) return again[at]!;
      if (!rejecting.includes(planned[index]!)) return result;
      // A row is counted for the first check that moved it out; where two checks share a name, for each that it fails.
      const shared = rejecting.filter((check) => check.spec.check === result.check).length > 1;
      const count = shared ? result.failing : moved.byCheck.get(result.check);
      return count === undefined ? result : { ...result, rejected: count };
    });
  }
  const leakage: CheckResult[] = [];
  if (flow.split !== undefined && flow.split.leakage !== "off" && files.length > 0) {
    const relations = [await relationOf(lake, files, plan.output)];
    if (context.previous !== undefined) relations.unshift(await dataset!.relation());
    leakage.push(...(await leakageChecks(flow.split, { relations, columns: plan.output, key: plan.key }, engine)));
    leakage.push(...(await nearDuplicates(lake, flow.split, flow.split.leakage, plan, relations, signal)));
  }
  // The check of the key that every merge has is news only when it found something.
  checks = checks.filter((result, index) => index < flow.checks.length || result.status !== "passed");
  checks.push(...leakage);
  checks = checks.map((result, index) => maskedVerdict(verdicts.get(index), result));
  const failed = checks.some((result) => result.status === "failed");
  const statistics = mergeStatistics(files, plan.output);
  const columns = Object.fromEntries(
    Object.entries(statistics.columns).map(([name, facts]) => [
      name,
      {
        nulls: facts.nulls ?? 0,
        ...(facts.min === undefined ? {} : { min: facts.min }),
        ...(facts.max === undefined ? {} : { max: facts.max }),
      },
    ]),
  );
  return { files, rejectedFiles, rejected, checks, columns, failed };
}

/** What `split.near` asks for, in the rows that are there already together with those of the run. */
async function nearDuplicates(
  lake: LakeHandles,
  { near, into, key }: SplitSpec,
  onFail: "warn" | "fail",
  plan: RunPlan,
  relations: readonly Sql[],
  signal?: AbortSignal,
): Promise<CheckResult[]> {
  if (near === undefined) return [];
  const request = {
    relation: `(${relations.map((relation) => `SELECT * FROM ${relation}`).join(" UNION ALL BY NAME ")})`,
    columns: plan.output,
    split: sqlName(into),
    origin: originOf(plan.key.length > 0 ? plan.key : [key ?? []].flat(), false),
    folder: lake.scratch,
    ...(signal ? { signal } : {}),
  };
  return (await nearChecks(near, onFail, request, await lake.engine())).map(({ result }) => result);
}

interface Moved {
  files: StagedFile[];
  rejectedFiles: StagedFile[];
  rejected: number;
  byCheck: Map<string, number>;
}

/** Rewrites the files that hold failing rows. Files without any stay as they are, unless a check looks across rows. */
async function quarantine(
  lake: LakeHandles,
  plan: RunPlan,
  files: readonly StagedFile[],
  rejecting: readonly PlannedCheck[],
  signal?: AbortSignal,
): Promise<Moved> {
  const engine = await lake.engine();
  const name = rejectedName(plan.dataset);
  const acrossRows = rejecting.some((check) => check.definition.qualify !== undefined);
  const groups = acrossRows ? [[...files]] : files.map((file) => [file]);
  const moved: Moved = { files: [], rejectedFiles: [], rejected: 0, byCheck: new Map() };
  for (const group of groups) {
    const { good, bad } = quarantineSelect(await relationOf(lake, group, plan.output), rejecting);
    const counts = await engine.query(`SELECT "check", count(*) AS rows FROM (${bad}) GROUP BY 1`, signal);
    const rows = group.reduce((sum, file) => sum + file.rows, 0);
    if (counts.length === 0) {
      moved.files.push(...group);
      continue;
    }
    for (const count of counts) {
      moved.byCheck.set(String(count.check), (moved.byCheck.get(String(count.check)) ?? 0) + Number(count.rows));
    }
    const kept = await engine.write(good, {
      columns: plan.output,
      folder: await stagingFolder(lake, plan.dataset),
      prefix: stagedPrefix(plan.run, "kept"),
      ...(signal ? { signal } : {}),
    });
    const origin = originExpression(plan);
    const refused = await engine.write(
      `SELECT reason, "check", ${origin} AS origin, record, '${plan.run}' AS run, TIMESTAMPTZ '${plan.startedAt}' AS rejected_at FROM (${bad})`,
      {
        columns: rejectedColumns,
        folder: await stagingFolder(lake, name),
        prefix: stagedPrefix(plan.run, "refused"),
        ...(signal ? { signal } : {}),
      },
    );
    const keptRows = kept.reduce((sum, file) => sum + file.rows, 0);
    const refusedRows = refused.reduce((sum, file) => sum + file.rows, 0);
    if (keptRows + refusedRows !== rows) {
      throw new MillraceError(
        "internal",
        `${rows} rows were checked, but ${keptRows} were kept and ${refusedRows} refused`,
        {
          where: { run: plan.run, dataset: plan.dataset },
        },
      );
    }
    moved.files.push(...(await adoptFiles(lake, plan.dataset, kept)));
    moved.rejectedFiles.push(...(await adoptFiles(lake, name, refused)));
    moved.rejected += refusedRows;
  }
  return moved;
}

/** The key of the row, by which it is found again in the source; the flow where there is no key. */
function originExpression(plan: RunPlan): Sql {
  const flow = `'flow ${plan.flow}'`;
  if (plan.key.length === 0) return flow;
  const keys = plan.key.map((name) => {
    const path = `'$."${name.replaceAll('"', '\\"').replaceAll("'", "''")}"'`;
    return `'${name.replaceAll("'", "''")}=' || coalesce(json_extract_string(record, ${path}), 'null')`;
  });
  return `concat_ws(', ', ${flow}, ${keys.join(", ")})`;
}

import { MillraceError, messageOf, throwIfAborted, type StagedFile } from "../core/index.ts";
import { relationOf } from "./staging.ts";
import { audit, type Audited } from "./audit.ts";
import { inputsOf } from "./features-source.ts";
import type { Flow } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { definitionKey, openIfExists, type Planned } from "./plan.ts";
import { publish, publishRejected } from "./publish.ts";
import type { RunProgress, RunReport } from "./report.ts";
import type { RunOptions } from "./run.ts";
import { cancelRun, finishRun, isCancelled, type EnrichedCount, type PartResult, type RunPlan } from "./runs.ts";
import { dropStaged } from "./stage.ts";
import { orderOf, supersede, type Removal, type Superseded } from "./supersede.ts";
import { maskStaged } from "./mask.ts";
import { transformWhole } from "./transform.ts";

/** Everything after reading: audit, publish, report. */
/** What the enrichers were asked in all parts together. */
function enrichedOf(results: readonly PartResult[]): Pick<RunReport, "enriched"> {
  const sums: EnrichedCount[] = [];
  for (const { enriched = [] } of results) {
    for (const [index, { enricher, rows, asked, cost }] of enriched.entries()) {
      const sum = (sums[index] ??= { enricher, rows: 0, asked: 0, cost: 0 });
      sum.rows += rows;
      sum.asked += asked;
      sum.cost += cost;
    }
  }
  return sums.length === 0 ? {} : { enriched: sums };
}

export async function conclude(
  lake: LakeHandles,
  flow: Flow,
  planned: Planned,
  results: readonly PartResult[],
  options: RunOptions,
  started: number,
  plan: RunPlan,
): Promise<RunReport> {
  const { signal } = options;
  const count = (field: "read" | "written" | "rejected" | "filtered" | "bytes"): number =>
    results.reduce((total, result) => total + result[field], 0);
  const progress = (phase: RunProgress["phase"]): void =>
    options.onProgress?.({
      phase,
      rows: count("read"),
      bytes: count("bytes"),
      partsDone: results.length,
      parts: plan.parts.length,
    });

  progress("check");
  throwIfAborted(signal);
  let staged = results.flatMap((result) => result.files);
  // What each step left behind; the version names files of the last one only.
  const steps = [staged];
  if (plan.whole === true) staged = await transformWhole(lake, flow, plan, staged, signal);
  const leftOut = count("written") - staged.reduce((total, file) => total + file.rows, 0);
  let latest: Superseded | undefined;
  if (flow.mode === "merge" && staged.length > 0) {
    latest = await supersede(lake, flow, plan, staged, signal);
    steps.push(staged, latest.removal.gone);
    staged = latest.files;
  }
  steps.push(staged);
  const masked = await maskStaged(lake, flow, plan, staged, planned.dataset, signal);
  steps.push(masked.files);
  const audited: Audited & { removal?: Removal } = await audit(lake, flow, plan, masked, planned.dataset, signal);
  if (latest !== undefined) audited.removal = latest.removal;
  const rejectedFiles = [...results.flatMap((result) => result.rejectedFiles), ...audited.rejectedFiles];
  const report: RunReport = {
    run: plan.run,
    flow: plan.flow,
    dataset: plan.dataset,
    status: audited.failed ? "failed" : "published",
    ...(plan.base === null ? {} : { base: plan.base }),
    resumed: planned.resumed,
    startedAt: plan.startedAt,
    seconds: 0,
    parts: plan.parts.length,
    bytesRead: count("bytes"),
    read: count("read"),
    written: audited.files.reduce((total, file) => total + file.rows, 0),
    rejected: count("rejected") + audited.rejected,
    filtered: count("filtered") + leftOut + (latest?.superseded ?? 0) + (latest?.deletions ?? 0),
    ...(latest === undefined ? {} : { superseded: latest.superseded }),
    ...(latest === undefined || plan.marks === undefined ? {} : { deletions: latest.deletions }),
    checks: audited.checks,
    columns: audited.columns,
    ...enrichedOf(results),
    warnings: [...(plan.warnings ?? []), ...supersededWithoutOrder(flow, plan, latest?.superseded)],
    ...(plan.more === true ? { more: true } : {}),
  };
  if (report.read !== report.written + report.rejected + report.filtered) {
    throw new MillraceError(
      "internal",
      `${report.read} records were read, but ${report.written} written, ${report.rejected} rejected and ${report.filtered} filtered; nothing was published`,
      { where: { run: plan.run, dataset: plan.dataset } },
    );
  }
  if (flow.split !== undefined) report.splits = await countSplits(lake, flow.split.into, plan, audited);
  const made = await decide(lake, flow, plan, audited, rejectedFiles, report, () => progress("publish"), signal);
  report.seconds = (performance.now() - started) / 1000;
  try {
    await finishRun(lake.store, report);
  } catch (error) {
    // The version is there: that its report cannot be kept must not make it look as if it were not.
    if (report.version === undefined) throw error;
    report.warnings.push(
      `version ${report.version} is published, but the report of its run could not be kept: ${messageOf(error)}`,
    );
  }
  if (made) {
    const kept = new Set(audited.files.map((file) => file.path));
    for (const file of steps.flat()) if (!kept.has(file.path)) await lake.store.remove(file.path);
  }
  progress("done");
  return report;
}

/**
 * Publishes what passed and drops what failed. Returns whether this call made the version: another process may have gone through
 * the same plan, and then the files of both are none of this one's to remove.
 */
async function decide(
  lake: LakeHandles,
  flow: Flow,
  plan: RunPlan,
  audited: Audited & { removal?: Removal },
  rejectedFiles: StagedFile[],
  report: RunReport,
  onPublish: () => void,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (audited.failed) {
    const already = (await openIfExists(lake, plan.dataset))?.versionOfRun(plan.run);
    if (already === undefined) {
      // Said first, so that another process that judges otherwise does not publish what is removed here.
      await cancelRun(lake.store, plan.run, "its checks failed");
      await dropStaged(lake, plan);
    } else {
      report.status = "published";
      report.version = already.number;
    }
    return false;
  }
  onPublish();
  throwIfAborted(signal);
  if (await isCancelled(lake.store, plan.run)) {
    throw new MillraceError("conflict", `the run \`${plan.run}\` was given up by another process`, {
      where: { run: plan.run, dataset: plan.dataset },
      hint: `millrace run ${plan.flow}`,
    });
  }
  await publishRejected(lake, plan, rejectedFiles);
  const published = await publish(lake, flow, plan, audited, await summaryOf(lake, flow, plan, report), signal);
  report.version = published.version.number;
  if (published.updated !== undefined) report.updated = published.updated;
  if (published.deleted !== undefined) report.deleted = published.deleted;
  return !published.already;
}

/** A person must know that chance, if always the same, chose between rows. */
function supersededWithoutOrder(flow: Flow, plan: RunPlan, superseded: number | undefined): string[] {
  if (!superseded || orderOf(flow, plan).length > 0) return [];
  return [
    `${superseded} rows had the same key as another row of this run, and nothing says which of them is newer: set \`from.cursor\` to the column that does`,
  ];
}

/** What the snapshot says of its own making: the receipt in short, and where the data came from. */
async function summaryOf(
  lake: LakeHandles,
  flow: Flow,
  plan: RunPlan,
  report: RunReport,
): Promise<Record<string, string>> {
  const { read, written, rejected, filtered } = report;
  const worst = report.checks.some((check) => check.status === "warned") ? "warned" : "passed";
  const source =
    flow.from.features !== undefined
      ? "features"
      : flow.from.connection === undefined || flow.from.path !== undefined
        ? "files"
        : (await lake.connection(flow.from.connection)).type;
  return {
    "millrace.flow": plan.flow,
    [definitionKey]: plan.definition,
    "millrace.verdict": report.checks.length === 0 ? "unchecked" : worst,
    "millrace.receipt": JSON.stringify({ read, written, rejected, filtered }),
    "millrace.lineage": JSON.stringify({
      source,
      connection: flow.from.connection,
      stream: flow.from.stream ?? flow.from.path ?? flow.from.features,
      inputs: flow.from.features === undefined ? undefined : inputsOf(plan.cursor),
      query: flow.from.query,
      transform: flow.transform,
      reads: plan.reads,
      // What the transform is for, so that rows can go through it at inference too.
      input: plan.input.map(({ name, type }) => [name, type]),
      parts: plan.parts.length,
      startedAt: plan.startedAt,
    }),
  };
}

async function countSplits(
  lake: LakeHandles,
  column: string,
  plan: RunPlan,
  audited: Audited,
): Promise<Record<string, number>> {
  if (audited.files.length === 0) return {};
  const engine = await lake.engine();
  const name = `"${column.replaceAll('"', '""')}"`;
  const rows = await engine.query(
    `SELECT ${name} AS split, count(*) AS rows FROM ${await relationOf(lake, audited.files, plan.output)} GROUP BY 1 ORDER BY 1`,
  );
  return Object.fromEntries(rows.map((row) => [String(row.split), Number(row.rows)]));
}

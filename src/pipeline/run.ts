import { asMillraceError, forEachLimited, isMillraceError, MillraceError, throwIfAborted } from "../core/index.ts";
import type { Dataset } from "../dataset/index.ts";
import { audit, relationOf, type Audited } from "./audit.ts";
import type { Flow } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { datasetOf, definitionKey, planRun, type Planned } from "./plan.ts";
import { orderOf, publish, publishRejected, supersede, type Published } from "./publish.ts";
import type { RunProgress, RunReport } from "./report.ts";
import { finishRun, isCancelled, type PartResult, type RunPlan } from "./runs.ts";
import { dropStaged, stagePart } from "./stage.ts";
import { transformWhole } from "./transform.ts";

export interface RunOptions {
  onProgress?: (progress: RunProgress) => void;
  signal?: AbortSignal;
  /** Reads everything again instead of what is new. Not with `mode: append`. */
  full?: boolean;
}

/** Parts that are read at the same time. The engine uses all processors for one part already; two hide the waiting for the source. */
const concurrentParts = 2;

/**
 * plan → read parts → stage → audit → publish. A run that was killed anywhere is taken up where it was;
 * calling this twice gives one version. Throws `MillraceError`; a check that fails gives a report with `status: "failed"`.
 */
export async function runFlow(lake: LakeHandles, flowName: string, options: RunOptions = {}): Promise<RunReport> {
  const started = performance.now();
  try {
    return await attempt(lake, flowName, options, started, false);
  } catch (error) {
    // The source can no longer give what the plan says (its snapshot is gone, a file has changed): nothing of it was published.
    const gone = isMillraceError(error) && (error.code === "conflict" || error.code === "not-found");
    if (gone && error.where.part !== undefined) {
      return attempt(lake, flowName, options, started, true).catch((again: unknown) => {
        throw asMillraceError(again, { flow: flowName });
      });
    }
    throw asMillraceError(error, { flow: flowName });
  }
}

async function attempt(
  lake: LakeHandles,
  flowName: string,
  options: RunOptions,
  started: number,
  fresh: boolean,
): Promise<RunReport> {
  const flow = lake.flow(flowName);
  options.onProgress?.({ phase: "plan", rows: 0, bytes: 0, partsDone: 0, parts: 0 });
  const planned = await planRun(lake, flowName, { ...options, fresh });
  await using source = planned.source;
  void source;
  if (planned.plan === undefined) return unchanged(flowName, flow, planned.dataset, started);
  const { plan } = planned;
  const results = await stageAll(lake, flow, planned, options);
  throwIfAborted(options.signal);
  return conclude(lake, flow, planned, results, options, started, plan);
}

async function stageAll(lake: LakeHandles, flow: Flow, planned: Planned, options: RunOptions): Promise<PartResult[]> {
  const { plan, source, request } = planned;
  const totals = { rows: 0, bytes: 0, done: 0 };
  const inFlight = new Map<string, { rows: number; bytes: number }>();
  const totalRows = sum(plan.parts.map((part) => part.rows));
  const totalBytes = sum(plan.parts.map((part) => part.bytes));
  const report = (): void => {
    if (!options.onProgress) return;
    let { rows, bytes } = totals;
    for (const part of inFlight.values()) {
      rows += part.rows;
      bytes += part.bytes;
    }
    options.onProgress({
      phase: "read",
      rows,
      bytes,
      ...(totalRows === undefined ? {} : { totalRows }),
      ...(totalBytes === undefined ? {} : { totalBytes }),
      partsDone: totals.done,
      parts: plan.parts.length,
    });
  };
  const results: PartResult[] = [];
  await forEachLimited(plan.parts, concurrentParts, async (part, index) => {
    throwIfAborted(options.signal);
    results[index] = await stagePart(
      {
        lake,
        flow,
        plan,
        source,
        request,
        ...(options.signal ? { signal: options.signal } : {}),
        onProgress: (progress) => {
          inFlight.set(part.id, progress);
          report();
        },
      },
      part,
    );
    inFlight.delete(part.id);
    totals.rows += results[index].read;
    totals.bytes += results[index].bytes;
    totals.done++;
    report();
  });
  return results;
}

function sum(values: readonly (number | undefined)[]): number | undefined {
  return values.every((value) => value !== undefined) ? values.reduce((total, value) => total + value, 0) : undefined;
}

/** Everything after reading: audit, publish, report. */
async function conclude(
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
  let staged = results.flatMap((result) => result.files);
  const untransformed = plan.whole === true ? staged : [];
  if (plan.whole === true) staged = await transformWhole(lake, flow, plan, staged, signal);
  const leftOut = count("written") - staged.reduce((total, file) => total + file.rows, 0);
  let superseded: number | undefined;
  if (flow.mode === "merge" && staged.length > 0) {
    const latest = await supersede(lake, flow, plan, staged, signal);
    staged = latest.files;
    superseded = latest.superseded;
  }
  const audited = await audit(lake, flow, plan, staged, planned.dataset, signal);
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
    filtered: count("filtered") + leftOut + (superseded ?? 0),
    ...(superseded === undefined ? {} : { superseded }),
    checks: audited.checks,
    columns: audited.columns,
    warnings: supersededWithoutOrder(flow, plan, superseded),
  };
  if (report.read !== report.written + report.rejected + report.filtered) {
    throw new MillraceError(
      "internal",
      `${report.read} records were read, but ${report.written} written, ${report.rejected} rejected and ${report.filtered} filtered; nothing was published`,
      { where: { run: plan.run, dataset: plan.dataset } },
    );
  }
  if (flow.split !== undefined) report.splits = await countSplits(lake, flow.split.into, plan, audited);
  if (!audited.failed) {
    progress("publish");
    if (await isCancelled(lake.store, plan.run)) {
      throw new MillraceError("conflict", `the run \`${plan.run}\` was given up by another process`, {
        where: { run: plan.run, dataset: plan.dataset },
        hint: `millrace run ${plan.flow}`,
      });
    }
    await publishRejected(lake, plan, rejectedFiles);
    const published = await publish(lake, flow, plan, audited, await summaryOf(lake, flow, plan, report), signal);
    complete(report, published);
  }
  report.seconds = (performance.now() - started) / 1000;
  await finishRun(lake.store, report);
  if (audited.failed) await dropStaged(lake, plan);
  else for (const file of untransformed) await lake.store.remove(file.path);
  progress("done");
  return report;
}

/** A person must know that chance, if always the same, chose between rows. */
function supersededWithoutOrder(flow: Flow, plan: RunPlan, superseded: number | undefined): string[] {
  if (!superseded || orderOf(flow, plan) !== undefined) return [];
  return [
    `${superseded} rows had the same key as another row of this run, and nothing says which of them is newer: set \`from.cursor\` to the column that does`,
  ];
}

function complete(report: RunReport, published: Published): void {
  report.version = published.version.number;
  if (published.updated !== undefined) report.updated = published.updated;
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
  const source = flow.from.connection === undefined ? "files" : (await lake.connection(flow.from.connection)).type;
  return {
    "millrace.flow": plan.flow,
    [definitionKey]: plan.definition,
    "millrace.verdict": report.checks.length === 0 ? "unchecked" : worst,
    "millrace.receipt": JSON.stringify({ read, written, rejected, filtered }),
    "millrace.lineage": JSON.stringify({
      source,
      connection: flow.from.connection,
      stream: flow.from.stream ?? flow.from.path,
      query: flow.from.query,
      transform: flow.transform,
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
    `SELECT ${name} AS split, count(*) AS rows FROM ${relationOf(lake, audited.files, plan.output)} GROUP BY 1 ORDER BY 1`,
  );
  return Object.fromEntries(rows.map((row) => [String(row.split), Number(row.rows)]));
}

function unchanged(flowName: string, flow: Flow, dataset: Dataset | undefined, started: number): RunReport {
  const version = dataset?.current()?.number;
  return {
    run: "",
    flow: flowName,
    dataset: datasetOf(flowName, flow),
    status: "unchanged",
    ...(version === undefined ? {} : { version, base: version }),
    resumed: false,
    startedAt: new Date().toISOString(),
    seconds: (performance.now() - started) / 1000,
    parts: 0,
    bytesRead: 0,
    read: 0,
    written: 0,
    rejected: 0,
    filtered: 0,
    checks: [],
    columns: {},
    warnings: [],
  };
}

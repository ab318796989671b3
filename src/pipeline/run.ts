import { availableParallelism } from "node:os";
import {
  asMillraceError,
  forEachLimited,
  isMillraceError,
  MillraceError,
  throwIfAborted,
  type Source,
} from "../core/index.ts";
import type { Dataset } from "../dataset/index.ts";
import { conclude } from "./conclude.ts";
import type { Flow } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { datasetOf, isErasedSince, planRun, type Planned } from "./plan.ts";
import { publishAfter } from "./publish-flow.ts";
import type { RunProgress, RunReport } from "./report.ts";
import { cancelRun, type PartResult } from "./runs.ts";
import { budgetsOf } from "./enrich.ts";
import { dropStaged, stagePart, type CostEstimate } from "./stage.ts";

export interface RunOptions {
  onProgress?: (progress: RunProgress) => void;
  /** Told before an enricher spends something, for each part of the run. To stop it, abort `signal`. */
  onCost?: (estimate: CostEstimate) => void;
  signal?: AbortSignal;
  /** An open source of the flow, which stays open. Default: one is opened for the run. */
  source?: Source;
  /** Reads everything again instead of what is new. Not with `mode: append`. */
  full?: boolean;
}

/**
 * Parts that are read at the same time, in this process: the bytes pass through in large chunks and the engine has threads of its own, so
 * child processes gain nothing (`bench/results/parallel.md`). At least two hide the waiting for the source.
 */
const defaultParts = Math.min(8, Math.max(2, availableParallelism()));

/**
 * plan → read parts → stage → audit → publish. A run that was killed anywhere is taken up where it was;
 * calling this twice gives one version. Then the copies that the flow publishes are brought up to date, also after a run that found nothing
 * new: what could not be published before is made up for. Throws `MillraceError`; a check that fails gives a report with `status: "failed"`.
 */
export async function runFlow(lake: LakeHandles, flowName: string, options: RunOptions = {}): Promise<RunReport> {
  const started = performance.now();
  return publishAfter(lake, flowName, await runOnly(lake, flowName, options, started), options);
}

async function runOnly(lake: LakeHandles, flowName: string, options: RunOptions, started: number): Promise<RunReport> {
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
  const planned = await planRun(lake, flowName, {
    ...options,
    fresh,
    ...(options.source === undefined ? {} : { source: borrowed(options.source) }),
  });
  await using source = planned.source;
  void source;
  if (planned.plan === undefined) return unchanged(flowName, flow, planned.dataset, started);
  const { plan } = planned;
  try {
    const results = await stageAll(lake, flow, planned, options);
    throwIfAborted(options.signal);
    return await conclude(lake, flow, planned, results, options, started, plan);
  } catch (error) {
    if (!(await isErasedSince(lake, plan))) throw error;
    // The erasure took files of this run away, and what came after may hold erased rows.
    await cancelRun(lake.store, plan.run, `rows were erased from ${plan.dataset}`);
    await dropStaged(lake, plan);
    throw new MillraceError("conflict", `rows were erased from \`${plan.dataset}\` while this run was going on`, {
      cause: error,
      where: { run: plan.run, dataset: plan.dataset },
      hint: `nothing was published; millrace run ${flowName}`,
    });
  }
}

/** The source for one run; who opened it closes it. */
const borrowed = (source: Source): Source =>
  Object.create(source, { [Symbol.asyncDispose]: { value: async () => undefined } }) as Source;

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
  const budgets = await budgetsOf(lake, flow, plan);
  const results: PartResult[] = [];
  await forEachLimited(plan.parts, lake.config.engine?.parts ?? defaultParts, async (part, index) => {
    throwIfAborted(options.signal);
    results[index] = await stagePart(
      {
        lake,
        flow,
        plan,
        source,
        request,
        budgets,
        ...(options.signal ? { signal: options.signal } : {}),
        ...(options.onCost ? { onCost: options.onCost } : {}),
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

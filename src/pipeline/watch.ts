import { setTimeout as sleep } from "node:timers/promises";
import {
  asMillraceError,
  during,
  MillraceError,
  parseDuration,
  parseSize,
  type Cursor,
  type Lag,
  type Source,
} from "../core/index.ts";
import type { Flow, WatchSpec } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { datasetOf, flowCursor, openFlowSource, openIfExists, runRequest } from "./plan.ts";
import type { RunReport } from "./report.ts";
import { runFlow, type RunOptions } from "./run.ts";
import { tidy } from "./tidy.ts";

export interface WatchOptions extends Pick<RunOptions, "onProgress" | "onCost"> {
  /** Ends the watching: a version that is being made is finished first, for as long as `graceMs`. */
  signal: AbortSignal;
  /** Default 20,000 ms; then the version that is being made is given up, and made by the next start. */
  graceMs?: number;
  /** Overrides the `watch` of the flow. */
  every?: string;
  /** After each version, and each look at a source that had nothing new. */
  onReport?: (report: RunReport) => void;
  /** Something that may pass: it is tried again after `retryMs`. */
  onProblem?: (error: MillraceError, retryMs: number) => void;
  /** What waits in the source, each time it is asked. */
  onLag?: (lag: Lag) => void;
  /** Files were put together or removed. */
  onTidy?: (what: string) => void;
}

/** Where no source can wait for news, it is looked for so often at least. */
const longestLookMs = 60_000;
const mostRaces = 8;
const firstRetryMs = 500;
const longestRetryMs = 60_000;
/** How often it is asked how much waits, while a version is due. */
const looksPerInterval = 20;
const longestGlanceMs = 500;

/**
 * Runs a flow for as long as the signal lets it: a version at most each `every`, sooner when so many rows or bytes wait, and at once while the source
 * has more than one run may take. The only progress is the cursor in the newest version, so that the process may end anywhere. What may pass (a
 * server that is away) is tried again for ever; everything else ends it: throws `MillraceError`, `check-failed` where a check with
 * `on_fail: fail` holds a version back.
 */
export async function watchFlow(lake: LakeHandles, flowName: string, options: WatchOptions): Promise<void> {
  const flow = lake.flow(flowName);
  const pace = paceOf(flow, options.every);
  const { signal } = options;
  const isStopped = (): boolean => signal.aborted;
  const hard = new AbortController();
  const giveUp = (): void => void setTimeout(() => hard.abort(), options.graceMs ?? 20_000).unref();
  signal.addEventListener("abort", giveUp, { once: true });
  let source: Source | undefined;
  let failures = 0;
  const tidying = pace.compact ? tidy(lake, flowName, datasetOf(flowName, flow)) : undefined;
  try {
    while (!isStopped()) {
      try {
        source ??= await openFlowSource(lake, flow);
        const began = performance.now();
        const run: RunOptions = {
          source,
          signal: hard.signal,
          ...(options.onProgress ? { onProgress: options.onProgress } : {}),
          ...(options.onCost ? { onCost: options.onCost } : {}),
        };
        const report = await during(lake.store, () => runFlow(lake, flowName, run));
        failures = 0;
        options.onReport?.(report);
        if (report.status === "failed") throw heldBack(flowName, report);
        const done = await tidying?.(report, signal);
        if (done !== undefined) options.onTidy?.(done);
        if (report.more !== true) await untilDue(lake, flowName, source, pace, began, options);
      } catch (error) {
        const known = asMillraceError(error, { flow: flowName });
        if (isStopped() && known.code === "aborted") return;
        // Somebody else was quicker; but who loses each time is in another's way for good.
        const isRace = known.code === "conflict" && failures < mostRaces;
        if (!known.temporary && !isRace) throw known;
        await closed(source);
        source = undefined;
        const retryMs = Math.min(longestRetryMs, firstRetryMs * 2 ** failures++);
        options.onProblem?.(known, retryMs);
        await pause(retryMs, signal);
      }
    }
  } finally {
    signal.removeEventListener("abort", giveUp);
    await source?.[Symbol.asyncDispose]();
  }
}

/** What is broken may not close well. */
async function closed(source: Source | undefined): Promise<void> {
  try {
    await source?.[Symbol.asyncDispose]();
  } catch {
    // Another one is opened.
  }
}

interface Pace {
  everyMs: number;
  rows: number | undefined;
  bytes: number | undefined;
  compact: boolean;
}

function paceOf(flow: Flow, every: string | undefined): Pace {
  const { every: configured, rows, bytes, compact }: WatchSpec = flow.watch ?? { every: "5s", compact: true };
  const seconds = parseDuration(every ?? configured);
  if (seconds === undefined) {
    throw new MillraceError("usage", `\`${every ?? configured}\` is not a duration`, {
      hint: "such as `0.5s`, `10s`, `5m`",
    });
  }
  return { everyMs: seconds * 1000, rows, bytes: bytes === undefined ? undefined : parseSize(bytes), compact };
}

/** Waits until there is something new and the time has come, or so much that it has come sooner. */
async function untilDue(
  lake: LakeHandles,
  flowName: string,
  source: Source,
  pace: Pace,
  began: number,
  options: WatchOptions,
): Promise<void> {
  const flow = lake.flow(flowName);
  const { signal, onLag } = options;
  const position = flowCursor(await openIfExists(lake, datasetOf(flowName, flow)), flowName).position;
  const after: { after?: Cursor } = position === null ? {} : { after: position };
  const request = runRequest(lake, flowName, flow);
  const due = began + pace.everyMs;
  const isStopped = (): boolean => signal.aborted;
  const leftMs = (): number => Math.max(0, due - performance.now());
  if (source.wait !== undefined) {
    while (!isStopped() && !(await source.wait(request, { ...after, milliseconds: longestLookMs, signal })));
  }
  const looks =
    source.lag !== undefined && (onLag !== undefined || pace.rows !== undefined || pace.bytes !== undefined);
  while (!isStopped() && leftMs() > 0) {
    await pause(
      looks ? Math.min(leftMs(), Math.min(longestGlanceMs, Math.max(50, pace.everyMs / looksPerInterval))) : leftMs(),
      signal,
    );
    if (!looks || isStopped() || leftMs() === 0) continue;
    const lag = await source.lag!(request, { ...after, signal });
    onLag?.(lag);
    if ((lag.records ?? 0) >= (pace.rows ?? Infinity) || (lag.bytes ?? 0) >= (pace.bytes ?? Infinity)) return;
  }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => undefined);
}

function heldBack(flowName: string, report: RunReport): MillraceError {
  const failed = report.checks.filter((check) => check.status === "failed").map(({ check }) => `\`${check}\``);
  return new MillraceError("check-failed", `checks of \`${flowName}\` do not hold: ${failed.join(", ")}`, {
    where: { flow: flowName, dataset: report.dataset, run: report.run },
    hint: "nothing was published, and nothing is lost; a flow that is to go on whatever comes sets `on_fail: reject` or `warn`",
  });
}

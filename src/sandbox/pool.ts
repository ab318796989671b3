import { availableParallelism } from "node:os";
import { isDeepStrictEqual } from "node:util";
import { MillraceError } from "../core/errors.ts";
import { dismissChild, holdChild, isAlive, killChild, startChild, type Child, type ChildKind } from "./children.ts";

/** Processes are started anew after this many files, so that leaks of a parser do not add up. */
const jobsPerChild = 1000;
/** A warm child answers in a tenth of the time that a new one takes; it costs 50 MiB as long as it waits. */
const idleMs = 15_000;
/** Files that are parsed at once, in all of this process. More than that wait. */
const maximumBusy = Math.max(8, 2 * availableParallelism());

const idle = new Map<Child, NodeJS.Timeout>();
const waiting: (() => void)[] = [];
let busy = 0;
const counts = { started: 0, reused: 0, died: 0, recycled: 0 };

/** How many children were started, reused, died at work and were replaced after many jobs, since this process began. */
export function sandboxCounts(): Readonly<typeof counts> {
  return { ...counts };
}

/** Waits until fewer than the maximum are at work. Throws `timeout` when that takes too long, `aborted` when the caller stops. */
async function reserve(waitMs: number, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted) throw new MillraceError("aborted", "stopped by the caller", { cause: signal.reason });
  if (busy < maximumBusy) {
    busy++;
    return;
  }
  await new Promise<void>((resolve, reject) => {
    const settle = (outcome: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      const index = waiting.indexOf(proceed);
      if (index >= 0) waiting.splice(index, 1);
      outcome();
    };
    const proceed = (): void => settle(resolve);
    const abort = (): void =>
      settle(() => reject(new MillraceError("aborted", "stopped by the caller", { cause: signal?.reason })));
    const timer = setTimeout(
      () =>
        settle(() =>
          reject(
            new MillraceError("timeout", `all ${maximumBusy} parser processes were busy for ${waitMs / 1000} s`, {
              temporary: true,
              hint: "read fewer files at the same time",
            }),
          ),
        ),
      waitMs,
    );
    signal?.addEventListener("abort", abort, { once: true });
    waiting.push(proceed);
  });
}

/** Hands the place of a child that is no longer at work to who waits longest. */
function release(): void {
  const next = waiting.shift();
  if (next) next();
  else busy--;
}

/** An idle child of that kind, or a new one; it must be given back by `returnChild` or `discardChild`. */
export async function takeChild(kind: ChildKind, waitMs: number, signal: AbortSignal | undefined): Promise<Child> {
  await reserve(waitMs, signal);
  for (const [child, timer] of idle) {
    if (!isAlive(child) || !isDeepStrictEqual(child.kind, kind)) continue;
    clearTimeout(timer);
    idle.delete(child);
    holdChild(child, true);
    counts.reused++;
    return child;
  }
  try {
    const child = startChild(kind);
    counts.started++;
    return child;
  } catch (error) {
    release();
    throw error;
  }
}

/** Keeps a child that finished its job for the next one, without keeping this process alive for it. */
export function returnChild(child: Child): void {
  release();
  holdChild(child, false);
  if (child.jobs >= jobsPerChild) {
    counts.recycled++;
    dismissChild(child);
    return;
  }
  idle.set(
    child,
    setTimeout(() => {
      idle.delete(child);
      dismissChild(child);
    }, idleMs).unref(),
  );
  // Children for other folders or caps must not pile up.
  if (idle.size <= maximumBusy) return;
  const [oldest, timer] = idle.entries().next().value!;
  clearTimeout(timer);
  idle.delete(oldest);
  dismissChild(oldest);
}

/** Kills a child whose job did not end well. */
export function discardChild(child: Child, died: boolean): void {
  if (died) counts.died++;
  killChild(child);
  // Output that nobody will read would keep its pipe open, and it would never count as ended.
  child.process.stdout.destroy();
  release();
}

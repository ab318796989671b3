import * as z from "zod";
import {
  defineRunner,
  isMillraceError,
  messageOf,
  throwIfAborted,
  type Runner,
  type RunnerDefinition,
  type RunStatus,
  type RunWork,
} from "../../../src/core/index.ts";
import type { RunnerContract } from "../runner.ts";

export interface RunnerDefects {
  /** Commits as soon as the first part is done, and takes a refusal for success. */
  commitsEarly?: boolean;
  /** Takes a part that failed for one that is done. */
  forgetsFailures?: boolean;
  /** Says that it is cancelled and goes on. */
  onlySaysCancelled?: boolean;
  /** Ends while parts are at work. */
  leavesWorkBehind?: boolean;
  /** Does not take a run up again that failed. */
  neverTakesUp?: boolean;
}

/** Two parts at a time in this process. With `deliveries`, each part is done so many times at once: an at-least-once queue. */
export function referenceRunner(deliveries = 1, defects: RunnerDefects = {}): RunnerContract {
  const definition = defineRunner({
    name: "reference",
    title: "Reference",
    summary: "Parts in this process, to try the contract on.",
    options: z.strictObject({}),
    needs: [],
    capabilities: { remote: false, durable: false },
    examples: [],
    load: async () => ({ open: async (_, { work }) => openRunner(work, deliveries, defects) }),
  });
  return {
    name: deliveries === 1 ? "reference" : "reference, every part delivered twice",
    definition: definition as unknown as RunnerDefinition,
    start: async () => ({ options: {}, [Symbol.asyncDispose]: async () => undefined }),
  };
}

interface Going {
  status: RunStatus;
  controller: AbortController;
  finished: Promise<void>;
}

function openRunner(work: RunWork, deliveries: number, defects: RunnerDefects): Runner {
  const runs = new Map<string, Going>();
  const start = (run: string): Going => {
    const status: RunStatus = { state: "waiting", done: 0, parts: 0 };
    const controller = new AbortController();
    return { status, controller, finished: carryOut(work, run, status, controller.signal, deliveries, defects) };
  };
  return {
    check: async (signal) => throwIfAborted(signal),
    async submit(run) {
      const going = runs.get(run);
      const isOver = going?.status.state === "failed" && !defects.neverTakesUp;
      if (going === undefined || isOver) runs.set(run, start(run));
    },
    status: async (run) => ({ ...(runs.get(run)?.status ?? { state: "unknown", done: 0, parts: 0 }) }),
    async cancel(run, why) {
      const going = runs.get(run);
      if (going === undefined || !["waiting", "running"].includes(going.status.state)) return;
      if (!defects.onlySaysCancelled) {
        await work.cancel(run, why);
        going.controller.abort();
        await going.finished;
      }
      Object.assign(going.status, { state: "cancelled", message: why });
    },
    async [Symbol.asyncDispose]() {
      if (defects.leavesWorkBehind) return;
      for (const { controller } of runs.values()) controller.abort();
      await Promise.all([...runs.values()].map(({ finished }) => finished));
    },
  };
}

/** Never throws: what goes wrong is in `status`. */
async function carryOut(
  work: RunWork,
  run: string,
  status: RunStatus,
  signal: AbortSignal,
  deliveries: number,
  defects: RunnerDefects,
): Promise<void> {
  try {
    const parts = await work.parts(run, signal);
    Object.assign(status, { state: "running", parts: parts.length });
    let next = 0;
    const doParts = async (): Promise<void> => {
      while (next < parts.length) {
        throwIfAborted(signal);
        const part = parts[next++]!;
        await Promise.all(Array.from({ length: deliveries }, () => tryPart(work, run, part, signal, defects)));
        status.done++;
        if (defects.commitsEarly) await work.commit(run, signal).catch(() => undefined);
      }
    };
    const outcomes = await Promise.allSettled([doParts(), doParts()]);
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    await (defects.forgetsFailures ? work.commit(run, signal).catch(() => undefined) : work.commit(run, signal));
    status.state = "done";
  } catch (error) {
    Object.assign(status, { state: "failed", message: messageOf(error) });
  }
}

async function tryPart(
  work: RunWork,
  run: string,
  part: string,
  signal: AbortSignal,
  defects: RunnerDefects,
): Promise<void> {
  try {
    await work.part(run, part, signal);
  } catch (error) {
    if (defects.forgetsFailures) return;
    const isTemporary = isMillraceError(error) && error.temporary && !signal.aborted;
    if (!isTemporary) throw error;
    await work.part(run, part, signal);
  }
}

import { dirname, resolve } from "node:path";
import { MillraceError, type ErrorCode, type ErrorPlace } from "../core/errors.ts";
import { killChild, sendJob, type Child } from "./children.ts";
import { deathError, reasonOf, type Death, type DeathReason } from "./deaths.ts";
import { frame, type Frame } from "./frames.ts";
import { watchMemory } from "./memory.ts";
import { discardChild, returnChild, takeChild } from "./pool.ts";
import { forgive, identityOf, maximumStrikes, setAside, strike } from "./strikes.ts";

export interface SandboxJob {
  /** Its default export is called with `input` in the child and gives an `AsyncIterable` of bytes and JSON messages. */
  module: URL;
  /** Must survive JSON. */
  input: unknown[];
  /** The file whose bytes are parsed, as people name it: every error says it. */
  file: string;
  /** The same file on this machine. The child may read its folder, and nothing else but our own code. */
  path?: string;
  /** How long the child may work without giving anything. Waiting of the reader does not count. Default 60,000. */
  deadlineMs?: number;
  /** Cap on the child's memory. Default 1 GiB. */
  memoryBytes?: number;
  /** The module loads native code, which Node's permissions do not bind; the kernel's limits still do. */
  native?: boolean;
  /** The module starts programs. They have the limits of the child, and end with it. */
  programs?: boolean;
  signal?: AbortSignal;
}

export type SandboxOutput = Uint8Array | { message: unknown };

/** A process that has not started by then never will. */
const startMs = 30_000;

type SettledJob = SandboxJob & { deadlineMs: number; memoryBytes: number };

/**
 * Runs a module in a child process that can be killed, and gives what it yields, pulled.
 * Throws `parse` (or the code that the module threw) when it fails, `timeout` when it is overdue, `limit` when it runs out of
 * memory and `parse` when it dies otherwise; all name the file. `deathReason` tells whether the child died. An input that has killed
 * three children is set aside: it fails at once and starts no further one. Leaving the loop early kills the child.
 */
export async function* runInSandbox(options: SandboxJob): AsyncGenerator<SandboxOutput, void, undefined> {
  const job: SettledJob = {
    ...options,
    deadlineMs: options.deadlineMs ?? 60_000,
    memoryBytes: options.memoryBytes ?? 1024 ** 3,
  };
  const identity = await identityOf(job);
  for (;;) {
    const refused = setAside(identity);
    if (refused !== undefined) throw refused;
    let given = false;
    try {
      for await (const output of runOnce(job)) {
        given = true;
        yield output;
      }
      forgive(identity);
      return;
    } catch (thrown) {
      if (!(thrown instanceof ChildDied)) throw thrown;
      const { death } = thrown;
      const errorOf = (strikes: number): MillraceError => deathError(death, job, strikes);
      const strikes = strike(identity, errorOf);
      // A crash may come from what the child read before; a deadline or a full memory would only cost the same again.
      const again = !given && strikes < maximumStrikes && (death.reason === "crash" || death.reason === "exit");
      if (!again) throw errorOf(strikes);
    }
  }
}

class ChildDied extends Error {
  readonly death: Death;

  constructor(death: Death) {
    super(death.reason);
    this.death = death;
  }
}

async function* runOnce(job: SettledJob): AsyncGenerator<SandboxOutput, void, undefined> {
  const { deadlineMs, memoryBytes, signal } = job;
  const readable = job.path === undefined ? undefined : dirname(resolve(job.path));
  const child = await takeChild(
    { memoryBytes, readable, native: job.native ?? false, programs: job.programs ?? false },
    deadlineMs,
    signal,
  );
  let clean = false;
  let died = false;
  let killedFor: DeathReason | undefined;
  const kill = (reason: typeof killedFor): void => {
    killedFor ??= reason;
    killChild(child);
  };
  const stop = (): void => killChild(child);
  signal?.addEventListener("abort", stop, { once: true });
  const unwatch = watchMemory(child.process.pid ?? 0, memoryBytes, () => kill("memory"));
  try {
    sendJob(child, job.module, job.input);
    for (;;) {
      const timer = setTimeout(() => kill("deadline"), child.isReady ? deadlineMs : Math.max(startMs, deadlineMs));
      let next: IteratorResult<Frame, void>;
      try {
        next = await child.frames.next();
      } catch {
        // A frame that is none: what speaks there is no longer our code.
        next = { done: true, value: undefined };
        killChild(child);
        killedFor ??= "crash";
      } finally {
        clearTimeout(timer);
      }
      if (next.done) {
        died = true;
        throw await endOf(child, job, killedFor);
      }
      const { kind, payload } = next.value;
      child.isReady = true;
      if (kind === frame.ready) continue;
      if (kind === frame.bytes) yield payload;
      else if (kind === frame.message) yield { message: JSON.parse(payload.toString()) as unknown };
      else {
        clean = true;
        if (kind === frame.done) return;
        throw failureOf(JSON.parse(payload.toString()) as Failure, job);
      }
    }
  } finally {
    unwatch();
    signal?.removeEventListener("abort", stop);
    if (clean && !signal?.aborted) returnChild(child);
    else discardChild(child, died);
  }
}

async function endOf(
  child: Child,
  job: SettledJob,
  killedFor: DeathReason | undefined,
): Promise<ChildDied | MillraceError> {
  if (job.signal?.aborted) {
    return new MillraceError("aborted", "stopped by the caller", {
      where: { file: job.file },
      cause: job.signal.reason,
    });
  }
  const { code, signal } = await child.ended;
  const ended = { code, signal, words: child.stderr() };
  return new ChildDied({ ...ended, reason: killedFor ?? reasonOf(ended) });
}

interface Failure {
  code: ErrorCode;
  message: string;
  hint?: string;
  where?: ErrorPlace;
}

function failureOf(failure: Failure, job: SandboxJob): MillraceError {
  const named = failure.message.includes(job.file) ? failure.message : `\`${job.file}\`: ${failure.message}`;
  return new MillraceError(failure.code, named, {
    where: { ...failure.where, file: job.file },
    ...(failure.hint === undefined ? {} : { hint: failure.hint }),
  });
}

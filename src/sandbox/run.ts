import { MillraceError, type ErrorCode, type ErrorPlace } from "../core/index.ts";
import { killChild, returnChild, sendJob, takeChild, type Child } from "./children.ts";
import { frame, type Frame } from "./frames.ts";

export interface SandboxJob {
  /** Its default export is called with `input` in the child and gives an `AsyncIterable` of bytes and JSON messages. */
  module: URL;
  /** Must survive JSON. */
  input: unknown[];
  /** The file whose bytes are parsed, as people name it: every error says it. */
  file: string;
  /** How long the child may work without giving anything. Waiting of the reader does not count. Default 60,000. */
  deadlineMs?: number;
  /** Cap on the child's memory. Default 1 GiB. */
  memoryBytes?: number;
  signal?: AbortSignal;
}

export type SandboxOutput = Uint8Array | { message: unknown };

/**
 * Runs a module in a child process that can be killed, and gives what it yields, pulled.
 * Throws `parse` (or the code that the module threw) when it fails, `timeout` when it is overdue, `limit` when it runs out of
 * memory and `parse` when it dies otherwise; all name the file. Leaving the loop early kills the child.
 */
export async function* runInSandbox(job: SandboxJob): AsyncGenerator<SandboxOutput, void, undefined> {
  const { deadlineMs = 60_000, memoryBytes = 1024 ** 3, signal } = job;
  const child = takeChild(memoryBytes);
  let clean = false;
  let overdue = false;
  const stop = (): void => killChild(child);
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    sendJob(child, job.module, job.input);
    for (;;) {
      const timer = setTimeout(() => {
        overdue = true;
        killChild(child);
      }, deadlineMs);
      let next: IteratorResult<Frame, void>;
      try {
        next = await child.frames.next();
      } finally {
        clearTimeout(timer);
      }
      if (next.done) throw await deathOf(child, job, { overdue, deadlineMs, memoryBytes });
      const { kind, payload } = next.value;
      if (kind === frame.bytes) yield payload;
      else if (kind === frame.message) yield { message: JSON.parse(payload.toString()) as unknown };
      else {
        clean = true;
        if (kind === frame.done) return;
        throw failureOf(JSON.parse(payload.toString()) as Failure, job);
      }
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    if (clean && !signal?.aborted) returnChild(child);
    else killChild(child);
  }
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

async function deathOf(
  child: Child,
  job: SandboxJob,
  limits: { overdue: boolean; deadlineMs: number; memoryBytes: number },
): Promise<MillraceError> {
  const where = { file: job.file };
  if (job.signal?.aborted) {
    return new MillraceError("aborted", "stopped by the caller", { where, cause: job.signal.reason });
  }
  if (limits.overdue) {
    return new MillraceError(
      "timeout",
      `reading \`${job.file}\` gave nothing for ${limits.deadlineMs / 1000} s and was stopped`,
      {
        where,
        hint: "the file is damaged, or larger than this machine can parse in that time",
      },
    );
  }
  const { code, signal } = await child.ended;
  const words = child.stderr();
  // V8 ends with SIGABRT (134 in a shell) or SIGTRAP when its heap is full; the kernel with SIGKILL.
  const memory = /out of memory|heap limit|bad_alloc|Cannot allocate/i.test(words) || signal === "SIGKILL";
  const megabytes = Math.round(limits.memoryBytes / 1024 ** 2);
  if (memory) {
    return new MillraceError(
      "limit",
      `reading \`${job.file}\` needs more than ${megabytes} MiB of memory and was stopped`,
      {
        where,
        hint: "split the file, or store it in a format the engine reads itself (parquet, csv, ndjson)",
      },
    );
  }
  const last = words.trim().split("\n").at(-1) ?? "";
  return new MillraceError(
    "parse",
    `the parser of \`${job.file}\` died (${signal ?? `exit code ${code}`})${last === "" ? "" : `: ${last.slice(0, 300)}`}`,
    { where, hint: "the file is damaged; nothing else is affected" },
  );
}

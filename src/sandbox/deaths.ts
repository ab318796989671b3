import { MillraceError } from "../core/errors.ts";

/** Why a child died: overdue, out of memory, a signal or an exception that nobody caught, or an exit of its own accord. */
export type DeathReason = "deadline" | "memory" | "crash" | "exit";

export interface Death {
  reason: DeathReason;
  code: number | null;
  signal: NodeJS.Signals | null;
  /** What it wrote to stderr last. */
  words: string;
}

const marker = Symbol.for("millrace.sandbox.death");

/** The `cause` of every error that tells of a dead child. */
class SandboxDeath extends Error {
  readonly [marker]: DeathReason;

  constructor(reason: DeathReason) {
    super(`the parser process died: ${reason}`);
    this.name = "SandboxDeath";
    this[marker] = reason;
  }
}

/** Why a child died, when the error, or what caused it, tells of that: the file is poison, not merely damaged. */
export function deathReason(error: unknown): DeathReason | undefined {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
    if (marker in cause) return (cause as SandboxDeath)[marker];
  return undefined;
}

/** What an ended process says of why it ended. */
export function reasonOf(ended: Omit<Death, "reason">): DeathReason {
  // V8 ends with SIGABRT (134 in a shell) or SIGTRAP when its heap is full; the kernel with SIGKILL.
  const memory = /out of memory|heap limit|bad_alloc|Cannot allocate/i.test(ended.words);
  if (memory || ended.signal === "SIGKILL") return "memory";
  if (ended.signal !== null) return "crash";
  return /^\s+at .+:\d+:\d+|^Node\.js v\d|uncaught/im.test(ended.words) ? "crash" : "exit";
}

/** The error that a death becomes: `timeout`, `limit` or `parse`, naming the file. */
export function deathError(
  death: Death,
  job: { file: string; deadlineMs: number; memoryBytes: number },
  strikes: number,
): MillraceError {
  const { file } = job;
  const times = strikes > 1 ? ` (${strikes} times)` : "";
  const details = { where: { file }, cause: new SandboxDeath(death.reason) };
  switch (death.reason) {
    case "deadline":
      return new MillraceError(
        "timeout",
        `reading \`${file}\` gave nothing for ${job.deadlineMs / 1000} s and was stopped${times}`,
        { ...details, hint: "the file is damaged, or larger than this machine can parse in that time" },
      );
    case "memory":
      return new MillraceError(
        "limit",
        `reading \`${file}\` needs more than ${Math.round(job.memoryBytes / 1024 ** 2)} MiB of memory and was stopped${times}`,
        {
          ...details,
          hint: "split the file, or store it in a format the engine reads itself (parquet, csv, ndjson)",
        },
      );
    case "crash":
    case "exit": {
      const last = lastWords(death.words);
      const how = death.signal ?? (death.reason === "exit" ? `exit code ${death.code}` : "an error nobody caught");
      return new MillraceError(
        "parse",
        `the parser of \`${file}\` died${times}: ${how}${last === "" ? "" : `: ${last.slice(0, 300)}`}`,
        { ...details, hint: "the file is damaged; nothing else is affected" },
      );
    }
  }
}

/** The message of an exception that was not caught, or else the last line that the child wrote. */
function lastWords(words: string): string {
  const lines = words.split("\n").filter((line) => line.trim() !== "");
  return (lines.find((line) => /^(\w*Error|\[?\w+Error\b|Uncaught)/.test(line)) ?? lines.at(-1) ?? "").trim();
}

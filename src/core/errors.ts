/**
 * The one error class of Millrace.
 *
 * `code` is a closed union so that the same situation has the same code in every module; `hint` is the command or the
 * setting that mends it; `where` says on what it happened. Neither may hold a secret (see `secrets.ts`).
 */
export type ErrorCode =
  /** The command line or a call was used wrongly. */
  | "usage"
  /** The configuration or an option is wrong. */
  | "config"
  /** A connection, stream, table, file, dataset, version or column that does not exist. */
  | "not-found"
  /** Something that must be new is there already (a conditional create lost). */
  | "already-exists"
  /** The system knows us and refuses this. */
  | "permission"
  /** The system does not accept who we say we are. */
  | "authentication"
  /** Host, port or network cannot be reached, or the peer went away. */
  | "unreachable"
  /** A deadline passed. */
  | "timeout"
  /** The caller's signal ended the work. */
  | "aborted"
  /** Somebody else committed first, and what we wanted no longer fits. */
  | "conflict"
  /** Columns or types do not fit what the dataset or the policy allows. */
  | "schema"
  /** A value cannot be represented without loss. */
  | "value"
  /** Bytes that are not what their format says. */
  | "parse"
  /** Data we wrote is damaged: size, checksum or count differ. */
  | "corrupt"
  /** A check with `on_fail: fail` did not hold. */
  | "check-failed"
  /** A cap on memory, size, depth or count was reached. */
  | "limit"
  /** The disk or quota is full. */
  | "full"
  /** The system or this build cannot do it. */
  | "unsupported"
  /** The reply was lost and the outcome cannot be known; nothing was removed. */
  | "unknown-outcome"
  /** A defect of Millrace. */
  | "internal";

/** Where it happened. Every field is optional; values are names and numbers, never data of a person or a secret. */
export interface ErrorPlace {
  connection?: string;
  source?: string;
  store?: string;
  stream?: string;
  dataset?: string;
  flow?: string;
  run?: string;
  part?: string;
  file?: string;
  line?: number;
  row?: number;
  column?: string;
  check?: string;
}

export interface ErrorDetails {
  hint?: string;
  where?: ErrorPlace;
  /** True when the same call may succeed later without a change by the user. */
  temporary?: boolean;
  /** How long the other side asks to wait before the next try, milliseconds. */
  retryAfterMs?: number;
  cause?: unknown;
}

const marker = Symbol.for("millrace.error");

export class MillraceError extends Error {
  readonly [marker] = true;
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly where: ErrorPlace;
  readonly temporary: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "MillraceError";
    this.code = code;
    this.hint = details.hint;
    this.where = details.where ?? {};
    this.temporary = details.temporary ?? false;
    this.retryAfterMs = details.retryAfterMs;
  }

  /** The same error with more about its place; what is already known wins. */
  at(where: ErrorPlace): MillraceError {
    const details: ErrorDetails = { where: { ...where, ...this.where }, temporary: this.temporary };
    if (this.hint !== undefined) details.hint = this.hint;
    if (this.retryAfterMs !== undefined) details.retryAfterMs = this.retryAfterMs;
    if (this.cause !== undefined) details.cause = this.cause;
    const error = new MillraceError(this.code, this.message, details);
    if (this.stack !== undefined) error.stack = this.stack;
    return error;
  }

  toJSON(): Record<string, unknown> {
    return { code: this.code, message: this.message, hint: this.hint, where: this.where, temporary: this.temporary };
  }
}

/** Recognised by a symbol, so that two copies of the package in one process still know each other's errors. */
export function isMillraceError(error: unknown): error is MillraceError {
  return typeof error === "object" && error !== null && marker in error;
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` that Node and database drivers put on their errors (`ENOENT`, `28P01`), when there is one. */
export function systemCode(error: unknown): string | undefined {
  const code = typeof error === "object" && error !== null ? (error as { code?: unknown }).code : undefined;
  return typeof code === "string" ? code : undefined;
}

/** Passes a `MillraceError` on with its place; wraps everything else as `code` (default: a defect). */
export function asMillraceError(error: unknown, where: ErrorPlace = {}, code: ErrorCode = "internal"): MillraceError {
  if (isMillraceError(error)) return error.at(where);
  const system = systemCode(error);
  if (system === "ENOSPC" || system === "EDQUOT") {
    return new MillraceError("full", `the disk is full: ${messageOf(error)}`, {
      where,
      cause: error,
      temporary: true,
      hint: "free space or point the store to another medium, then run again; nothing was committed",
    });
  }
  if (system === "EMFILE" || system === "ENFILE") {
    return new MillraceError("limit", `too many files are open: ${messageOf(error)}`, {
      where,
      cause: error,
      temporary: true,
      hint: "raise `ulimit -n`",
    });
  }
  if (system === "EIO") {
    return new MillraceError("unreachable", `the device failed: ${messageOf(error)}`, {
      where,
      cause: error,
      temporary: true,
      hint: "look at the system's log (`dmesg`); nothing was committed",
    });
  }
  return new MillraceError(code, messageOf(error), { where, cause: error });
}

/** Throws `aborted` when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new MillraceError("aborted", "stopped by the caller", { cause: signal.reason });
}

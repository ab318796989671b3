import {
  MillraceError,
  asMillraceError,
  isMillraceError,
  messageOf,
  systemCode,
  type ErrorCode,
} from "../core/index.ts";

const kinds: [RegExp, ErrorCode][] = [
  [/^Out of Memory Error/, "limit"],
  [/^Permission Error/, "permission"],
  [/No space left on device|Disk quota exceeded|Could not write file.*space/i, "full"],
  // Not the data: a device that fails must not make records look broken.
  [/Input\/output error|Stale file handle|Interrupted system call/, "unreachable"],
  [/Too many open files/, "limit"],
  [/^IO Error: No files found|No such file or directory/, "not-found"],
  [
    /^(Conversion|Invalid Input|Out of Range|Serialization|Mismatch Type|Invalid|Sequence|TransactionContext) Error/,
    "parse",
  ],
  [/^(Parser|Binder|Catalog|Syntax|Not implemented|Invalid Configuration|Invalid type) Error/i, "usage"],
  [/^INTERRUPT Error/, "aborted"],
  [/^IO Error|^Invalid Error|magic bytes|^HTTP Error/, "parse"],
];

/** DuckDB's error, or that of the system, as ours. `parse`: the data does not fit; `usage`: the statement is wrong. */
export function engineError(error: unknown): MillraceError {
  if (isMillraceError(error)) return error;
  // Of a file that was made durable or renamed here, not there.
  if (systemCode(error) !== undefined) return asMillraceError(error);
  const text = messageOf(error).trim();
  const code = kinds.find(([pattern]) => pattern.test(text))?.[1] ?? "internal";
  // DuckDB adds hints and settings below; the first lines say what is wrong.
  const [first = text] = text.split(/\n\n|\nLINE \d+:/);
  const candidate = /Candidate (?:bindings|functions|tables?)[^\n]*|Did you mean[^\n]*/.exec(text)?.[0];
  const message = first.replace(/\s*\n\s*/g, " ").slice(0, 600);
  const details: { cause: unknown; hint?: string; temporary?: boolean } = { cause: error };
  // Somebody else's statement ended the engine; a new one is open by the time of the next attempt.
  if (/invalidated because of a previous fatal error/.test(text)) details.temporary = true;
  if (code === "limit") details.hint = "raise `engine.memoryLimit` in the configuration, or free space for spilling";
  else if (code === "full") details.hint = "free space on the disk of the store, then run again; nothing was committed";
  else if (candidate !== undefined) details.hint = candidate;
  if (code === "unreachable") details.temporary = true;
  return new MillraceError(code, message, details);
}

/** True after an error in the engine itself, which ends it. */
export function isFatal(error: unknown): boolean {
  const cause = isMillraceError(error) ? error.cause : error;
  return /^(FATAL|INTERNAL) Error|invalidated because of a previous fatal error/.test(messageOf(cause).trim());
}

/** True when the records are at fault, so that telling good from bad is worth a second pass. */
export function isDataError(error: unknown): boolean {
  return isMillraceError(error) && error.code === "parse";
}

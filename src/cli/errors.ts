import { relative } from "node:path";
import { asMillraceError, isMillraceError, type ErrorPlace, type MillraceError } from "../core/errors.ts";
import { redact } from "../core/secrets.ts";
import { escapeData, escapeMessage } from "./text/escape.ts";

/** 0 done, 1 the run or a check failed, 2 wrong usage or configuration, 130 stopped by Ctrl-C. */
export function exitCodeOf(error: unknown): number {
  if (!isMillraceError(error)) return 1;
  switch (error.code) {
    case "usage":
    case "config":
    case "not-found":
      return 2;
    case "aborted":
      return 130;
    default:
      return 1;
  }
}

function formatPlace({ file, line, row, ...names }: ErrorPlace): string {
  const parts = Object.entries(names as Record<string, string | undefined>).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name} ${value}`],
  );
  if (file !== undefined) {
    const near = relative(process.cwd(), file);
    const isUrl = file.includes("://");
    const path = isUrl || near === "" || near.startsWith("..") || near.length > file.length ? file : near;
    parts.unshift(line === undefined ? path : `${path}:${line}`);
  }
  if (row !== undefined) parts.push(`row ${row}`);
  return parts.join(", ");
}

/** What the engine or Node threw and we did not foresee: the stack belongs into a report, not onto the screen. */
function defectHint(): string {
  return "this is a defect of Millrace; run again with MILLRACE_DEBUG=1 and report what it prints";
}

/** Three lines: what, where, and what mends it. Redacted, and safe to print. */
export function formatError(thrown: unknown): string {
  const error: MillraceError = asMillraceError(thrown);
  const lines = [escapeMessage(`error: ${error.message}`)];
  const place = formatPlace(error.where);
  if (place !== "") lines.push(`  at: ${escapeData(place)}`);
  const hint = error.hint ?? (error.code === "internal" ? defectHint() : undefined);
  if (hint !== undefined) lines.push(escapeMessage(`  try: ${hint}`));
  if ((process.env["MILLRACE_DEBUG"] ?? "") !== "") {
    for (let cause: unknown = thrown; cause instanceof Error; cause = cause.cause)
      lines.push(escapeMessage(cause.stack ?? cause.message));
  }
  return redact(lines.join("\n"));
}

/** The same for machines, as one line of JSON. */
export function errorJson(thrown: unknown): string {
  return redact(JSON.stringify({ error: asMillraceError(thrown).toJSON() }));
}

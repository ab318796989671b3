import { stat } from "node:fs/promises";
import type { MillraceError } from "../core/errors.ts";

/** So often an input may kill its parser before it is set aside: a kill may come from outside, three do not. */
export const maximumStrikes = 3;
/** Inputs that are remembered. The oldest are forgotten first. */
const remembered = 1_000;

const struck = new Map<string, { strikes: number; error: MillraceError }>();

interface Input {
  module: URL;
  input: unknown[];
  file: string;
  path?: string;
  deadlineMs: number;
  memoryBytes: number;
}

/** What tells an input from all others: a file that was mended, or that is given more time, has no strikes. */
export async function identityOf(job: Input): Promise<string> {
  let content = "";
  if (job.path !== undefined) {
    // A file that is not there is for the parser to tell.
    const found = await stat(job.path).catch(() => undefined);
    if (found !== undefined) content = `${found.dev}:${found.ino}:${found.size}:${found.mtimeMs}`;
  }
  return JSON.stringify([job.module.href, job.input, job.file, content, job.deadlineMs, job.memoryBytes]);
}

/** The error of an input that has had its last strike. */
export function setAside(identity: string): MillraceError | undefined {
  const known = struck.get(identity);
  return known !== undefined && known.strikes >= maximumStrikes ? known.error : undefined;
}

/** Counts a death, and gives how many there were. */
export function strike(identity: string, errorOf: (strikes: number) => MillraceError): number {
  const strikes = (struck.get(identity)?.strikes ?? 0) + 1;
  struck.delete(identity);
  struck.set(identity, { strikes, error: errorOf(strikes) });
  if (struck.size > remembered) struck.delete(struck.keys().next().value!);
  return strikes;
}

/** An input that was read after all: what killed its parser before was not in it. */
export function forgive(identity: string): void {
  struck.delete(identity);
}

import { type Converter, type FileRef } from "../../core/index.ts";
import { findPrograms, runInSandbox } from "../../sandbox/index.ts";

/** What a parser may take. */
export interface ParseLimits {
  parse_timeout_s: number;
  parse_memory_mb: number;
}

export function convertJob(
  converter: Converter,
  file: FileRef,
  formatOptions: Record<string, unknown>,
  limits: ParseLimits,
  signal: AbortSignal | undefined,
) {
  const { programs } = converter;
  return runInSandbox({
    module: converter.module,
    input: [file, programs === undefined ? formatOptions : { ...formatOptions, programs: findPrograms(programs) }],
    file: file.name,
    path: file.path,
    deadlineMs: limits.parse_timeout_s * 1000,
    memoryBytes: limits.parse_memory_mb * 1024 ** 2,
    ...(converter.native === undefined ? {} : { native: converter.native }),
    ...(programs === undefined ? {} : { programs: true }),
    ...(signal ? { signal } : {}),
  });
}

/** Files whose parser died after it had given records, until they are asked for again. */
export const poisoned = new Map<string, string>();

/** A file as it is now, and the limits that it was given. `place`: what finds it again; by default its path on this machine. */
export function poisonIdentity(file: FileRef, limits: ParseLimits, place = file.path): string {
  return JSON.stringify([place, file.size, file.modified, limits.parse_timeout_s, limits.parse_memory_mb]);
}

import { setTimeout as sleep } from "node:timers/promises";
import { isMillraceError, MillraceError, throwIfAborted } from "./errors.ts";

export interface RetryOptions {
  /** Tries in all, which may depend on what went wrong last. Default 4. */
  tries?: number | ((error: MillraceError) => number);
  /** Milliseconds before the second try; doubles each time, with jitter. Default 200. */
  delayMs?: number;
  /** Longest wait between tries, milliseconds. Default 10,000. */
  maximumDelayMs?: number;
  /** Longest wait that the other side may ask for (`Retry-After`); one that asks for more is not tried again. Default 120,000. */
  maximumRetryAfterMs?: number;
  signal?: AbortSignal;
  onRetry?: (error: MillraceError, attempt: number) => void;
}

/**
 * Calls again after a temporary `MillraceError`; everything else passes at once.
 * It is put around a handle from outside: no driver has a retry loop of its own.
 */
export async function retry<T>(action: (attempt: number) => Promise<T>, options: RetryOptions = {}): Promise<T> {
  const { tries = 4, delayMs = 200, maximumDelayMs = 10_000, maximumRetryAfterMs = 120_000, signal } = options;
  for (let attempt = 1; ; attempt++) {
    throwIfAborted(signal);
    try {
      return await action(attempt);
    } catch (error) {
      if (!isMillraceError(error) || !error.temporary || signal?.aborted) throw error;
      if (attempt >= (typeof tries === "number" ? tries : tries(error))) throw error;
      const asked = error.retryAfterMs ?? 0;
      if (asked > maximumRetryAfterMs) throw error;
      options.onRetry?.(error, attempt);
      const backoff = Math.min(maximumDelayMs, delayMs * 2 ** (attempt - 1));
      await sleep(Math.max(asked, backoff * (0.5 + Math.random() / 2)), undefined, signal ? { signal } : {}).catch(
        () => undefined,
      );
    }
  }
}

/** Bounds one call in time. The action gets a signal that fires at the deadline, and must honour it. */
export async function withDeadline<T>(
  milliseconds: number,
  what: string,
  action: (signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const deadline = AbortSignal.timeout(milliseconds);
  const either = signal ? AbortSignal.any([signal, deadline]) : deadline;
  let onAbort: (() => void) | undefined;
  const expired = new Promise<never>((_, reject) => {
    onAbort = () => {
      reject(
        deadline.aborted && !signal?.aborted
          ? new MillraceError("timeout", `${what} took longer than ${milliseconds / 1000} s`, { temporary: true })
          : new MillraceError("aborted", "stopped by the caller", { cause: signal?.reason }),
      );
    };
    if (either.aborted) onAbort();
    else either.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([action(either), expired]);
  } finally {
    if (onAbort) either.removeEventListener("abort", onAbort);
  }
}

/** At most `limit` of the returned calls run at once; the others wait in order. */
export function limitConcurrency(limit: number): <T>(action: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (action) => {
    if (running >= limit) await new Promise<void>((resolve) => waiting.push(resolve));
    running++;
    try {
      return await action();
    } finally {
      running--;
      waiting.shift()?.();
    }
  };
}

/** Runs `action` over `items`, at most `limit` at once; the first error stops the rest from starting and is thrown. */
export async function forEachLimited<T>(
  items: readonly T[],
  limit: number,
  action: (item: T, index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  let failed = false;
  const worker = async (): Promise<void> => {
    while (!failed && next < items.length) {
      const index = next++;
      try {
        await action(items[index]!, index);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, worker));
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

import { existsSync, readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { expect } from "vitest";
import { isMillraceError, redact, type MillraceError } from "../../../src/core/index.ts";

/** The error that `work` ends with; a failed expectation when it ends well or throws anything but a `MillraceError`. */
export async function errorOf(work: () => Promise<unknown>): Promise<MillraceError> {
  const outcome: unknown = await work().then(
    (value) => ({ value }),
    (error: unknown) => error,
  );
  if (!isMillraceError(outcome)) expect.fail(`expected a MillraceError, got ${inspect(outcome, { depth: 4 })}`);
  return outcome;
}

/** Waits for what another process or the system does; the deadline is for a hang, not a measure of speed. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what = "a condition",
  seconds = 20,
): Promise<void> {
  const end = performance.now() + seconds * 1000;
  while (!(await holds())) {
    if (performance.now() > end) expect.fail(`${what} did not come about within ${seconds} s`);
    await sleep(5);
  }
}

/** Fails when any of the secrets can be read in what a person or a log would be shown of the error. */
export function expectNoSecret(error: MillraceError, secrets: readonly string[]): void {
  const shown = redact(inspect([error.message, error.hint, error.where, error.cause, error.stack], { depth: 8 }));
  for (const text of [error.message, error.hint ?? "", JSON.stringify(error), shown]) {
    for (const secret of secrets) if (text.includes(secret)) expect.fail("a secret is readable in an error");
  }
}

/** Open file descriptors of this process, where the system tells; and sockets, pipes, servers and children that keep it alive. */
export interface Handles {
  descriptors: number | undefined;
  resources: number;
}

const lasting = /^(TCP|Pipe|Process|TLS|UDP|FSReq)/;

export function openHandles(): Handles {
  const folder = "/proc/self/fd";
  return {
    // The folder itself is open while it is read.
    descriptors: existsSync(folder) ? readdirSync(folder).length - 1 : undefined,
    resources: process.getActiveResourcesInfo().filter((name) => lasting.test(name)).length,
  };
}

/** Runs `work` twice; the second time nothing may stay open that was not open before. The first loads modules and warms pools. */
export async function expectNoLeak(work: () => Promise<void>): Promise<void> {
  await work();
  const before = openHandles();
  await work();
  const isBack = (): boolean => {
    const now = openHandles();
    return (now.descriptors ?? 0) <= (before.descriptors ?? 0) && now.resources <= before.resources;
  };
  await until(isBack, `handles (before: ${JSON.stringify(before)}) going back`, 10);
}

/** Waits for all of them, also when one fails: nothing is left at work behind a failed rule. */
export async function allOf(...works: Promise<unknown>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(works)) if (outcome.status === "rejected") throw outcome.reason;
}

/** Everything of an iterable. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Bytes that compress badly and are the same each time: a linear congruential generator (Numerical Recipes). */
export function noise(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed >>> 0;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

export const textBytes = (text: string): Uint8Array => new TextEncoder().encode(text);
export const textOf = (bytes: Uint8Array): string => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);

import dgram from "node:dgram";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { isMillraceError, messageOf } from "../core/errors.ts";
import { frame, frameHeader, readFrames, type FrameKind } from "./frames.ts";

/**
 * The process that touches hostile bytes. It serves one job after the other; its parent kills it when a job is overdue.
 * A job names a module whose default export is called with the job's arguments and yields bytes and JSON messages.
 */
interface Module {
  default(...input: unknown[]): AsyncIterable<unknown>;
  /** Loads libraries, which may add to prototypes, before anything of the file is read. */
  prepare?(...input: unknown[]): Promise<void>;
}

/** Small chunks are joined: a frame a line would cost more in system calls than the parsing. */
const flushBytes = 256 * 1024;

async function send(kind: FrameKind, payload: Uint8Array): Promise<void> {
  process.stdout.cork();
  process.stdout.write(frameHeader(kind, payload.length));
  const flowing = process.stdout.write(payload);
  process.stdout.uncork();
  if (!flowing && process.stdout.writableNeedDrain) await once(process.stdout, "drain");
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

async function perform(module: string, input: unknown[]): Promise<void> {
  let pending: Uint8Array[] = [];
  let held = 0;
  const flush = async (): Promise<void> => {
    if (held === 0) return;
    const joined = pending.length === 1 ? pending[0]! : Buffer.concat(pending, held);
    pending = [];
    held = 0;
    for (let start = 0; start < joined.length; start += 4 * 1024 * 1024) {
      await send(frame.bytes, joined.subarray(start, start + 4 * 1024 * 1024));
    }
  };
  const loaded = (await import(module)) as Module;
  await loaded.prepare?.(...input);
  baseline = prototypeSizes();
  for await (const output of loaded.default(...input)) {
    if (output instanceof Uint8Array) {
      pending.push(output);
      held += output.length;
      if (held >= flushBytes) await flush();
    } else {
      await flush();
      await send(frame.message, json(output));
    }
  }
  await flush();
}

/** More memory asked for than the limit, or than any buffer may have. */
function isAllocation(error: unknown): boolean {
  return (
    error instanceof RangeError &&
    /allocat|Invalid (typed )?array length|Cannot create a|larger than|too (large|long)/i.test(error.message)
  );
}

/** A parser that trips over damaged bytes throws what a programming error would. */
function describeFailure(error: unknown): string {
  const message = messageOf(error);
  if (isAllocation(error)) return `it needs more memory than it may have (${message})`;
  return error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError
    ? `its structure is damaged (${message})`
    : message;
}

/**
 * No parser speaks to a network. Where the kernel does not take it away, and for the sockets in the file system that it leaves, the
 * ways to it in JavaScript are closed: TCP, TLS, HTTP and `fetch` all go through these.
 */
function closeNetwork(): void {
  const refuse = (): never => {
    throw new Error("a parser may not use the network");
  };
  for (const [prototype, names] of [
    [net.Socket.prototype, ["connect"]],
    [net.Server.prototype, ["listen"]],
    [dgram.Socket.prototype, ["bind", "connect", "send"]],
  ] as const) {
    for (const name of names) Object.defineProperty(prototype, name, { value: refuse });
  }
  dgram.createSocket = refuse;
  syncBuiltinESMExports();
}

const prototypes = [Object, Array, Function, String, Number, Map, Promise].map(({ prototype }) => prototype as object);
const prototypeSizes = (): number[] => prototypes.map((prototype) => Reflect.ownKeys(prototype).length);
let baseline = prototypeSizes();

/** Whether what one file held could change how the next one is read. */
function isPolluted(): boolean {
  return prototypeSizes().some((size, index) => size !== baseline[index]);
}

// The parent does it too, unless it has died.
const own = process.cwd();
process.once("exit", () => rmSync(own, { recursive: true, force: true }));
// A library that prints must not break the frames.
console.log = console.error;
// The pipe to the parent is opened on first use, and no other socket after it.
void process.stdout;
closeNetwork();
await send(frame.ready, Buffer.alloc(0));

for await (const { kind, payload } of readFrames(process.stdin)) {
  if (kind !== frame.job) continue;
  const { module, input } = JSON.parse(payload.toString()) as { module: string; input: unknown[] };
  try {
    await perform(module, input);
    // A promise that nobody waited for and that was rejected ends this process: in this job, not in the next one.
    await nextTurn();
    await nextTurn();
    await send(frame.done, Buffer.alloc(0));
  } catch (error) {
    const known = isMillraceError(error);
    await send(
      frame.failed,
      json({
        code: known ? error.code : isAllocation(error) ? "limit" : "parse",
        message: (known ? error.message : describeFailure(error)).slice(0, 2000),
        hint: known ? error.hint : undefined,
        where: known ? error.where : undefined,
      }),
    );
  }
  // Its parent sees the end and starts another.
  if (isPolluted()) process.exit(0);
}

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants, openSync } from "node:fs";
import { rm } from "node:fs/promises";
import { Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { limitConcurrency, systemCode, throwIfAborted } from "../core/index.ts";

const run = promisify(execFile);

/**
 * A query that waits for its pipe holds one of the few threads that all file access of the process shares (four, unless
 * `UV_THREADPOOL_SIZE` says more). Half of them leave room for whatever the streams themselves need to make progress.
 */
export const takeTurn = limitConcurrency(Math.max(1, Math.floor((Number(process.env["UV_THREADPOOL_SIZE"]) || 4) / 2)));

export interface PipeResult<T> {
  result: T;
  bytes: number;
}

export interface PipeOptions {
  /** Bytes written so far. */
  onBytes?: (total: number) => void;
  signal?: AbortSignal;
}

/**
 * Lets a query read a stream of bytes through a named pipe: `query` gets the path and must open it exactly once.
 * Neither side can wait for ever: a query that fails frees the writer, and a stream that fails ends the query and wins.
 */
export function readThroughPipe<T>(
  folder: string,
  chunks: AsyncIterable<Uint8Array>,
  query: (path: string) => Promise<T>,
  options: PipeOptions = {},
): Promise<PipeResult<T>> {
  return takeTurn(() => pipeThrough(folder, chunks, query, options));
}

async function pipeThrough<T>(
  folder: string,
  chunks: AsyncIterable<Uint8Array>,
  query: (path: string) => Promise<T>,
  { onBytes, signal }: PipeOptions,
): Promise<PipeResult<T>> {
  throwIfAborted(signal);
  const path = join(folder, `pipe-${randomBytes(6).toString("hex")}`);
  await run("mkfifo", ["-m", "600", path]);
  const iterator = chunks[Symbol.asyncIterator]();
  // An interrupted query still waits in its read of the pipe: closing our end lets it go.
  const { stop, isOver, orStopped } = stopSign();
  signal?.addEventListener("abort", stop);
  let failure: { error: unknown } | undefined;
  let bytes = 0;
  let settled = false;

  const write = async (): Promise<void> => {
    // After an abort too: a query that comes to its pipe only then would wait there for ever.
    const pipe = await openWriter(path, { isNeeded: () => !settled, isOver });
    if (pipe === undefined) return;
    try {
      while (!isOver()) {
        const next = await orStopped(iterator.next());
        if (next === "stopped" || next.done) break;
        if ((await orStopped(pipe.write(next.value))) === "stopped") break;
        bytes += next.value.byteLength;
        onBytes?.(bytes);
      }
    } catch (error) {
      // The query stopped reading: its own error says why.
      if (systemCode(error) !== "EPIPE") failure = { error };
    } finally {
      await pipe.close();
    }
  };

  try {
    const writing = write();
    try {
      const result = await query(path).finally(() => {
        settled = true;
      });
      stop();
      await writing;
      if (failure) throw failure.error;
      throwIfAborted(signal);
      return { result, bytes };
    } catch (error) {
      stop();
      await writing;
      throw failure ? failure.error : error;
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    // Not awaited: a source that hangs must not hold up the error.
    void iterator.return?.().catch(() => undefined);
    await rm(path, { force: true });
  }
}

interface StopSign {
  stop: () => void;
  isOver: () => boolean;
  /** One at a time. A race with one long-lived promise would keep something of every chunk until the end of the stream. */
  orStopped: <T>(promise: Promise<T>) => Promise<T | "stopped">;
}

function stopSign(): StopSign {
  let over = false;
  let wake: ((value: "stopped") => void) | undefined;
  return {
    stop: () => {
      over = true;
      wake?.("stopped");
    },
    isOver: () => over,
    orStopped: (promise) =>
      new Promise((resolve, reject) => {
        if (over) resolve("stopped");
        wake = resolve;
        promise.then(resolve, reject);
      }),
  };
}

interface PipeWriter {
  /** Resolves when the pipe has taken the whole chunk. Throws EPIPE when nobody reads any more. */
  write(chunk: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the writing end once somebody has opened the other; undefined when nobody will any more. Never blocks a thread: an open
 * that waits, or a write to a full pipe, would hold one that the reading query may need.
 */
async function openWriter(
  path: string,
  { isNeeded, isOver }: { isNeeded: () => boolean; isOver: () => boolean },
): Promise<PipeWriter | undefined> {
  let descriptor: number;
  for (let waited = 1; ; waited = Math.min(waited * 2, 20)) {
    if (!isNeeded()) return undefined;
    try {
      descriptor = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
      break;
    } catch (error) {
      if (systemCode(error) !== "ENXIO") throw error;
      await sleep(waited);
    }
  }
  const socket = new Socket({ fd: descriptor, readable: false, writable: true });
  // Errors reach the write that met them; this keeps one that nobody waits for from ending the process.
  socket.on("error", () => undefined);
  return {
    write: (chunk) =>
      new Promise((resolve, reject) => {
        socket.write(chunk, (error) => (error ? reject(error) : resolve()));
      }),
    close: () =>
      new Promise((resolve) => {
        if (socket.destroyed) return resolve();
        socket.once("close", () => resolve());
        if (isOver()) socket.destroy();
        else socket.end(() => socket.destroy());
      }),
  };
}

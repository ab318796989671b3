import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { throwIfAborted } from "../core/index.ts";

const run = promisify(execFile);

export interface PipeResult<T> {
  result: T;
  bytes: number;
}

/**
 * Lets a query read a stream of bytes through a named pipe: `query` gets the path and must open it exactly once.
 * Neither side can wait for ever: a query that fails frees the writer, and a stream that fails ends the query and wins.
 */
export async function readThroughPipe<T>(
  folder: string,
  chunks: AsyncIterable<Uint8Array>,
  query: (path: string) => Promise<T>,
  options: { onBytes?: (total: number) => void; signal?: AbortSignal } = {},
): Promise<PipeResult<T>> {
  const path = join(folder, `pipe-${randomBytes(6).toString("hex")}`);
  await run("mkfifo", ["-m", "600", path]);
  let failure: { error: unknown } | undefined;
  let bytes = 0;
  let finished = false;
  const iterator = chunks[Symbol.asyncIterator]();
  const { onBytes, signal } = options;
  // An interrupted query still waits in its read of the pipe: closing our end lets it go.
  let stop!: () => void;
  const stopped = new Promise<"stopped">((resolve) => (stop = () => resolve("stopped")));
  signal?.addEventListener("abort", stop);

  const write = async (): Promise<void> => {
    // Waits until the query has opened the other end.
    const pipe = await open(path, "w");
    try {
      while (!finished) {
        let next: IteratorResult<Uint8Array> | "stopped";
        try {
          next = await Promise.race([iterator.next(), stopped]);
        } catch (error) {
          failure = { error };
          break;
        }
        if (next === "stopped" || next.done) break;
        await writeAll(pipe, next.value);
        bytes += next.value.byteLength;
        onBytes?.(bytes);
      }
    } catch (error) {
      // The query stopped reading: its own error says why.
      if ((error as { code?: string }).code !== "EPIPE") failure ??= { error };
    } finally {
      await pipe.close();
    }
  };

  try {
    const writing = write();
    try {
      const result = await query(path);
      finished = true;
      stop();
      await freeWriter(path, writing);
      if (failure) throw failure.error;
      throwIfAborted(signal);
      return { result, bytes };
    } catch (error) {
      finished = true;
      stop();
      await freeWriter(path, writing);
      throw failure ? failure.error : error;
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    // Not awaited: a source that hangs must not hold up the error.
    void iterator.return?.().catch(() => undefined);
    await rm(path, { force: true });
  }
}

async function writeAll(pipe: Awaited<ReturnType<typeof open>>, chunk: Uint8Array): Promise<void> {
  for (let offset = 0; offset < chunk.byteLength;) {
    const { bytesWritten } = await pipe.write(chunk, offset, chunk.byteLength - offset);
    offset += bytesWritten;
  }
}

/** A writer may still be waiting for somebody to open the pipe: opening the reading end without waiting lets it go. */
async function freeWriter(path: string, writing: Promise<void>): Promise<void> {
  const reader = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  // Closed at once when the writer is past its open: what it still writes then fails with EPIPE.
  await Promise.race([writing, new Promise((resolve) => setTimeout(resolve, 20))]);
  await reader.close();
  await writing;
}

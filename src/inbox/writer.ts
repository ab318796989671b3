import { Worker } from "node:worker_threads";
import { MillraceError, type ErrorCode } from "../core/index.ts";
import type { InboxEntry, InboxWriter } from "./types.ts";

export interface WriterOptions {
  /** What all files of the inbox may hold, bytes. */
  maxBytes: number;
  /** A file that is larger is followed by another one; only whole files are removed. Default 64 MiB. */
  segmentBytes?: number;
  /** So is one that is older, milliseconds. Default an hour. */
  segmentMs?: number;
  /** Bytes that may wait for the disk. Default 64 MiB. */
  waitingBytes?: number;
}

export type WriterSettings = Required<Omit<WriterOptions, "waitingBytes">> & { folder: string };

interface Failure {
  code: ErrorCode;
  message: string;
  hint?: string;
}
export type ToThread =
  | "close"
  | { id: number; received: bigint; topics: string[]; metas: string[]; lengths: Uint32Array; bytes: ArrayBuffer };
export type FromThread =
  | { ready: true; findings: string[] }
  | { error: Failure }
  | { id: number; first: number }
  | { id: number; error: Failure };

interface Waiting {
  entries: readonly InboxEntry[];
  bytes: number;
  done: (first: number) => void;
  failed: (error: unknown) => void;
}

const thread = new URL(import.meta.url.endsWith(".ts") ? "./writer-thread.ts" : "./writer-thread.js", import.meta.url);
/** One transaction: longer ones make the first of their entries wait. */
const groupBytes = 4 * 1024 ** 2;

/** See `InboxWriter`. */
export async function openWriter(folder: string, options: WriterOptions): Promise<InboxWriter> {
  const { maxBytes, segmentBytes = 64 * 1024 ** 2, segmentMs = 3_600_000, waitingBytes = 64 * 1024 ** 2 } = options;
  const settings: WriterSettings = { folder, maxBytes, segmentBytes: Math.min(segmentBytes, maxBytes), segmentMs };
  const worker = new Worker(thread, { workerData: settings, stdout: false, stderr: false });
  const queue: Waiting[] = [];
  const inFlight = new Map<number, Waiting[]>();
  let waiting = 0;
  let groups = 0;
  let broken: MillraceError | undefined;
  let isClosing = false;

  const failAll = (error: MillraceError): void => {
    broken ??= error;
    for (const each of [...[...inFlight.values()].flat(), ...queue.splice(0)]) each.failed(error);
    inFlight.clear();
    waiting = 0;
    idle();
  };
  let idle = (): void => undefined;

  const findings = await new Promise<string[]>((resolve, reject) => {
    worker.once("message", (message: FromThread) => {
      if ("ready" in message) resolve(message.findings);
      else if ("error" in message) {
        const { code, message: text, hint } = message.error;
        void worker.terminate();
        reject(new MillraceError(code, text, hint === undefined ? {} : { hint }));
      }
    });
    worker.once("error", reject);
  });
  worker.on("error", (cause) => {
    failAll(
      new MillraceError("unknown-outcome", `the inbox \`${folder}\` lost its writer`, { cause, temporary: true }),
    );
  });
  worker.on("exit", () => {
    if (!isClosing) failAll(new MillraceError("unknown-outcome", `the writer of the inbox \`${folder}\` has ended`));
  });

  const send = (): void => {
    // Two groups: one is written while the other is being collected and handed over.
    while (queue.length > 0 && inFlight.size < 2) {
      const group: Waiting[] = [];
      let bytes = 0;
      while (queue.length > 0 && (group.length === 0 || bytes + queue[0]!.bytes <= groupBytes)) {
        const next = queue.shift()!;
        group.push(next);
        bytes += next.bytes;
      }
      const id = ++groups;
      inFlight.set(id, group);
      const message = packed(id, group, bytes);
      worker.postMessage(message, [message.bytes]);
    }
  };
  let isScheduled = false;
  const schedule = (): void => {
    if (isScheduled) return;
    isScheduled = true;
    // What arrived in this turn of the loop goes together.
    setImmediate(() => {
      isScheduled = false;
      send();
    });
  };

  worker.on("message", (message: FromThread) => {
    if (!("id" in message)) return;
    const group = inFlight.get(message.id) ?? [];
    inFlight.delete(message.id);
    if ("error" in message) {
      const { code, message: text } = message.error;
      const error = new MillraceError(code, text, {
        temporary: true,
        hint: "make room, or raise what the inbox may hold; rows that a version has are removed by themselves",
      });
      for (const each of group) {
        waiting -= each.bytes;
        each.failed(error);
      }
    } else {
      let { first } = message;
      for (const each of group) {
        waiting -= each.bytes;
        each.done(first);
        first += each.entries.length;
      }
    }
    if (queue.length > 0) send();
    else if (inFlight.size === 0) idle();
  });

  return {
    folder,
    findings,
    waiting: () => waiting,
    append(entries) {
      const bytes = entries.reduce((sum, { body }) => sum + body.length, 0);
      return new Promise((done, failed) => {
        if (broken !== undefined) return failed(broken);
        if (isClosing) return failed(new MillraceError("aborted", `the inbox \`${folder}\` is closed`));
        if (entries.length === 0) return done(0);
        if (waiting + bytes > waitingBytes && waiting > 0) {
          return failed(
            new MillraceError("full", `${waiting} bytes wait for the disk of the inbox \`${folder}\``, {
              temporary: true,
            }),
          );
        }
        waiting += bytes;
        queue.push({ entries, bytes, done, failed });
        schedule();
      });
    },
    async [Symbol.asyncDispose]() {
      if (isClosing) return;
      isClosing = true;
      send();
      await new Promise<void>((resolve) => {
        idle = resolve;
        if ((queue.length === 0 && inFlight.size === 0) || broken !== undefined) resolve();
      });
      const ended = new Promise((resolve) => worker.once("exit", resolve));
      worker.postMessage("close" satisfies ToThread);
      await ended;
    },
  };
}

function packed(id: number, group: readonly Waiting[], size: number): Exclude<ToThread, "close"> {
  const count = group.reduce((sum, { entries }) => sum + entries.length, 0);
  const topics: string[] = [];
  const metas: string[] = [];
  const lengths = new Uint32Array(count);
  const bytes = new Uint8Array(size);
  let [index, at] = [0, 0];
  for (const { entries } of group) {
    for (const { topic, meta, body } of entries) {
      topics.push(topic);
      metas.push(meta);
      lengths[index++] = body.length;
      bytes.set(body, at);
      at += body.length;
    }
  }
  return { id, received: BigInt(Date.now()) * 1000n, topics, metas, lengths, bytes: bytes.buffer };
}

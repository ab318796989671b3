import { isMillraceError } from "../../src/core/index.ts";
import { deathReason, runInSandbox, sandboxCounts } from "../../src/sandbox/index.ts";
import { openBench } from "../formats/landing.ts";

/**
 * A long-lived process that reads one hostile file after the other, and answers `ping` meanwhile. Started with `fork`:
 * `{ files }` begins, each file ends in `{ done }`, and `{ finished }` says how many parser processes there were.
 */
export interface Done {
  file: string;
  /** `data`, or the code of the error. */
  outcome: string;
  message: string;
}
/** What a hostile worker did, and what its job ended with: `data`, the reason of its death, or the code of an error it survived. */
export type FromHost =
  | { pong: number }
  | { done: Done }
  | { worker: { how: string; outcome: string } }
  /** `turns`: how long its event loop was busy between two ticks of a clock, milliseconds of processor time of its thread. */
  | { finished: ReturnType<typeof sandboxCounts>; turns: number[] };
export type ToHost = { ping: number } | { files: string[] } | { workers: [string, string | number][] };

/** Whoever asked may have gone by now. */
const send = (message: FromHost): void => void (process.connected && process.send!(message, () => undefined));

/** Processor time, since other processes of this machine cannot make it longer: an event loop that is blocked is busy. */
const turns: number[] = [];
let last = process.threadCpuUsage();
setInterval(() => {
  const spent = process.threadCpuUsage(last);
  last = process.threadCpuUsage();
  turns.push((spent.user + spent.system) / 1_000);
}, 20).unref();

async function readAll(files: string[]): Promise<void> {
  await using bench = await openBench();
  for (const file of files) {
    let outcome = "data";
    let message = "";
    try {
      const landing = await bench.land({ path: file, parse_timeout_s: 2, parse_memory_mb: 256 });
      if (landing.read !== landing.written + landing.rejected.length) outcome = "lost";
      else if (landing.rejected.length > 0) outcome = "rejected";
    } catch (error) {
      outcome = isMillraceError(error) ? error.code : "thrown";
      message = isMillraceError(error) ? `${error.message} ${error.where.file ?? ""}` : String((error as Error).stack);
    }
    send({ done: { file, outcome, message } });
  }
  send({ finished: sandboxCounts(), turns: turns.splice(0) });
}

const module = new URL("../sandbox/work/misbehave.ts", import.meta.url);

async function misbehave(workers: [string, string | number][]): Promise<void> {
  for (const [how, argument] of workers) {
    let outcome = "data";
    try {
      const job = {
        module,
        input: [how, argument],
        file: how,
        deadlineMs: how === "hang" ? 500 : 30_000,
        memoryBytes: 256 * 1024 ** 2,
      };
      for await (const output of runInSandbox(job)) void output;
    } catch (error) {
      outcome = deathReason(error) ?? (isMillraceError(error) ? error.code : "thrown");
    }
    send({ worker: { how, outcome } });
  }
  send({ finished: sandboxCounts(), turns: turns.splice(0) });
}

process.on("message", (message: ToHost) => {
  if ("ping" in message) send({ pong: message.ping });
  else if ("files" in message) void readAll(message.files);
  else void misbehave(message.workers);
});

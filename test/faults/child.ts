import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import type { MutantName } from "./mutants.ts";

/** How `programs/mutate.ts` ends a process whose sources it could not change. */
const mutantMissed = 70;
const programs = join(import.meta.dirname, "programs");

export interface ChildOptions {
  /** A file of `programs/`: `history.ts`. */
  program: string;
  args?: readonly string[];
  cwd?: string;
  env?: Record<string, string>;
  /** Arguments of strace: what to trace, what to inject. */
  strace?: readonly string[];
  /** A command that starts the program: `faketime`, `prlimit`. */
  under?: readonly string[];
  /** Does harm to the process at these steps of its own, or at these calls of one function; see `programs/progress.ts`. */
  steps?: { at: readonly number[]; action: "kill" | "pause" | `E${string}`; only?: string };
  /** A safety mechanism that is taken out of the sources. */
  mutant?: MutantName | undefined;
  /** Longest time before the process is ended by force, milliseconds. Default 60,000. */
  deadlineMs?: number;
}

export interface Ended {
  code: number | null;
  /** True when SIGKILL ended it, other than at the deadline. */
  killed: boolean;
  /** Lines of standard output. */
  lines: string[];
  errors: string;
  /** Steps that were counted, when it ended by itself. */
  steps: number;
  /** Those of them that wrote to standard output at once: where something was acknowledged. */
  outputs: number[];
}

export interface Child {
  process: ChildProcess;
  /** The step at which it waits; undefined once it has ended. */
  paused(): Promise<number | undefined>;
  /** Lets a paused one go on. */
  resume(): void;
  /** Lines of standard output so far. */
  lines(): string[];
  /** Resolves with the first line that begins with `prefix`; rejects when the process ends without it. */
  line(prefix: string): Promise<string>;
  ended: Promise<Ended>;
}

/** Starts a program of the tests. */
export function start(options: ChildOptions): Child {
  const { program, args = [], strace, under = [], steps, mutant, deadlineMs = 60_000 } = options;
  const scratch = mkdtempSync(join(tmpdir(), "millrace-child-"));
  const countFile = join(scratch, "steps");
  const preload = (name: string): string[] => ["--import", join(programs, name)];
  const command = [
    ...(strace === undefined ? [] : ["strace", "-f", "-qq", "-o", "/dev/null", ...strace]),
    ...under,
    process.execPath,
    ...(mutant === undefined ? [] : preload("mutate.ts")),
    ...preload("progress.ts"),
    join(programs, program),
    ...args,
  ];
  const child = spawn(command[0]!, command.slice(1), {
    cwd: options.cwd,
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    env: {
      ...process.env,
      // strace counts the calls of each thread apart: with one thread for files the n-th call is the n-th.
      ...(strace === undefined ? {} : { UV_THREADPOOL_SIZE: "1" }),
      FAULTS_AT: steps?.at.join(",") ?? "",
      FAULTS_ACTION: steps?.action ?? "",
      FAULTS_ONLY: steps?.only ?? "",
      FAULTS_COUNT: countFile,
      // Half of the time of a short process is spent on the sources otherwise.
      NODE_COMPILE_CACHE: join(import.meta.dirname, "../../.cache/compile"),
      ...(mutant === undefined ? {} : { FAULTS_MUTANT: mutant }),
      ...options.env,
    },
  });
  let [output, errors] = ["", ""];
  const pauses: number[] = [];
  const watchers = new Set<() => void>();
  const notify = (): void => {
    for (const watcher of watchers) watcher();
  };
  child.stdout!.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    notify();
  });
  child.stderr!.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  const control = child.stdio[3] as Duplex;
  control.on("error", () => undefined);
  control.on("data", (chunk: Buffer) => {
    pauses.push(...chunk.toString().trim().split("\n").map(Number));
    notify();
  });
  let [over, expired] = [false, false];
  const deadline = setTimeout(() => {
    expired = true;
    child.kill("SIGCONT");
    child.kill("SIGKILL");
  }, deadlineMs);
  const lines = (): string[] => output.split("\n").slice(0, -1);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      clearTimeout(deadline);
      over = true;
      const [steps = 0, ...outputs] = readQuietly(countFile).split(",").map(Number);
      rmSync(scratch, { recursive: true, force: true });
      notify();
      if (expired) errors += `\nended by force after ${deadlineMs} ms`;
      // A mutant that was not made proves nothing, whatever the test thinks of how its process ended.
      if (mutant !== undefined && code === mutantMissed) return reject(new Error(errors));
      // `faketime` lives on, and says so.
      const killed = signal === "SIGKILL" || (code !== 0 && errors.includes("Caught Killed"));
      resolve({ code, killed: killed && !expired, lines: lines(), errors, steps, outputs });
    });
  });
  /** Resolves with the first value that is not undefined; with undefined when the process has ended. */
  const until = <T>(look: () => T | undefined): Promise<T | undefined> =>
    new Promise((resolve) => {
      const watcher = (): void => {
        const value = look();
        if (value === undefined && !over) return;
        watchers.delete(watcher);
        resolve(value);
      };
      watchers.add(watcher);
      watcher();
    });
  return {
    process: child,
    ended,
    lines,
    paused: () => until(() => pauses.shift()),
    resume: () => void control.write("x"),
    async line(prefix) {
      const found = await until(() => lines().find((line) => line.startsWith(prefix)));
      if (found === undefined) throw new Error(`the process ended without \`${prefix}\`: ${output}${errors}`);
      return found;
    },
  };
}

/** Runs a program of the tests to its end, whatever that is. */
export function finish(options: ChildOptions): Promise<Ended> {
  return start(options).ended;
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "0";
  }
}

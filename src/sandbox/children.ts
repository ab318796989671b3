import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { frame, frameHeader, readFrames, type Frame } from "./frames.ts";

/** A child and what is known of it. `stderr` holds the last words, for the error that its death becomes. */
export interface Child {
  process: ChildProcessWithoutNullStreams;
  frames: AsyncGenerator<Frame, void, undefined>;
  stderr: () => string;
  /** Resolves when the process has ended and its pipes are closed. */
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  memoryBytes: number;
  jobs: number;
}

/** Processes are started anew after this many files, so that leaks of a parser do not add up. */
const jobsPerChild = 100;
const idleMs = 5_000;

const idle = new Map<Child, NodeJS.Timeout>();

/** Source when this runs from source, JavaScript when it runs from the build. */
const childModule = new URL(import.meta.url.endsWith(".ts") ? "./child.ts" : "./child.js", import.meta.url);

let isolation: string[] | undefined;

/** `unshare` takes the network away, where this machine permits it. Asked once. */
function isolationPrefix(): string[] {
  if (isolation !== undefined) return isolation;
  isolation = [];
  for (const attempt of [["--net"], ["--user", "--map-current-user", "--net"]]) {
    const result = spawnSync("unshare", [...attempt, "true"], { stdio: "ignore", timeout: 2_000 });
    if (result.status === 0) {
      isolation = ["unshare", ...attempt, "--"];
      break;
    }
  }
  return isolation;
}

/** What Node 24 maps writably before it runs a line, measured as 575 MiB; the limit counts it though it is hardly touched. */
const baselineBytes = 768 * 1024 ** 2;

let limiter: string[] | undefined;

function limitPrefix(memoryBytes: number): string[] {
  limiter ??= ["/usr/bin/prlimit", "/bin/prlimit", "/usr/local/bin/prlimit"]
    .filter((path) => existsSync(path))
    .slice(0, 1);
  if (limiter.length === 0) return [];
  // Beyond V8's heap, buffers and decompressors need room; a core dump of somebody's data must not be left behind.
  return [...limiter, `--data=${memoryBytes + baselineBytes}`, "--core=0", "--"];
}

function start(memoryBytes: number): Child {
  const heapMegabytes = Math.max(64, Math.floor((memoryBytes * 0.6) / 1024 ** 2));
  const command = [
    ...limitPrefix(memoryBytes),
    ...isolationPrefix(),
    process.execPath,
    `--max-old-space-size=${heapMegabytes}`,
    "--disable-proto=delete",
    "--no-warnings",
    // Reading files is its task; writing them, starting processes and loading native code is not.
    "--permission",
    "--allow-fs-read=*",
    fileURLToPath(childModule),
  ];
  const child = spawn(command[0]!, command.slice(1), { stdio: "pipe", env: {}, cwd: "/" });
  let words = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    words = (words + text).slice(-4_000);
  });
  // A write to a child that has died: its exit is what tells.
  child.stdin.on("error", () => undefined);
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once("error", (error) => {
      words += error.message;
      resolve({ code: null, signal: null });
    });
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  return {
    process: child,
    frames: readFrames(child.stdout),
    stderr: () => words,
    ended,
    memoryBytes,
    jobs: 0,
  };
}

/** An idle child with that memory cap, or a new one. */
export function takeChild(memoryBytes: number): Child {
  for (const [child, timer] of idle) {
    if (child.memoryBytes !== memoryBytes || child.process.exitCode !== null || child.process.signalCode !== null)
      continue;
    clearTimeout(timer);
    idle.delete(child);
    hold(child, true);
    return child;
  }
  return start(memoryBytes);
}

export function sendJob(child: Child, module: URL, input: unknown[]): void {
  const payload = Buffer.from(JSON.stringify({ module: module.href, input }));
  child.process.stdin.write(Buffer.concat([frameHeader(frame.job, payload.length), payload]));
  child.jobs++;
}

/** Keeps a child that finished its job for the next one, without keeping this process alive for it. */
export function returnChild(child: Child): void {
  if (child.jobs >= jobsPerChild) {
    child.process.stdin.end();
    hold(child, false);
    return;
  }
  hold(child, false);
  idle.set(
    child,
    setTimeout(() => {
      idle.delete(child);
      // The end of its input ends it; so does the death of this process.
      child.process.stdin.end();
    }, idleMs).unref(),
  );
}

export function killChild(child: Child): void {
  child.process.kill("SIGKILL");
}

function hold(child: Child, keepsAlive: boolean): void {
  const change = keepsAlive ? "ref" : "unref";
  child.process[change]();
  for (const stream of [child.process.stdin, child.process.stdout, child.process.stderr]) {
    // Pipes of a child are sockets; the type does not say so.
    (stream as unknown as { ref?: () => void; unref?: () => void })[change]?.();
  }
}

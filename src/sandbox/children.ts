import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { frame, frameHeader, readFrames, type Frame } from "./frames.ts";
import { childCommand } from "./isolation.ts";

/** What a child may do and have. */
export interface ChildKind {
  memoryBytes: number;
  /** The folder that it may read, besides our code. */
  readable: string | undefined;
  /** It may load native code. */
  native: boolean;
  /** It may start programs. */
  programs: boolean;
}

/** A child and what is known of it. */
export interface Child {
  process: ChildProcessWithoutNullStreams;
  frames: AsyncGenerator<Frame, void, undefined>;
  /** Its last words, for the error that its death becomes. */
  stderr: () => string;
  /** Resolves when the process has ended and its pipes are closed. */
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  kind: ChildKind;
  /** False until it has started. */
  isReady: boolean;
  /** Jobs it was given. */
  jobs: number;
}

/** Folders of children that have not ended yet. One that was killed does not remove its own. */
const folders = new Set<string>();

const removeAll = (): void => folders.forEach(removeFolder);

function removeFolder(folder: string): void {
  folders.delete(folder);
  rmSync(folder, { recursive: true, force: true });
}

/** A new child. Its environment is empty, and it works in a folder of its own, the only one it may write to. */
export function startChild(kind: ChildKind): Child {
  const own = mkdtempSync(join(tmpdir(), "millrace-sandbox-"));
  if (folders.size === 0) process.once("exit", removeAll);
  folders.add(own);
  const command = childCommand(kind, own);
  const child = spawn(command[0]!, command.slice(1), {
    stdio: "pipe",
    env: {},
    cwd: own,
    // The leader of a group: who kills it kills the programs that it started.
    detached: kind.programs,
  });
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
  // A child whose parent has died removes its folder itself.
  void ended.then(() => {
    if (kind.programs) killGroup(child.pid);
    removeFolder(own);
    if (folders.size === 0) process.off("exit", removeAll);
  });
  return {
    process: child,
    frames: readFrames(child.stdout),
    stderr: () => words,
    ended,
    kind,
    isReady: false,
    jobs: 0,
  };
}

export function sendJob(child: Child, module: URL, input: unknown[]): void {
  const payload = Buffer.from(JSON.stringify({ module: module.href, input }));
  child.process.stdin.write(Buffer.concat([frameHeader(frame.job, payload.length), payload]));
  child.jobs++;
}

/** The end of its input ends a child; so does the death of this process. */
export function dismissChild(child: Child): void {
  child.process.stdin.end();
}

/** The programs that a child has started, also when it has ended itself. */
function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // There are none.
  }
}

export function killChild(child: Child): void {
  child.process.kill("SIGKILL");
  if (child.kind.programs) killGroup(child.process.pid);
}

export function isAlive(child: Child): boolean {
  return child.process.exitCode === null && child.process.signalCode === null;
}

/** Whether an idle child keeps this process from ending. */
export function holdChild(child: Child, keepsAlive: boolean): void {
  const change = keepsAlive ? "ref" : "unref";
  child.process[change]();
  for (const stream of [child.process.stdin, child.process.stdout, child.process.stderr]) {
    // Pipes of a child are sockets; the type does not say so.
    (stream as unknown as { ref?: () => void; unref?: () => void })[change]?.();
  }
}

/**
 * Preloaded into a process of the tests: counts the steps in which it touches the world outside (calls that change files, chunks
 * that come from sockets) and does harm at chosen ones. A step is counted before it is taken.
 *
 *     FAULTS_AT=12,40      the steps
 *     FAULTS_ACTION=kill   SIGKILL to itself
 *                  pause   writes the number to descriptor 3 and waits for a byte from it
 *                  EIO     the call fails with this error, or any other that begins with E, instead of being made
 *     FAULTS_ONLY=fsync    counts calls of this function only; `sync` is that of an open file of `node:fs/promises`
 *     FAULTS_COUNT=<file>  where the number of steps is written at the end, and which of them were writes to standard output
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";

const at = new Set((process.env["FAULTS_AT"] ?? "").split(",").filter(Boolean).map(Number));
const action = process.env["FAULTS_ACTION"] ?? "";
const only = process.env["FAULTS_ONLY"] ?? "";
const countFile = process.env["FAULTS_COUNT"];
const { openSync, writeSync, readSync, closeSync } = fs;
const outputs: number[] = [];
let steps = 0;

/** Counts a step; the error that the call is to fail with, when this is its turn. */
function step(name: string): Error | undefined {
  if (only !== "" && only !== name) return undefined;
  steps++;
  if (!at.has(steps)) return undefined;
  if (action.startsWith("E")) {
    const syscall = name.replace("Sync", "");
    return Object.assign(new Error(`${action}: made up by the tests, ${syscall}`), {
      code: action,
      syscall,
      errno: -1,
    });
  }
  if (action === "kill") process.kill(process.pid, "SIGKILL");
  writeSync(3, `${steps}\n`);
  readSync(3, Buffer.alloc(1));
  return undefined;
}

type Callable = (...args: unknown[]) => unknown;
function count(
  holder: object,
  names: readonly string[],
  fail: (error: Error, args: readonly unknown[]) => unknown = (error) => {
    throw error;
  },
): void {
  const functions = holder as Record<string, Callable>;
  for (const name of names) {
    const original = functions[name]!;
    functions[name] = function (this: unknown, ...args: unknown[]) {
      // What Node opens to load the program is not the program's doing.
      if (name === "writeSync" && args[0] === 1) outputs.push(steps + 1);
      const error = /\.(?:[cm]?[jt]s|node)$/.test(String(args[0])) ? undefined : step(name);
      return error === undefined ? original.apply(this, args) : fail(error, args);
    };
  }
}

count(fs, ["closeSync", "linkSync", "mkdirSync", "openSync", "renameSync", "rmSync", "unlinkSync", "writeSync"]);
count(fs, ["fsync"], (error, args) => setImmediate(args.at(-1) as (error: Error) => void, error));
count(fs.promises, ["copyFile", "mkdir", "readdir", "rename", "rm", "writeFile"], (error) => Promise.reject(error));
const handle = await fs.promises.open(process.execPath);
count(Object.getPrototypeOf(handle) as object, ["sync"], (error) => Promise.reject(error));
await handle.close();
count(net.Socket.prototype, ["push"]);
syncBuiltinESMExports();

if (countFile !== undefined) {
  process.on("exit", () => {
    const descriptor = openSync(countFile, "w");
    writeSync(descriptor, [steps, ...outputs].join(","));
    closeSync(descriptor);
  });
}

/**
 * Preloaded into a process of the tests: counts the steps in which it touches the world outside (calls that change files, chunks
 * that come from sockets) and ends or stops the process at chosen ones. A step is counted before it is taken.
 *
 *     FAULTS_AT=12,40      the steps
 *     FAULTS_ACTION=kill   SIGKILL to itself; `pause`: writes the number to descriptor 3 and waits for a byte from it
 *     FAULTS_COUNT=<file>  where the number of steps is written at the end
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";

const at = new Set((process.env["FAULTS_AT"] ?? "").split(",").filter(Boolean).map(Number));
const action = process.env["FAULTS_ACTION"];
const countFile = process.env["FAULTS_COUNT"];
const { openSync, writeSync, readSync, closeSync } = fs;
let steps = 0;

function step(): void {
  steps++;
  if (!at.has(steps)) return;
  if (action === "kill") process.kill(process.pid, "SIGKILL");
  writeSync(3, `${steps}\n`);
  readSync(3, Buffer.alloc(1));
}

type Callable = (...args: unknown[]) => unknown;
function count(holder: object, names: readonly string[]): void {
  const functions = holder as Record<string, Callable>;
  for (const name of names) {
    const original = functions[name]!;
    functions[name] = function (this: unknown, ...args: unknown[]) {
      step();
      return original.apply(this, args);
    };
  }
}

count(fs, [
  "closeSync",
  "fsync",
  "linkSync",
  "mkdirSync",
  "openSync",
  "renameSync",
  "rmSync",
  "unlinkSync",
  "writeSync",
]);
count(fs.promises, ["copyFile", "mkdir", "readdir", "rename", "rm", "writeFile"]);
count(net.Socket.prototype, ["push"]);
syncBuiltinESMExports();

if (countFile !== undefined) {
  process.on("exit", () => {
    const descriptor = openSync(countFile, "w");
    writeSync(descriptor, String(steps));
    closeSync(descriptor);
  });
}

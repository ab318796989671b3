import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";

/** Node itself, before it holds a byte of a file. */
const baselineBytes = 128 * 1024 ** 2;
const pageBytes = 4096;
const intervalMs = 200;

/** Bytes of a process that are in memory, or undefined when it is gone or nobody can tell. */
export async function residentBytes(pid: number): Promise<number | undefined> {
  if (process.platform === "linux") {
    try {
      // proc(5): size, resident, shared … in pages.
      return Number((await readFile(`/proc/${pid}/statm`, "latin1")).split(" ")[1]) * pageBytes;
    } catch {
      return undefined;
    }
  }
  return new Promise((resolve) => {
    execFile("ps", ["-o", "rss=", "-p", String(pid)], { timeout: 2_000 }, (error, stdout) => {
      const kilobytes = Number(stdout.trim());
      resolve(error !== null || !Number.isFinite(kilobytes) || kilobytes === 0 ? undefined : kilobytes * 1024);
    });
  });
}

/** Calls `exceeded` once a process holds more than its cap: what stands in for the kernel's limit where there is none. */
export function watchMemory(pid: number, memoryBytes: number, exceeded: () => void): () => void {
  let asking = false;
  const timer = setInterval(() => {
    if (asking) return;
    asking = true;
    void residentBytes(pid).then((bytes) => {
      asking = false;
      if (bytes === undefined || bytes <= memoryBytes + baselineBytes) return;
      clearInterval(timer);
      exceeded();
    });
  }, intervalMs).unref();
  return () => clearInterval(timer);
}

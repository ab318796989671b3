import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readlink, rm, stat } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { systemCode, type Store } from "../core/index.ts";

/** Removes what processes that no longer live left behind, and makes a folder of this process's own. */
export async function openScratch(store: Store, cacheFolder: string): Promise<string> {
  const elsewhere = join(tmpdir(), "millrace-scratch");
  // Beside the read cache, so that what is staged can be linked into it.
  if (!store.local) return makeScratch(join(cacheFolder, "scratch"));
  try {
    return await makeScratch(store.local(".scratch"));
  } catch (error) {
    // A lake that is read-only or full can still be read; a run will say what is wrong with it.
    if (!["EROFS", "EACCES", "EPERM", "ENOSPC", "EDQUOT"].includes(systemCode(error) ?? "")) throw error;
    return makeScratch(elsewhere);
  }
}

/** Folders of other machines, whose processes cannot be looked for, are left alone for so long. */
const foreignMs = 30 * 24 * 3600 * 1000;

/** Makes a folder of this process's own in `parent`, and removes those of processes that no longer live. */
export async function makeScratch(parent: string): Promise<string> {
  await mkdir(parent, { recursive: true });
  const here = await machine();
  for (const name of await readdir(parent)) {
    const [pid, , where] = name.split("-");
    if (!/^[1-9]\d*$/.test(pid!) || Number(pid) === process.pid) continue;
    const path = join(parent, name);
    const isStale =
      where === undefined || where === here
        ? !isAlive(Number(pid))
        : Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? Date.now()) > foreignMs;
    if (isStale) await rm(path, { recursive: true, force: true });
  }
  const folder = join(parent, `${process.pid}-${randomBytes(6).toString("hex")}-${here}`);
  await mkdir(folder);
  return folder;
}

/** Tells machines and containers that share a folder apart: the same number means another process on each. */
async function machine(): Promise<string> {
  const numbers = await readlink("/proc/self/ns/pid").catch(() => "");
  return createHash("sha256").update(`${hostname()}\n${numbers}`).digest("hex").slice(0, 12);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

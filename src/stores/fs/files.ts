import {
  closeSync,
  constants,
  fstatSync,
  fsync,
  mkdirSync,
  openSync,
  readSync,
  realpathSync,
  lstatSync,
  type Stats,
  writeSync,
} from "node:fs";
import { dirname, join, sep } from "node:path";
import { promisify } from "node:util";
import { MillraceError, systemCode } from "../../core/index.ts";

/*
 * Calls that touch only what the system holds in memory (open, link, rename, unlink, a write of a few pages) take microseconds;
 * handing each to the thread pool takes ten times as long, and a commit is made of forty of them. So they are made at once, and
 * only what waits for the device, fsync and long reads and writes, is awaited.
 */

const fsyncLater = promisify(fsync);

/** Bytes that are read or written at once. */
export const smallBytes = 256 * 1024;

/**
 * Throws `permission` when the folder of `file`, links resolved, is outside of `top`, the resolved name of the root.
 * An absent folder is fine: what is missing is made by us, below the deepest folder that exists.
 */
export function assertInside(root: string, top: string, file: string): void {
  const folder = deepestRealPath(root, dirname(file));
  if (folder === top || folder.startsWith(top.endsWith(sep) ? top : top + sep)) return;
  throw new MillraceError("permission", `\`${file}\` leads out of the store through a symbolic link`, {
    hint: "replace the link by a folder, or point the store to where it leads",
    where: { file },
  });
}

function deepestRealPath(root: string, folder: string): string {
  for (let current = folder; ; current = dirname(current)) {
    try {
      return realpathSync.native(current);
    } catch (error) {
      if (systemCode(error) !== "ENOENT" || current === root || current === dirname(current)) throw error;
      // A dangling link is not "absent": making folders below it would follow it.
      if (lstatSync(current, { throwIfNoEntry: false })?.isSymbolicLink()) return join(sep, "dangling link");
    }
  }
}

const folderAttempts = 10;

/** Runs `action`; when the folder is absent, makes it durably and runs `action` again. */
export async function makingFolder<T>(folder: string, action: () => T): Promise<T> {
  // Who removes the last file of a folder removes the folder: it may go again before there is something in it.
  for (let attempt = 1; ; attempt++) {
    try {
      return action();
    } catch (error) {
      if (systemCode(error) !== "ENOENT" || attempt === folderAttempts) throw error;
    }
    try {
      for (const made of makeFolders(folder)) await syncFolder(dirname(made));
    } catch (error) {
      if (systemCode(error) !== "ENOENT" || attempt === folderAttempts) throw error;
    }
  }
}

/**
 * Makes the folder and those above it; gives the ones that were made, the deepest first, and the one above them, which another
 * writer may have made a moment ago without having synced it yet. Not with Node's `recursive`: on a file system that answers
 * ENOENT where nothing can be made (`/proc`, a dead automount) that tries for ever.
 */
function makeFolders(folder: string): string[] {
  const missing: string[] = [];
  for (let current = folder; !makeFolder(current); current = dirname(current)) missing.push(current);
  const made = missing.length === 0 ? [folder] : [dirname(missing.at(-1)!)];
  for (const current of missing.toReversed()) {
    if (!makeFolder(current)) throw new MillraceError("not-found", `the folder \`${current}\` cannot be made`);
    made.unshift(current);
  }
  return made;
}

/** False when the folder above is absent; true when it is there now, whoever made it. */
function makeFolder(folder: string): boolean {
  try {
    mkdirSync(folder);
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return true;
    if (systemCode(error) === "ENOENT" && folder !== dirname(folder)) return false;
    throw error;
  }
}

/** Writes all bytes; `durable` waits until they are on the device. */
export async function writeAll(descriptor: number, bytes: Uint8Array, durable: boolean): Promise<Stats> {
  for (let done = 0; done < bytes.length;) {
    done += writeSync(descriptor, bytes, done, Math.min(bytes.length - done, smallBytes));
    if (done < bytes.length) await new Promise((resolve) => setImmediate(resolve));
  }
  if (durable) await fsyncLater(descriptor);
  return fstatSync(descriptor);
}

export async function syncFolder(folder: string): Promise<void> {
  const descriptor = openSync(folder, constants.O_RDONLY);
  try {
    await fsyncLater(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

export async function syncFile(file: string): Promise<Stats> {
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await fsyncLater(descriptor);
    return fstatSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The whole of a small file. */
export function readSmall(descriptor: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let done = 0; done < size;) {
    const count = readSync(descriptor, bytes, done, size - done, done);
    if (count === 0)
      throw new MillraceError("corrupt", `a file became shorter than its ${size} bytes while it was read`);
    done += count;
  }
  return bytes;
}

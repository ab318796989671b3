import { type Dirent, lstatSync, type Stats } from "node:fs";
import { lstat, readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { type Entry, type LeftOut, systemCode } from "../../core/index.ts";
import { fileError, temporaryFolder } from "./paths.ts";

/** Temporary files older than this belong to no living writer. */
const staleTemporaryMs = 24 * 3600 * 1000;

export function entryOf(path: string, stats: Stats): Entry {
  return { path, size: stats.size, modified: stats.mtimeMs };
}

/** Files below a folder; of links and of names that are no path of a store `leftOut` is told. What vanishes while we look is nothing. */
export async function* walk(root: string, prefix: string, leftOut?: (object: LeftOut) => void): AsyncGenerator<Entry> {
  let entries;
  try {
    entries = await readdir(join(root, prefix), { withFileTypes: true });
  } catch (error) {
    if (systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR") return;
    throw fileError(error, prefix === "" ? root : prefix, "list");
  }
  for (const entry of entries) {
    if (prefix === "" && entry.name === temporaryFolder) continue;
    const path = prefix === "" ? entry.name : `${prefix}/${entry.name}`;
    const why = whyLeftOut(entry, path, join(root, path));
    if (entry.isDirectory() && why !== mangled) {
      yield* walk(root, path, leftOut);
      continue;
    }
    const stats = lstatSync(join(root, path), { throwIfNoEntry: false });
    if (why !== undefined) leftOut?.({ name: path, size: stats?.size ?? 0, modified: stats?.mtimeMs ?? 0, why });
    else if (stats !== undefined) yield entryOf(path, stats);
  }
}

const mangled = "has a name that is not written in UTF-8";

function whyLeftOut(entry: Dirent, path: string, file: string): string | undefined {
  // What stands for bytes that are no text leads to nothing.
  const isMangled = entry.name.includes("\ufffd") && lstatSync(file, { throwIfNoEntry: false }) === undefined;
  if (isMangled) return mangled;
  if (path.includes("\\")) return "has a backslash in its name, which no path of a store may have";
  if (entry.isSymbolicLink()) return "is a symbolic link, which a store does not follow";
  return entry.isFile() || entry.isDirectory() ? undefined : "is neither a file nor a folder";
}

/** Removes what killed writers left in the folder for temporary files. */
export async function removeStale(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    const file = join(folder, name);
    const stats = await lstat(file).catch(() => undefined);
    if (stats && Date.now() - stats.mtimeMs > staleTemporaryMs) await rm(file, { force: true });
  }
  await rmdir(folder).catch(() => undefined);
}

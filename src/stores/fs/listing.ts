import { lstatSync, type Stats } from "node:fs";
import { lstat, readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { type Entry, systemCode } from "../../core/index.ts";
import { fileError, temporaryFolder } from "./paths.ts";

/** Temporary files older than this belong to no living writer. */
const staleTemporaryMs = 24 * 3600 * 1000;

export function entryOf(path: string, stats: Stats): Entry {
  return { path, size: stats.size, modified: stats.mtimeMs };
}

/** Files below a folder, links left out. What vanishes while we look is left out too. */
export async function* walk(root: string, prefix: string): AsyncGenerator<Entry> {
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
    if (entry.isDirectory()) {
      yield* walk(root, path);
    } else if (entry.isFile()) {
      const stats = lstatSync(join(root, path), { throwIfNoEntry: false });
      if (stats) yield entryOf(path, stats);
    }
  }
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

import { createHash } from "node:crypto";
import { mkdir, open, rename, rm, stat, utimes } from "node:fs/promises";
import { join, matchesGlob } from "node:path";
import { MillraceError, isMillraceError, systemCode, throwIfAborted, type Store } from "../../core/index.ts";
import type { Found } from "./list.ts";
import { globBase, globCharacters, makeScratch } from "./scratch.ts";

/** An object of a store as the listing found it; `path` is where its copy lies once it was fetched. */
export type FoundObject = Found & { object: string };

/** The objects of a store as files: listed there, copied here before they are read. */
export interface Objects {
  /** Reaches the store and lists something of it. */
  check(): Promise<void>;
  /** Objects of names, folders and globs, each once, by name. Throws `not-found` for one without a match. */
  list(patterns: readonly string[], signal?: AbortSignal): Promise<FoundObject[]>;
  /** Where the copy of an object lies. The name says nothing of the object: keys may hold what no file system takes. */
  pathOf(object: string): string;
  /** Throws `conflict` when the object is no longer what the listing said, `not-found` when it is gone. */
  fetch(file: Pick<FoundObject, "object" | "size" | "modified">, signal?: AbortSignal): Promise<void>;
}

const chunkBytes = 8 << 20;

export function openObjects(store: Store, scratch: string, connection: string): Objects {
  const folder = join(scratch, "objects");
  const pathOf = (object: string): string =>
    join(folder, createHash("sha256").update(object).digest("hex").slice(0, 40));

  return {
    async check() {
      await store.list("")[Symbol.asyncIterator]().next();
    },
    pathOf,
    async list(patterns, signal) {
      const found = new Map<string, FoundObject>();
      for (const pattern of patterns) {
        const before = found.size;
        const isGlob = globCharacters.test(pattern);
        const base = isGlob ? globBase(pattern) : pattern;
        const prefix = base === "." ? "" : base.replace(/\/+$/, "");
        // A listing is of a folder: what is named exactly lies in the one above.
        const above = isGlob ? prefix : prefix.split("/").slice(0, -1).join("/");
        for await (const { path, size, modified } of store.list(above)) {
          throwIfAborted(signal);
          if (isHidden(path, prefix)) continue;
          const wanted = isGlob
            ? path === pattern || matchesGlob(path, pattern)
            : prefix === "" || path === prefix || path.startsWith(`${prefix}/`);
          if (!wanted || found.has(path)) continue;
          found.set(path, { object: path, path: pathOf(path), name: path, size, modified: Math.trunc(modified) });
        }
        if (found.size === before && pattern !== "") {
          throw new MillraceError("not-found", `no object of \`${store.url}\` matches \`${pattern}\``, {
            where: { connection, file: pattern },
            hint: `\`millrace discover ${connection}\` shows what there is`,
          });
        }
      }
      return [...found.values()].sort((left, right) => (left.name < right.name ? -1 : left.name > right.name ? 1 : 0));
    },
    async fetch({ object, size, modified }, signal) {
      const path = pathOf(object);
      const here = await stat(path).catch(() => undefined);
      if (here?.size === size && Math.trunc(here.mtimeMs) === modified) return;
      makeScratch(scratch);
      await mkdir(folder, { recursive: true });
      const partial = `${path}.partial`;
      const output = await open(partial, "w");
      try {
        await using source = await openObject(store, object);
        if (source.size !== size) {
          throw new MillraceError(
            "conflict",
            `\`${object}\` has changed since it was listed (${size} bytes then, ${source.size} now)`,
            { where: { connection, file: object }, hint: "run again, once nobody writes to the object" },
          );
        }
        for (let offset = 0; offset < size; offset += chunkBytes) {
          throwIfAborted(signal);
          await output.writeFile(await source.read(offset, Math.min(chunkBytes, size - offset), signal));
        }
        await output.close();
        await utimes(partial, new Date(modified), new Date(modified));
        await rename(partial, path);
      } catch (error) {
        await output.close().catch(() => undefined);
        await rm(partial, { force: true });
        if (systemCode(error) === "ENOSPC") {
          throw new MillraceError("full", `there is no space for a copy of \`${object}\` (${size} bytes)`, {
            cause: error,
            where: { connection, file: object },
            hint: "free space on the disk of the read cache, or set `cache.path` to a larger one",
          });
        }
        throw error;
      }
    },
  };
}

async function openObject(store: Store, object: string): ReturnType<Store["open"]> {
  try {
    return await store.open(object);
  } catch (error) {
    if (!isMillraceError(error) || error.code !== "not-found") throw error;
    throw new MillraceError("not-found", `\`${object}\` was there when the run was planned and is gone now`, {
      where: { file: object },
      cause: error,
    });
  }
}

/** As in folders: what begins with `.` or `_` below the named part is a temporary file or a marker of another tool. */
function isHidden(path: string, prefix: string): boolean {
  const rest = path === prefix ? "" : path.slice(prefix === "" ? 0 : prefix.length);
  return rest.endsWith("/") || rest.split("/").some((segment) => segment.startsWith(".") || segment.startsWith("_"));
}

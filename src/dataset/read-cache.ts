import { AsyncLocalStorage } from "node:async_hooks";
import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { link, mkdir, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import {
  MillraceError,
  asMillraceError,
  forEachLimited,
  systemCode,
  type Entry,
  type KnownFile,
  type Store,
} from "../core/index.ts";
import { asCacheError, checksumOf, download, isWhole, keepLink } from "./read-cache-files.ts";

export interface ReadCacheOptions {
  /** Folder that processes share; copies of objects lie in it by name of store and path. */
  folder: string;
  /** Folder of this process on the same file system: what it uses is linked here, and goes with it. */
  use: string;
  /** Bytes that all copies together may take. What somebody uses is never taken away. */
  maxBytes: number;
  /** Told once of each copy that was damaged and is read again. */
  onDamaged?: (path: string) => void;
}

const downloads = 4;

/**
 * A store whose objects can be had as local files: `fetch` copies what is not there yet, `copy` names the file. A copy is held to size and
 * SHA-256 when it is made and when a process first uses it: that which the dataset records, else that which was found when it was made.
 * Processes need no locks: a copy appears complete by `rename`, and what is in use has a second link, which keeps its bytes whoever takes
 * the first away.
 */
export function withReadCache(store: Store, options: ReadCacheOptions): Store {
  const { folder, use } = options;
  const nameOf = (path: string, identity?: string): string => {
    const named = identity === undefined ? `${store.url}\n${path}` : `${store.url}\n${path}\n${identity}`;
    return createHash("sha256").update(named).digest("hex").slice(0, 40);
  };
  const shared = (name: string): string => join(folder, name);
  // The engine tells formats by the ends of names here and there.
  const own = (name: string): string => join(use, `${name}.parquet`);
  const fetching = new Map<string, Promise<void>>();
  const ready = new Set<string>();
  /** How many need each copy. One that nobody needs loses the name that this process has for it. */
  const holders = new Map<string, number>();
  const scopes = new AsyncLocalStorage<Set<string>>();
  const untilClosed = new Set<string>();
  /** The file and the time of it when this process held its bytes to their checksum. */
  const verified = new Map<string, string>();

  const take = (name: string): void => void holders.set(name, (holders.get(name) ?? 0) + 1);
  const give = (name: string): void => {
    const left = holders.get(name)! - 1;
    if (left > 0) return void holders.set(name, left);
    holders.delete(name);
    ready.delete(name);
    // At once, so that nobody who fetches it anew comes between.
    rmSync(own(name), { force: true });
  };
  const takeForScope = (name: string): void => {
    const scope = scopes.getStore() ?? untilClosed;
    if (scope.has(name)) return;
    scope.add(name);
    take(name);
  };

  const fetchOne = async (file: KnownFile, name: string, signal?: AbortSignal): Promise<void> => {
    await mkdir(use, { recursive: true });
    await mkdir(folder, { recursive: true });
    for (let attempt = 0; ; attempt++) {
      try {
        await link(shared(name), own(name));
      } catch (error) {
        const code = systemCode(error);
        if (code !== "ENOENT" && code !== "EEXIST") throw asCacheError(error, folder);
        if (code === "ENOENT") {
          await download(store, file, shared(name), own(name), options.maxBytes, signal).catch((problem: unknown) => {
            throw asCacheError(problem, folder);
          });
          break;
        }
      }
      const whole = verified.get(name) === (await stampOf(own(name))) || (await isWhole(own(name), file, shared(name)));
      if (whole === true) break;
      await rm(own(name), { force: true });
      await rm(shared(name), { force: true });
      if (attempt > 2) {
        throw new MillraceError("corrupt", `the object \`${file.path}\` is not what the dataset says`, {
          where: { file: file.path },
          hint: "millrace verify <dataset> --deep tells which versions are affected",
        });
      }
      if (whole === false) options.onDamaged?.(file.path);
    }
    const now = new Date();
    await utimes(own(name), now, now);
    verified.set(name, await stampOf(own(name)));
    ready.add(name);
  };

  const fetchAll = async (files: ReadonlyMap<string, KnownFile>, signal?: AbortSignal): Promise<void> => {
    const missing = [...files].filter(([name]) => !ready.has(name));
    await forEachLimited(missing, downloads, async ([name, file]) => {
      const running = fetching.get(name) ?? fetchOne(file, name, signal);
      fetching.set(name, running);
      try {
        await running;
      } catch (error) {
        throw asMillraceError(error, { file: file.path });
      } finally {
        fetching.delete(name);
      }
    });
  };
  const named = (files: readonly KnownFile[]): Map<string, KnownFile> =>
    new Map(files.map((file) => [nameOf(file.path, file.identity), file]));

  return {
    ...bound(store),
    copy: (path, identity) => own(nameOf(path, identity)),
    async fetch(files, signal) {
      const wanted = named(files);
      for (const name of wanted.keys()) takeForScope(name);
      await fetchAll(wanted, signal);
    },
    async hold(files, signal) {
      const wanted = named(files);
      for (const name of wanted.keys()) take(name);
      let held = true;
      const release = async (): Promise<void> => {
        if (held) for (const name of wanted.keys()) give(name);
        held = false;
      };
      try {
        await fetchAll(wanted, signal);
        return release;
      } catch (error) {
        await release();
        throw error;
      }
    },
    async during(action) {
      const scope = new Set<string>();
      try {
        return await scopes.run(scope, action);
      } finally {
        for (const name of scope) give(name);
      }
    },
    /** What this process has just written it will read: it keeps a link before the file goes. */
    async adopt(file, path): Promise<Entry> {
      const name = nameOf(path);
      const size = (await stat(file)).size;
      const kept = await keepLink(file, shared(name), own(name), folder, use, size, options.maxBytes);
      try {
        const entry = await store.adopt(file, path);
        if (kept) {
          takeForScope(name);
          ready.add(name);
          verified.set(name, await stampOf(own(name)));
        }
        return entry;
      } catch (error) {
        if (kept) await forget(path);
        throw error;
      }
    },
    /** The copy goes first: of what is removed once nobody would know it. Then again, if somebody has fetched it meanwhile. */
    async remove(path) {
      await forget(path);
      await store.remove(path);
      await forget(path);
    },
  };

  async function forget(path: string): Promise<void> {
    const name = nameOf(path);
    ready.delete(name);
    await rm(own(name), { force: true });
    await rm(shared(name), { force: true });
    await rm(checksumOf(shared(name)), { force: true });
  }
}

async function stampOf(path: string): Promise<string> {
  const { ino, size, mtimeMs } = await stat(path);
  return `${ino} ${size} ${mtimeMs}`;
}

/** The methods as they are: a store may be an object with methods that use `this`. */
function bound(store: Store): Store {
  return {
    url: store.url,
    check: (signal) => store.check(signal),
    open: (path) => store.open(path),
    read: (path) => store.read(path),
    write: (path, bytes, options) => store.write(path, bytes, options),
    adopt: (file, path) => store.adopt(file, path),
    list: (prefix, leftOut) => store.list(prefix, leftOut),
    ...(store.folders ? { folders: () => store.folders!() } : {}),
    remove: (path) => store.remove(path),
    uri: (path) => store.uri(path),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

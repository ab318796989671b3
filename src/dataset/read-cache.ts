import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { link, mkdir, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import {
  MillraceError,
  asMillraceError,
  forEachLimited,
  systemCode,
  type Entry,
  type Store,
  type KnownFile,
} from "../core/index.ts";

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

const chunkBytes = 8 << 20;
const downloads = 4;

/**
 * A store whose objects can be had as local files: `fetch` copies what is not there yet, `copy` names the file. A copy is held to size and
 * SHA-256 when it is made and when a process first uses it. Processes need no locks: a copy appears complete by `rename`, and what is in
 * use has a second link, which keeps its bytes whoever takes the first away.
 */
export function withReadCache(store: Store, options: ReadCacheOptions): Store {
  const { folder, use } = options;
  const nameOf = (path: string): string =>
    createHash("sha256").update(`${store.url}\n${path}`).digest("hex").slice(0, 40);
  const shared = (path: string): string => join(folder, nameOf(path));
  // The engine tells formats by the ends of names here and there.
  const own = (path: string): string => join(use, `${nameOf(path)}.parquet`);
  const fetching = new Map<string, Promise<void>>();
  const ready = new Set<string>();
  const needed = new Set<string>();

  const fetchOne = async (file: KnownFile, signal?: AbortSignal): Promise<void> => {
    await mkdir(use, { recursive: true });
    await mkdir(folder, { recursive: true });
    let downloaded = false;
    for (let attempt = 0; ; attempt++) {
      try {
        await link(shared(file.path), own(file.path));
      } catch (error) {
        if (systemCode(error) !== "ENOENT" && systemCode(error) !== "EEXIST") throw error;
        if (systemCode(error) === "ENOENT") {
          await makeRoom(folder, file.bytes ?? 0, options.maxBytes);
          await download(store, file, shared(file.path), signal);
          downloaded = true;
          continue;
        }
      }
      if (downloaded || (await isWhole(own(file.path), file))) break;
      await rm(own(file.path), { force: true });
      await rm(shared(file.path), { force: true });
      if (attempt > 2) {
        throw new MillraceError("corrupt", `the object \`${file.path}\` is not what the dataset says`, {
          where: { file: file.path },
          hint: "millrace verify <dataset> --deep tells which versions are affected",
        });
      }
      options.onDamaged?.(file.path);
    }
    const now = new Date();
    await utimes(own(file.path), now, now);
    ready.add(file.path);
  };

  return {
    ...bound(store),
    copy: own,
    async fetch(files, signal) {
      const missing = files.filter((file) => !ready.has(file.path));
      for (const file of missing) needed.add(file.path);
      await forEachLimited(missing, downloads, async (file) => {
        const running = fetching.get(file.path) ?? fetchOne(file, signal);
        fetching.set(file.path, running);
        try {
          await running;
        } catch (error) {
          throw asMillraceError(error, { file: file.path });
        } finally {
          fetching.delete(file.path);
        }
      });
    },
    /** What this process has just written it will read: it keeps a link before the file goes. */
    async adopt(file, path): Promise<Entry> {
      const size = (await stat(file)).size;
      const kept = await keepLink(file, shared(path), own(path), folder, use, size, options.maxBytes);
      try {
        const entry = await store.adopt(file, path);
        if (kept) ready.add(path);
        return entry;
      } catch (error) {
        if (kept) await forget(path);
        throw error;
      }
    },
    async remove(path) {
      await store.remove(path);
      await forget(path);
    },
  };

  async function forget(path: string): Promise<void> {
    ready.delete(path);
    await rm(own(path), { force: true });
    await rm(shared(path), { force: true });
  }
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
    list: (prefix) => store.list(prefix),
    ...(store.folders ? { folders: () => store.folders!() } : {}),
    remove: (path) => store.remove(path),
    uri: (path) => store.uri(path),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

/** Never fails the write for the sake of the cache. */
async function keepLink(
  file: string,
  shared: string,
  own: string,
  folder: string,
  use: string,
  size: number,
  maxBytes: number,
): Promise<boolean> {
  try {
    await mkdir(folder, { recursive: true });
    await mkdir(use, { recursive: true });
    await makeRoom(folder, size, maxBytes);
    await link(file, own);
    await link(file, shared).catch(() => undefined);
    return true;
  } catch {
    return false;
  }
}

async function isWhole(path: string, file: KnownFile): Promise<boolean> {
  const { size } = await stat(path);
  if (file.bytes !== undefined && size !== file.bytes) return false;
  if (file.sha256 === undefined) return true;
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest("hex") === file.sha256;
}

/** Throws `corrupt` when the object itself is not what the dataset says. */
async function download(store: Store, file: KnownFile, target: string, signal?: AbortSignal): Promise<void> {
  await using object = await store.open(file.path);
  const wrong = (what: string): MillraceError =>
    new MillraceError("corrupt", `the object \`${file.path}\` ${what}`, {
      where: { file: file.path },
      hint: "millrace verify <dataset> --deep tells which versions are affected",
    });
  if (file.bytes !== undefined && object.size !== file.bytes) {
    throw wrong(`has ${object.size} bytes, and the dataset says ${file.bytes}`);
  }
  const partial = `${target}.${process.pid}-${randomUUID().slice(0, 8)}.partial`;
  const hash = createHash("sha256");
  const output = await open(partial, "wx");
  try {
    const read = (offset: number): Promise<Uint8Array> | undefined =>
      offset < object.size ? object.read(offset, Math.min(chunkBytes, object.size - offset), signal) : undefined;
    let next = read(0);
    for (let offset = 0; next !== undefined;) {
      const chunk = await next;
      offset += chunk.byteLength;
      next = read(offset);
      // What was begun must not end the process while this one is written.
      next?.catch(() => undefined);
      hash.update(chunk);
      await output.writeFile(chunk);
    }
    await output.close();
    if (file.sha256 !== undefined && hash.digest("hex") !== file.sha256)
      throw wrong("has another SHA-256 than the dataset says");
    await rename(partial, target);
  } catch (error) {
    await output.close().catch(() => undefined);
    await rm(partial, { force: true });
    if (systemCode(error) === "ENOSPC") {
      throw new MillraceError("full", `the read cache cannot hold \`${file.path}\`: no space left`, {
        cause: error,
        hint: "free space, or set `cache.path` to a larger disk",
      });
    }
    throw error;
  }
}

const abandonedMs = 60 * 60_000;

/** Takes away copies that nobody uses, those used longest ago first, until there is room. Throws `limit` when what is in use leaves none. */
async function makeRoom(folder: string, bytes: number, maxBytes: number): Promise<void> {
  const copies: { path: string; bytes: number; used: number; free: boolean }[] = [];
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const facts = await stat(path).catch(() => undefined);
    if (!facts?.isFile()) continue;
    if (name.endsWith(".partial") && Date.now() - facts.mtimeMs > abandonedMs) await rm(path, { force: true });
    else
      copies.push({
        path,
        bytes: facts.size,
        used: facts.mtimeMs,
        free: facts.nlink === 1 && !name.endsWith(".partial"),
      });
  }
  let total = copies.reduce((sum, copy) => sum + copy.bytes, bytes);
  for (const copy of copies.toSorted((left, right) => left.used - right.used)) {
    if (total <= maxBytes) return;
    if (!copy.free) continue;
    await rm(copy.path, { force: true });
    total -= copy.bytes;
  }
  if (total > maxBytes) {
    throw new MillraceError(
      "limit",
      `the read cache may hold ${maxBytes} bytes, and what is in use with what is asked for needs ${total}`,
      { hint: "raise `cache.maxSize` in the configuration" },
    );
  }
}

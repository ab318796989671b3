import { createHash } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { mkdir, readdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { MillraceError } from "../core/index.ts";
import type { Engine } from "../engine/index.ts";
import { buildRowCache, readMeta, type CacheSubject, type Meta } from "./cache-build.ts";
import { layoutOf, type Layout } from "./layout.ts";
import type { SeenColumn } from "./records.ts";
import { WindowReader } from "./window-reader.ts";

export type { CacheSubject } from "./cache-build.ts";

export interface CacheOptions {
  /** Folder on a fast local disk. Default: `millrace/feed` in the user's cache folder. */
  folder?: string;
  /** Bytes that all caches in the folder may take together; those used longest ago go first. Default 20 GiB. */
  maxBytes?: number;
  /** Bytes that are held in memory instead of being read for each batch. Default 1 GiB. */
  memoryBytes?: number;
}

/** Rows by number, on a local disk or in memory. */
export interface RowCache extends Disposable {
  readonly rows: number;
  readonly layout: Layout;
  readonly seen: SeenColumn[];
  /** Rows that were left out, because their images cannot be decoded. */
  readonly skipped: number;
  /** Of each row, where there are any. */
  readonly weights?: Float64Array;
  /**
   * Brings rows into one piece of memory: `bases` says where in `arena` each begins. The arena is good until the next call.
   * Throws `corrupt` when the cache is damaged.
   */
  gather(rows: Float64Array): { arena: Uint8Array; bases: Float64Array };
}

const format = 2;

/** Opens the cache of a subject; makes it when it is not there, and anew when it is damaged. */
export async function openRowCache(
  engine: () => Promise<Engine>,
  subject: CacheSubject,
  options: CacheOptions = {},
  signal?: AbortSignal,
  /** The one there is turned out to be damaged. */
  damaged = false,
): Promise<RowCache> {
  const folder = options.folder ?? join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "millrace", "feed");
  const layout = layoutOf(subject.columns, subject.images?.shapes);
  const described = JSON.stringify([format, subject.identity, subject.columns.map(({ name, type }) => [name, type])]);
  const place = join(folder, createHash("sha256").update(described).digest("hex").slice(0, 32));
  await mkdir(folder, { recursive: true });
  for (let attempt = 0; ; attempt++) {
    const meta = damaged && attempt === 0 ? undefined : await readMeta(place);
    if (meta !== undefined) {
      try {
        const cache = await load(place, meta, layout, options.memoryBytes ?? 2 ** 30);
        const now = new Date();
        await utimes(place, now, now);
        return cache;
      } catch (error) {
        if (attempt > 1) throw error;
      }
    }
    await rm(place, { recursive: true, force: true });
    await buildRowCache(await engine(), subject, layout, folder, place, signal);
    await evict(folder, place, options.maxBytes ?? 20 * 2 ** 30);
  }
}

async function load(place: string, meta: Meta, layout: Layout, memoryBytes: number): Promise<RowCache> {
  const damaged = (what: string): MillraceError =>
    new MillraceError("corrupt", `the ${what} in the cache of the feed \`${place}\` is damaged`);
  const numbers = async (name: "index" | "weights"): Promise<Float64Array> => {
    const bytes = await readFile(join(place, name));
    if (bytes.length !== meta.rows * 8 || sha256(bytes) !== meta.sha256[name]) throw damaged(name);
    const read = new Float64Array(meta.rows);
    new Uint8Array(read.buffer).set(bytes);
    return read;
  };
  const offsets = await numbers("index");
  const weights = meta.sha256.weights === undefined ? {} : { weights: await numbers("weights") };
  const path = join(place, "records");
  if ((await stat(path)).size !== meta.bytes) throw damaged("data");
  const base = { rows: meta.rows, layout, seen: meta.seen, skipped: meta.skipped, ...weights };
  if (meta.bytes <= memoryBytes) {
    const records = await readFile(path);
    if (sha256(records) !== meta.sha256.records) throw damaged("data");
    // An allocation of its own begins at a multiple of eight.
    const arena = records.byteOffset % 8 === 0 ? records : new Uint8Array(records);
    return {
      ...base,
      gather: (rows) => ({ arena, bases: rows.map((row) => offsets[row]!) }),
      [Symbol.dispose]: () => undefined,
    };
  }
  const descriptor = openSync(path, "r");
  const reader = new WindowReader(descriptor, offsets, meta.bytes);
  return { ...base, gather: (rows) => reader.gather(rows), [Symbol.dispose]: () => closeSync(descriptor) };
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Takes away what was used longest ago until the rest fits. What an open feed reads stays readable: its file is open, or in memory. */
async function evict(folder: string, keep: string, maxBytes: number): Promise<void> {
  const caches: { path: string; bytes: number; used: number }[] = [];
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const building = /^(\d+)-[0-9a-f]+\.building$/.exec(name);
    if (building) {
      if (!isAlive(Number(building[1]))) await rm(path, { recursive: true, force: true });
      continue;
    }
    const meta = await readMeta(path);
    if (meta === undefined) continue;
    const used = await stat(path).catch(() => undefined);
    if (used)
      caches.push({
        path,
        bytes: meta.bytes + meta.rows * (meta.sha256.weights === undefined ? 8 : 16),
        used: used.mtimeMs,
      });
  }
  let total = caches.reduce((sum, cache) => sum + cache.bytes, 0);
  for (const cache of caches.toSorted((left, right) => left.used - right.used)) {
    if (total <= maxBytes) return;
    if (cache.path === keep) continue;
    await rm(cache.path, { recursive: true, force: true });
    total -= cache.bytes;
  }
}

/** Removes what is cached of a dataset: rows that were erased must not go on in a copy. */
export async function dropRowCaches(folder: string, dataset: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const meta = await readMeta(join(folder, name));
    if (meta?.dataset === dataset) await rm(join(folder, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

import { createHash, randomUUID } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { MillraceError, type Column, type Sql } from "../core/index.ts";
import type { Engine } from "../engine/index.ts";
import { layoutOf, wireExpression, type Layout } from "./layout.ts";
import { RecordWriter, checkRecord, type SeenColumn } from "./records.ts";

export interface CacheOptions {
  /** Folder on a fast local disk. Default: `millrace/feed` in the user's cache folder. */
  folder?: string;
  /** Bytes that all caches in the folder may take together; those used longest ago go first. Default 20 GiB. */
  maxBytes?: number;
  /** Bytes that are held in memory instead of being read for each batch. Default 1 GiB. */
  memoryBytes?: number;
}

/** What is cached: rows of a split, in an order that everybody agrees on. */
export interface CacheSubject {
  dataset: string;
  /** What makes it another cache: dataset, content of the version, split, filter, columns. */
  identity: string;
  columns: Column[];
  /** SELECTs that one after the other give all rows in order, with `columns` by name. */
  selects: Sql[];
}

/** Rows by number, on a local disk or in memory. */
export interface RowCache extends Disposable {
  readonly rows: number;
  readonly layout: Layout;
  readonly seen: SeenColumn[];
  /**
   * Brings rows into one piece of memory: `bases` says where in `arena` each begins. The arena is good until the next call.
   * Throws `corrupt` when the cache is damaged.
   */
  gather(rows: Float64Array): { arena: Uint8Array; bases: Float64Array };
}

interface Meta {
  dataset: string;
  rows: number;
  bytes: number;
  /** SHA-256 of `records` and of `index`, hexadecimal. */
  sha256: { records: string; index: string };
  seen: SeenColumn[];
}

const format = 1;
const flushBytes = 8 << 20;

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
  const layout = layoutOf(subject.columns);
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
    await build(await engine(), subject, layout, folder, place, signal);
    await evict(folder, place, options.maxBytes ?? 20 * 2 ** 30);
  }
}

async function readMeta(place: string): Promise<Meta | undefined> {
  try {
    return JSON.parse(await readFile(join(place, "meta.json"), "utf8")) as Meta;
  } catch {
    return undefined;
  }
}

/** Written under another name and moved when complete, so a killed process leaves nothing that looks whole. */
async function build(
  engine: Engine,
  subject: CacheSubject,
  layout: Layout,
  folder: string,
  place: string,
  signal?: AbortSignal,
): Promise<void> {
  const building = join(folder, `${process.pid}-${randomUUID().slice(0, 8)}.building`);
  await mkdir(building);
  try {
    const writer = new RecordWriter(layout);
    const hashes = { records: createHash("sha256"), index: createHash("sha256") };
    const records = await open(join(building, "records"), "w");
    const index = await open(join(building, "index"), "w");
    let [rows, bytes] = [0, 0];
    const flush = async (): Promise<void> => {
      const taken = writer.take();
      const offsets = new Uint8Array(Float64Array.from(taken.offsets).buffer);
      hashes.records.update(taken.bytes);
      hashes.index.update(offsets);
      await records.writeFile(taken.bytes);
      await index.writeFile(offsets);
      rows += taken.offsets.length;
      bytes += taken.bytes.length;
    };
    try {
      const list = layout.columns.map(wireExpression).join(", ");
      for (const select of subject.selects) {
        const stream = engine.stream(`SELECT ${list} FROM (${select})`, signal, { flatLists: true });
        for await (const { batch } of stream) {
          writer.write(batch);
          if (writer.pending >= flushBytes) await flush();
        }
      }
      await flush();
    } finally {
      await records.close();
      await index.close();
    }
    const meta: Meta = {
      dataset: subject.dataset,
      rows,
      bytes,
      sha256: { records: hashes.records.digest("hex"), index: hashes.index.digest("hex") },
      seen: writer.seen,
    };
    await writeFile(join(building, "meta.json"), JSON.stringify(meta));
    await rename(building, place).catch(async (error: unknown) => {
      // Another process was faster, with the same content.
      if ((await readMeta(place)) === undefined) throw error;
    });
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}

async function load(place: string, meta: Meta, layout: Layout, memoryBytes: number): Promise<RowCache> {
  const damaged = (what: string): MillraceError =>
    new MillraceError("corrupt", `the ${what} in the cache of the feed \`${place}\` is damaged`);
  const indexBytes = await readFile(join(place, "index"));
  if (indexBytes.length !== meta.rows * 8 || sha256(indexBytes) !== meta.sha256.index) throw damaged("index");
  const offsets = new Float64Array(meta.rows);
  new Uint8Array(offsets.buffer).set(indexBytes);
  const path = join(place, "records");
  if ((await stat(path)).size !== meta.bytes) throw damaged("data");
  const base = { rows: meta.rows, layout, seen: meta.seen };
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

/** Records that lie nearer than this are read together. */
const gapBytes = 4096;
const readBytes = 1 << 20;

/** Reads the rows of a batch in the order in which they lie, neighbours at once; every record is checked. */
class WindowReader {
  readonly #descriptor: number;
  readonly #offsets: Float64Array;
  readonly #end: number;
  #arena = new Uint8Array(1 << 20);

  constructor(descriptor: number, offsets: Float64Array, end: number) {
    this.#descriptor = descriptor;
    this.#offsets = offsets;
    this.#end = end;
  }

  gather(rows: Float64Array): { arena: Uint8Array; bases: Float64Array } {
    const sorted = Uint32Array.from(rows.keys()).sort((left, right) => rows[left]! - rows[right]!);
    const bases = new Float64Array(rows.length);
    let used = 0;
    for (let first = 0; first < sorted.length;) {
      const start = this.#offsets[rows[sorted[first]!]!]!;
      let end = this.#endOf(rows[sorted[first]!]!);
      let next = first + 1;
      for (; next < sorted.length; next++) {
        const row = rows[sorted[next]!]!;
        if (this.#offsets[row]! - end > gapBytes || this.#endOf(row) - start > readBytes) break;
        end = Math.max(end, this.#endOf(row));
      }
      this.#reserve(used, end - start);
      this.#read(used, start, end - start);
      for (let at = first; at < next; at++) {
        const row = rows[sorted[at]!]!;
        const base = used + this.#offsets[row]! - start;
        checkRecord(this.#arena, base, this.#endOf(row) - this.#offsets[row]!);
        bases[sorted[at]!] = base;
      }
      used += end - start;
      first = next;
    }
    return { arena: this.#arena, bases };
  }

  #endOf(row: number): number {
    return row + 1 < this.#offsets.length ? this.#offsets[row + 1]! : this.#end;
  }

  #reserve(used: number, bytes: number): void {
    if (used + bytes <= this.#arena.length) return;
    const larger = new Uint8Array(Math.max(this.#arena.length * 2, used + bytes));
    larger.set(this.#arena.subarray(0, used));
    this.#arena = larger;
  }

  #read(into: number, position: number, length: number): void {
    for (let done = 0; done < length;) {
      const read = readSync(this.#descriptor, this.#arena, into + done, length - done, position + done);
      if (read === 0) throw new MillraceError("corrupt", "the cache of the feed ends early");
      done += read;
    }
  }
}

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
    if (used) caches.push({ path, bytes: meta.bytes + meta.rows * 8, used: used.mtimeMs });
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

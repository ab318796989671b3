import { MillraceError, isMillraceError, throwIfAborted, type Column, type LookupValue } from "../core/index.ts";
import type { Dataset, Version } from "../dataset/index.ts";
import type { Engine } from "../engine/index.ts";
import { openRowCache, type CacheOptions, type RowCache } from "../feed/cache.ts";
import type { Layout } from "../feed/layout.ts";
import { HashTable, hashBytes, mixed, seed } from "./hash-table.ts";
import { encodeKey, keyParts } from "./key.ts";
import { indexSubject, type IndexOptions, type IndexSubject } from "./subject.ts";
import { columnReader, recordsIn, type ColumnReader, type Records } from "./values.ts";

/** The rows of one version by key: a record a row in one piece of memory or in a file, and a hash table over their keys. */
export interface EntityIndex extends Disposable {
  readonly dataset: string;
  readonly version: number;
  /** When the version was published, milliseconds since the epoch. */
  readonly published: number;
  readonly rows: number;
  readonly key: Column[];
  /** Columns of an answer, those of the key first. */
  readonly columns: Column[];
  /** How a record is laid out; `src/feed/layout.ts` says what that means. */
  readonly layout: Layout;
  /** Changes when what is indexed changes. */
  readonly identity: string;
  /** Readers of the columns, by name. */
  readonly readers: ReadonlyMap<string, ColumnReader>;
  /** Throws `usage` when a key has another number of values than there are key columns. What is found is good until the next call. */
  find(keys: readonly (readonly LookupValue[])[]): Found;
}

export interface Found extends Records {
  arena: Uint8Array;
  /** Where the record of each key begins in `arena`; -1: there is none. */
  bases: Float64Array;
  /** Keys that no row can have, because a value is not of the column's type. */
  invalid: { index: number; column: string; problem: string }[];
}

export interface OpenIndexOptions extends IndexOptions {
  cache?: CacheOptions;
  signal?: AbortSignal;
}

/** Rows between which others get a turn while an index is made. */
const turnRows = 8192;

/**
 * Opens the index of a version; its records are kept in a cache on a local disk, which is verified when it is opened and made anew when it
 * is damaged. Throws `usage` for columns that do not fit, keys that are null, and keys that several rows have.
 */
export async function openEntityIndex(
  engine: () => Promise<Engine>,
  dataset: Dataset,
  version: Version,
  options: OpenIndexOptions,
): Promise<EntityIndex> {
  const subject = await indexSubject(engine, dataset, version, options);
  const open = (damaged: boolean): Promise<RowCache> =>
    openRowCache(engine, subject, options.cache, options.signal, damaged);
  let cache = await open(false);
  let indexed: KeyIndex;
  try {
    indexed = await indexKeys(cache, subject, options);
  } catch (error) {
    cache[Symbol.dispose]();
    if (!isMillraceError(error) || error.code !== "corrupt") throw error;
    cache = await open(true);
    indexed = await indexKeys(cache, subject, options);
  }
  const { layout } = cache;
  const readers = layout.columns.map((laid, index) => columnReader(laid, index, subject.answered[index]!));
  return {
    dataset: dataset.name,
    version: version.number,
    published: version.time,
    rows: cache.rows,
    key: subject.answered.slice(0, options.key.length),
    columns: subject.answered,
    layout,
    identity: subject.identity,
    readers: new Map(readers.map((reader) => [reader.name, reader])),
    find: (keys) => indexed.find(keys),
    [Symbol.dispose]: () => cache[Symbol.dispose](),
  };
}

async function indexKeys(cache: RowCache, subject: IndexSubject, options: OpenIndexOptions): Promise<KeyIndex> {
  const index = new KeyIndex(cache, options.key, subject.dataset);
  for (let row = 0; row < cache.rows; row += turnRows) {
    index.add(row, Math.min(cache.rows, row + turnRows));
    await new Promise((resolve) => setImmediate(resolve));
    throwIfAborted(options.signal);
  }
  return index;
}

/** Finds rows by the bytes of their key. */
class KeyIndex {
  readonly #cache: RowCache;
  readonly #table: HashTable;
  readonly #parts: ReturnType<typeof keyParts>;
  readonly #places: { index: number; at: number; width: number }[];
  readonly #dataset: string;
  readonly #scratch = Buffer.alloc(256);
  /** For one row at a time. */
  readonly #one = new Float64Array(1);

  constructor(cache: RowCache, key: readonly string[], dataset: string) {
    this.#cache = cache;
    this.#dataset = dataset;
    this.#table = new HashTable(cache.rows);
    this.#parts = keyParts(cache.layout, key);
    this.#places = this.#parts.map(({ column, slot }) => ({
      index: cache.layout.columns.findIndex((laid) => laid.column.name === column.name),
      at: slot.at,
      width: slot.kind === "bytes" ? 0 : slot.width,
    }));
  }

  /** Rows from `start` up to `end`. */
  add(start: number, end: number): void {
    const numbers = Float64Array.from({ length: end - start }, (_, index) => start + index);
    const { arena, bases } = this.#cache.gather(numbers);
    const { view } = recordsIn(arena);
    // Records of earlier rows may have to be read, which takes the arena away, so these are compared at the end.
    const doubtful: [row: number, other: number][] = [];
    for (const [index, base] of bases.entries()) {
      this.#assertNoNull(arena, base);
      const hash = this.#hashOf(arena, view, base);
      for (let slot = this.#table.seek(hash); slot >= 0; slot = this.#table.seek(hash, this.#table.after(slot))) {
        doubtful.push([start + index, this.#table.rowAt(slot)]);
      }
      this.#table.insert(hash, start + index);
    }
    for (const [row, other] of doubtful) {
      const [left, right] = [this.#keyOf(row), this.#keyOf(other)];
      if (left.equals(right)) this.#failOnDuplicate(row);
    }
  }

  find(keys: readonly (readonly LookupValue[])[]): Found {
    const invalid: Found["invalid"] = [];
    const bases = new Float64Array(keys.length).fill(-1);
    const wanted: { index: number; key: Buffer; hash: number; slot: number }[] = [];
    for (const [index, key] of keys.entries()) {
      if (key.length !== this.#parts.length) throw this.#wrongLength(key.length);
      const encoded = encodeKey(this.#parts, key, this.#scratch);
      if (!Buffer.isBuffer(encoded)) {
        invalid.push({ index, ...encoded });
        continue;
      }
      const hash = mixed(hashBytes(seed, encoded, 0, encoded.length));
      const slot = this.#table.seek(hash);
      // The scratch is written anew for the next key.
      if (slot >= 0) wanted.push({ index, key: keys.length === 1 ? encoded : Buffer.from(encoded), hash, slot });
    }
    const rows = new Float64Array(wanted.length);
    for (const [place, { slot }] of wanted.entries()) rows[place] = this.#table.rowAt(slot);
    const gathered = this.#cache.gather(rows);
    const records = recordsIn(gathered.arena);
    const others: number[] = [];
    for (const [place, { index, key }] of wanted.entries()) {
      const base = gathered.bases[place]!;
      if (this.#hasKey(gathered.arena, records.view, base, key)) bases[index] = base;
      else others.push(place);
    }
    if (others.length === 0) return { ...records, arena: gathered.arena, bases, invalid };
    // Another key with the same 32 bits of hash was in the way: one in billions. Such rows are looked for one by one.
    for (const place of others) rows[place] = this.#seekOn(wanted[place]!);
    const sought = wanted.filter((_, place) => rows[place]! >= 0);
    const again = this.#cache.gather(rows.filter((row) => row >= 0));
    bases.fill(-1);
    for (const [place, { index }] of sought.entries()) bases[index] = again.bases[place]!;
    return { ...recordsIn(again.arena), arena: again.arena, bases, invalid };
  }

  /** The row that has the key, after the one in the slot, which has not; -1: none. */
  #seekOn({ key, hash, slot }: { key: Buffer; hash: number; slot: number }): number {
    for (let at = this.#table.seek(hash, this.#table.after(slot)); at >= 0;) {
      const row = this.#table.rowAt(at);
      if (this.#keyOf(row).equals(key)) return row;
      at = this.#table.seek(hash, this.#table.after(at));
    }
    return -1;
  }

  #wrongLength(length: number): MillraceError {
    const names = this.#parts.map(({ column }) => `\`${column.name}\``).join(", ");
    return new MillraceError("usage", `a key of \`${this.#dataset}\` has ${this.#parts.length} values, not ${length}`, {
      where: { dataset: this.#dataset },
      hint: `give ${names}, in this order`,
    });
  }

  #assertNoNull(arena: Uint8Array, base: number): void {
    for (const { index } of this.#places) {
      if ((arena[base + 8 + (index >> 3)]! & (1 << (index & 7))) !== 0) continue;
      const { name } = this.#cache.layout.columns[index]!.column;
      throw new MillraceError("usage", `a row of \`${this.#dataset}\` has no \`${name}\`, which is part of the key`, {
        where: { dataset: this.#dataset, column: name },
        hint: `leave such rows out with --where "${name} is not null"`,
      });
    }
  }

  #hashOf(arena: Uint8Array, view: DataView, base: number): number {
    let hash = seed;
    for (const { at, width } of this.#places) {
      if (width > 0) hash = hashBytes(hash, arena, base + at, base + at + width);
      else {
        const start = base + view.getUint32(base + at, true);
        const length = view.getUint32(base + at + 4, true);
        hash = hashBytes(hash, arena, base + at + 4, base + at + 8);
        hash = hashBytes(hash, arena, start, start + length);
      }
    }
    return mixed(hash);
  }

  #hasKey(arena: Uint8Array, view: DataView, base: number, key: Uint8Array): boolean {
    let used = 0;
    const same = (start: number, length: number): boolean => {
      for (let at = 0; at < length; at++) if (arena[start + at] !== key[used + at]) return false;
      used += length;
      return true;
    };
    for (const { at, width } of this.#places) {
      if (width > 0) {
        if (!same(base + at, width)) return false;
        continue;
      }
      const length = view.getUint32(base + at + 4, true);
      if (!same(base + at + 4, 4) || !same(base + view.getUint32(base + at, true), length)) return false;
    }
    return used === key.length;
  }

  /** The bytes of the key of a row, as `encodeKey` gives them. */
  #keyOf(row: number): Buffer {
    this.#one[0] = row;
    const { arena, bases } = this.#cache.gather(this.#one);
    const { view } = recordsIn(arena);
    const base = bases[0]!;
    return Buffer.concat(
      this.#places.flatMap(({ at, width }) => {
        if (width > 0) return [arena.slice(base + at, base + at + width)];
        const start = base + view.getUint32(base + at, true);
        return [
          arena.slice(base + at + 4, base + at + 8),
          arena.slice(start, start + view.getUint32(base + at + 4, true)),
        ];
      }),
    );
  }

  #failOnDuplicate(row: number): never {
    this.#one[0] = row;
    const { arena, bases } = this.#cache.gather(this.#one);
    const records = recordsIn(arena);
    const example = this.#places
      .map(({ index }) => {
        const laid = this.#cache.layout.columns[index]!;
        return `${laid.column.name} = ${columnReader(laid, index, laid.column).json(records, bases[0]!).slice(0, 60)}`;
      })
      .join(", ");
    throw new MillraceError("usage", `several rows of \`${this.#dataset}\` have the key ${example}`, {
      where: { dataset: this.#dataset },
      hint: "name all columns that identify a row with --key, or take the newest row with --last-by column",
    });
  }
}

import { MillraceError, suggestion, type LookupReply, type LookupValue, type Sink } from "../core/index.ts";
import type { EntityIndex } from "./entity-index.ts";
import type { ColumnReader } from "./values.ts";

/** Rows by key, from an index in this process or from a published copy. */
export interface Lookup extends AsyncDisposable {
  readonly name: string;
  /** Names of the key columns, in order; undefined: only the published copy knows. */
  readonly key: readonly string[] | undefined;
  /** The index that answers now; undefined for a published copy. */
  readonly index: EntityIndex | undefined;
  /** Throws `usage` for keys of another length and columns that are not there; `not-found` when nothing was published. */
  get(keys: readonly (readonly LookupValue[])[], options?: GetOptions): Promise<LookupResult>;
  /**
   * Looks whether the reference means another version now (a tag moved, a run published), and takes it in; the one before answers until the
   * new one is ready. Returns whether it changed. A published copy is always the newest.
   */
  refresh(signal?: AbortSignal): Promise<boolean>;
}

export interface GetOptions {
  /** Columns wanted, in this order; all when absent. */
  columns?: readonly string[];
  signal?: AbortSignal;
}

export interface LookupResult extends LookupReply {
  /** When that version was published, milliseconds since the epoch; undefined when the lake does not know the version. */
  published: number | undefined;
  /** Keys that cannot be there, because a value is not of the column's type. They are among the missing. */
  invalid: { index: number; column: string; problem: string }[];
}

/** What an index is made of, and how to tell that it is another. */
export interface IndexSource {
  /** Changes when the reference means another version, or when rows of the version were erased. */
  stamp: string;
  open(signal?: AbortSignal): Promise<EntityIndex>;
}

/** A lookup in an index that follows its reference. */
export async function openIndexLookup(
  name: string,
  newest: () => Promise<IndexSource>,
  signal?: AbortSignal,
): Promise<Lookup> {
  const first = await newest();
  let { stamp } = first;
  let index = await first.open(signal);
  let refreshing: Promise<boolean> | undefined;
  let closed = false;

  const refresh = async (stop?: AbortSignal): Promise<boolean> => {
    const found = await newest();
    if (found.stamp === stamp) return false;
    const next = await found.open(stop);
    if (closed) {
      next[Symbol.dispose]();
      return false;
    }
    // Answers are made without a pause from what `find` gave, so nobody is in the middle of the old one now.
    const before = index;
    index = next;
    stamp = found.stamp;
    before[Symbol.dispose]();
    return true;
  };

  return {
    name,
    key: index.key.map((column) => column.name),
    get index() {
      return index;
    },
    async get(keys, options = {}) {
      const current = index;
      const readers = chosenReaders(current, options.columns);
      const found = current.find(keys);
      const rows = Array.from(found.bases, (base) =>
        base < 0 ? undefined : Object.fromEntries(readers.map((reader) => [reader.name, reader.value(found, base)])),
      );
      return { version: current.version, published: current.published, rows, invalid: found.invalid };
    },
    refresh(stop) {
      // Who asks while one is going on waits for that one.
      refreshing ??= refresh(stop).finally(() => (refreshing = undefined));
      return refreshing;
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      await refreshing?.catch(() => undefined);
      index[Symbol.dispose]();
    },
  };
}

/** The readers of the columns of an answer. Throws `usage` for a column that the index does not hold. */
export function chosenReaders(index: EntityIndex, columns: readonly string[] | undefined): ColumnReader[] {
  if (columns === undefined) return [...index.readers.values()];
  return columns.map((name) => {
    const reader = index.readers.get(name);
    if (reader !== undefined) return reader;
    throw new MillraceError("usage", `the lookup of \`${index.dataset}\` has no column \`${name}\``, {
      where: { dataset: index.dataset, column: name },
      hint: suggestion(name, [...index.readers.keys()]),
    });
  });
}

/** A lookup in a published copy. `publishedAt` says when a version was published, as far as the lake knows. */
export function sinkLookup(
  name: string,
  sink: Sink & Required<Pick<Sink, "get">>,
  target: string,
  key: readonly string[] | undefined,
  publishedAt: (version: number) => Promise<number | undefined>,
): Lookup {
  let known: { version: number; published: number | undefined } | undefined;
  return {
    name,
    key,
    index: undefined,
    async get(keys, { columns, signal } = {}) {
      const reply = await sink.get({
        target,
        keys,
        ...(columns === undefined ? {} : { columns }),
        ...(signal === undefined ? {} : { signal }),
      });
      if (known?.version !== reply.version) {
        known = { version: reply.version, published: await publishedAt(reply.version) };
      }
      return { ...reply, published: known.published, invalid: [] };
    },
    refresh: async () => false,
    [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
  };
}

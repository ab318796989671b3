import { createHash } from "node:crypto";
import {
  MillraceError,
  isMillraceError,
  sqlName,
  sqlString,
  suggestion,
  throwIfAborted,
  type Column,
} from "../core/index.ts";
import type { Dataset, Version } from "../dataset/index.ts";
import type { Engine } from "../engine/index.ts";
import { gather, type FeedBatch, type FeedColumn } from "./batch.ts";
import { openRowCache, type CacheOptions, type RowCache } from "./cache.ts";
import { layoutOf } from "./layout.ts";
import { feedOrder, type Shuffle } from "./order.ts";

/** A version of a dataset to feed from. */
export interface FeedSource {
  dataset: Dataset;
  version: Version;
  /** Column that holds the split, when `split` is asked for. */
  splitColumn?: string;
  /** The condition of its rows, where the split is not what the column says. */
  splitRows?: string;
  /** Its share when several are mixed; default: its rows. */
  weight?: number;
}

export interface FeedOptions {
  split?: string;
  /** Samples of a step, over all ranks. Default 256. */
  batch?: number;
  /** Default 0. */
  seed?: number;
  /** Default `{ kind: "global" }`. */
  shuffle?: Shuffle;
  /** Leaves out the last step of an epoch when it would be smaller. Default true. */
  dropLast?: boolean;
  /** Default 1; Infinity repeats for ever. */
  epochs?: number;
  /** Columns of a batch, in this order. Default: all but the split column. */
  columns?: string[];
  /** An SQL condition on the rows. */
  where?: string;
  cache?: CacheOptions;
  signal?: AbortSignal;
}

export interface ReadOptions {
  /** The first step; with it alone a feed goes on exactly where it was. Default 0. */
  from?: number;
  /** Steps up to here. Default: all. */
  to?: number;
  /** This trainer, of `world` that share each step. Default 0 of 1. */
  rank?: number;
  world?: number;
  /** Every `workers`-th step, from the `worker`-th on: for loaders with several processes. Default 0 of 1. */
  worker?: number;
  workers?: number;
  signal?: AbortSignal;
}

/** Training batches in an order that depends on version, split, seed and step alone. Nothing to clean up but memory. */
export interface Feed extends AsyncDisposable {
  readonly datasets: { name: string; version: number; rows: number }[];
  readonly columns: Column[];
  /** Columns of lists that all have one length, and that length: tensors. */
  readonly listLengths: ReadonlyMap<string, number>;
  /** Columns without a null in any batch. */
  readonly present: ReadonlySet<string>;
  /** Samples of an epoch. */
  readonly rows: number;
  readonly batchSize: number;
  readonly stepsPerEpoch: number;
  readonly steps: number;
  /** Why gc may remove the files of what is fed while it is open: the store does not let us write that we read it. */
  readonly unleased?: MillraceError;
  /** One step, at any time. */
  batch(step: number, rank?: number, world?: number): Promise<FeedBatch>;
  /** Steps in order. */
  batches(options?: ReadOptions): AsyncIterable<FeedBatch>;
  [Symbol.asyncIterator](): AsyncIterator<FeedBatch>;
}

interface OpenSource {
  name: string;
  version: number;
  columns: Column[];
  cache: RowCache;
  /** Anew, because it is damaged. */
  remake(): Promise<RowCache>;
  identity: string;
  weight?: number;
}

/** Throws `usage` for columns, splits or batches that do not fit. */
export async function openFeed(
  engine: () => Promise<Engine>,
  sources: readonly FeedSource[],
  options: FeedOptions = {},
): Promise<Feed> {
  const opened: OpenSource[] = [];
  for (const source of sources) opened.push(await openSource(engine, source, options));
  const [first] = opened;
  if (first === undefined) throw new MillraceError("usage", "a feed needs a dataset");
  for (const other of opened) assertSameColumns(first, other);
  const batchSize = options.batch ?? 256;
  const order = feedOrder(
    opened.map(({ cache, identity, weight }) => ({
      rows: cache.rows,
      identity,
      ...(weight === undefined ? {} : { weight }),
    })),
    {
      seed: options.seed ?? 0,
      batch: batchSize,
      shuffle: options.shuffle ?? { kind: "global" },
      dropLast: options.dropLast ?? true,
      epochs: options.epochs ?? 1,
    },
  );

  const read = async (step: number, rank = 0, world = 1): Promise<FeedBatch> => {
    const picked = order.pick(step, rank, world);
    const columns =
      picked.source === undefined
        ? await fetchOne(first, picked.rows)
        : await fetchMixed(opened, picked.source, picked.rows);
    return { step, epoch: picked.epoch, rows: picked.rows.length, columns };
  };

  async function* batches(reading: ReadOptions = {}): AsyncIterable<FeedBatch> {
    const { from = 0, rank = 0, world = 1, worker = 0, workers = 1, signal } = reading;
    const to = Math.min(order.steps, reading.to ?? Infinity);
    for (let step = from + worker; step < to; step += workers) {
      throwIfAborted(signal);
      yield read(step, rank, world);
    }
  }

  return {
    datasets: opened.map(({ name, version, cache }) => ({ name, version, rows: cache.rows })),
    columns: batchColumns(first),
    listLengths: listLengths(opened),
    present: presentColumns(opened),
    rows: order.samplesPerEpoch,
    batchSize,
    stepsPerEpoch: order.stepsPerEpoch,
    steps: order.steps,
    batch: read,
    batches,
    [Symbol.asyncIterator]: () => batches()[Symbol.asyncIterator](),
    async [Symbol.asyncDispose]() {
      for (const { cache } of opened) cache[Symbol.dispose]();
    },
  };
}

/** The types that columns have in a batch. */
const batchColumns = ({ cache }: OpenSource): Column[] =>
  cache.layout.columns.map(({ column, type }) => ({ name: column.name, type }));

function listLengths(sources: readonly OpenSource[]): Map<string, number> {
  const lengths = new Map<string, number>();
  for (const [index, { column }] of sources[0]!.cache.layout.columns.entries()) {
    const [length, ...others] = new Set(sources.map(({ cache }) => cache.seen[index]!.listLength));
    if (typeof length === "number" && others.length === 0) lengths.set(column.name, length);
  }
  return lengths;
}

const presentColumns = (sources: readonly OpenSource[]): Set<string> => {
  const laid = [...sources[0]!.cache.layout.columns.entries()];
  const present = laid.filter(([index]) => sources.every(({ cache }) => !cache.seen[index]!.nulls));
  return new Set(present.map(([, { column }]) => column.name));
};

async function openSource(
  engine: () => Promise<Engine>,
  { dataset, version, splitColumn, splitRows, weight }: FeedSource,
  options: FeedOptions,
): Promise<OpenSource> {
  const all = dataset.columns(version);
  const columns = chooseColumns(all, options.columns, splitColumn, dataset.name);
  const conditions = [
    ...(options.split === undefined ? [] : [splitRows ?? `${sqlName(splitColumn!)} = ${sqlString(options.split)}`]),
    ...(options.where === undefined ? [] : [`(${options.where})`]),
  ];
  // By content, not by path: the same version gives the same order wherever its files lie.
  const files = (await dataset.files(version)).toSorted((left, right) => (left.path < right.path ? -1 : 1));
  const content = createHash("sha256")
    .update(files.map((file) => file.sha256 ?? file.path).join("\n"))
    .digest("hex");
  const identity = JSON.stringify([
    dataset.name,
    version.number,
    options.split ?? null,
    options.where ?? null,
    ...(splitRows === undefined ? [] : [splitRows]),
  ]);
  const list = columns.map((column) => sqlName(column.name)).join(", ");
  const where = conditions.length === 0 ? "" : ` WHERE ${conditions.join(" AND ")}`;
  const selects: string[] = [];
  for (const file of files) {
    const relation = await dataset.relation(version, [file], { rowNumber: true });
    selects.push(`SELECT ${list} FROM ${relation}${where} ORDER BY file_row_number`);
  }
  const subject = { dataset: dataset.name, identity: `${identity} ${content}`, columns, selects };
  const open = (damaged: boolean): Promise<RowCache> =>
    openRowCache(engine, subject, options.cache, options.signal, damaged);
  const source: OpenSource = {
    name: dataset.name,
    version: version.number,
    columns,
    cache: await open(false),
    remake: () => open(true),
    identity,
    ...(weight === undefined ? {} : { weight }),
  };
  if (source.cache.rows === 0) {
    const what = options.split === undefined ? "rows" : `rows in the split \`${options.split}\``;
    throw new MillraceError("usage", `\`${dataset.name}@${version.number}\` has no ${what}`, {
      where: { dataset: dataset.name },
      hint: `millrace query "select * from ${dataset.name} limit 10"`,
    });
  }
  return source;
}

function chooseColumns(
  all: readonly Column[],
  wanted: readonly string[] | undefined,
  splitColumn: string | undefined,
  dataset: string,
): Column[] {
  if (wanted === undefined) return all.filter((column) => column.name !== splitColumn);
  return wanted.map((name) => {
    const column = all.find((each) => each.name === name);
    if (column) return column;
    throw new MillraceError("usage", `\`${dataset}\` has no column \`${name}\``, {
      where: { dataset, column: name },
      hint: suggestion(
        name,
        all.map((each) => each.name),
      ),
    });
  });
}

function assertSameColumns(first: OpenSource, other: OpenSource): void {
  const shape = (source: OpenSource): string =>
    JSON.stringify(layoutOf(source.columns).columns.map(({ column, type }) => [column.name, type]));
  if (shape(first) === shape(other)) return;
  throw new MillraceError(
    "usage",
    `\`${first.name}\` and \`${other.name}\` have different columns, so they cannot be mixed`,
    {
      hint: "name the columns that both have with `columns`",
    },
  );
}

/** A cache that turns out to be damaged is made anew; the rows are the same. */
async function fetchRows(source: OpenSource, rows: Float64Array): Promise<ReturnType<RowCache["gather"]>> {
  try {
    return source.cache.gather(rows);
  } catch (error) {
    if (!isMillraceError(error) || error.code !== "corrupt") throw error;
    source.cache[Symbol.dispose]();
    source.cache = await source.remake();
    return source.cache.gather(rows);
  }
}

async function fetchOne(source: OpenSource, rows: Float64Array): Promise<FeedColumn[]> {
  const { arena, bases } = await fetchRows(source, rows);
  return gather(source.cache.layout, source.cache.seen, arena, bases);
}

async function fetchMixed(sources: OpenSource[], from: Uint16Array, rows: Float64Array): Promise<FeedColumn[]> {
  // Records of all datasets side by side in one arena, so that one pass fills the columns.
  const parts: { bytes: Uint8Array; at: number }[] = [];
  const bases = new Float64Array(rows.length);
  let size = 0;
  for (const [index, source] of sources.entries()) {
    const places = [...from.keys()].filter((place) => from[place] === index);
    if (places.length === 0) continue;
    const fetched = await fetchRows(
      source,
      Float64Array.from(places, (place) => rows[place]!),
    );
    for (const [at, place] of places.entries()) {
      const base = fetched.bases[at]!;
      const length = new DataView(fetched.arena.buffer, fetched.arena.byteOffset + base, 4).getUint32(0, true);
      parts.push({ bytes: fetched.arena.slice(base, base + length), at: size });
      bases[place] = size;
      size += length;
    }
  }
  const arena = new Uint8Array(size);
  for (const { bytes, at } of parts) arena.set(bytes, at);
  const seen = sources[0]!.cache.seen.map((_, column) => {
    const lengths = new Set(sources.map((source) => source.cache.seen[column]!.listLength));
    return {
      nulls: sources.some((source) => source.cache.seen[column]!.nulls),
      listLength: lengths.size === 1 ? [...lengths][0]! : null,
    };
  });
  return gather(sources[0]!.cache.layout, seen, arena, bases);
}

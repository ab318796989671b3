import { createHash } from "node:crypto";
import { MillraceError, throwIfAborted, type Column } from "../core/index.ts";
import type { Engine } from "../engine/index.ts";
import type { FeedBatch } from "./batch.ts";
import type { CacheOptions } from "./cache.ts";
import { fetchMixed, fetchOne } from "./fetch.ts";
import { settledImages, type OnBad } from "./images/images.ts";
import type { ImageOptions } from "./images/spec.ts";
import { feedOrder, type Shuffle } from "./order.ts";
import {
  assertSameColumns,
  batchColumns,
  listLengths,
  openSource,
  presentColumns,
  shapesOf,
  type FeedSource,
  type OpenSource,
} from "./source.ts";

export type { FeedSource } from "./source.ts";

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
  /** Columns of encoded images, or of paths of objects, that are served as samples: `{ bytes: { width: 224, height: 224 } }`. */
  images?: Readonly<Record<string, ImageOptions>>;
  /** What to do with a row whose image cannot be decoded: `error`, or `skip` to leave it out for good. Default `error`. */
  onBad?: OnBad;
  /**
   * A column of numbers from 0 up: each sample is drawn with replacement, a row as often as its weight says. Instead of a shuffle; an epoch
   * has as many samples as there are rows.
   */
  weights?: string;
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
  /** `skipped`: rows that were left out because their images cannot be decoded. */
  readonly datasets: { name: string; version: number; rows: number; skipped?: number }[];
  readonly columns: Column[];
  /** Columns of lists that all have one length, and that length: tensors. */
  readonly listLengths: ReadonlyMap<string, number>;
  /** Columns of images: samples of a byte, height × width × channels or channels × height × width. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** Hexadecimal; the same where all that decides what a step holds is: versions and their content, columns, seed, batch, shuffle. */
  readonly order: string;
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

/** Throws `usage` for columns, splits or batches that do not fit. */
export async function openFeed(
  engine: () => Promise<Engine>,
  sources: readonly FeedSource[],
  options: FeedOptions = {},
): Promise<Feed> {
  const batchSize = options.batch ?? 256;
  for (const [column, image] of settledImages(options.images ?? {})) assertFits(column, image, batchSize);
  const opened: OpenSource[] = [];
  for (const source of sources) opened.push(await openSource(engine, source, options));
  const [first] = opened;
  if (first === undefined) throw new MillraceError("usage", "a feed needs a dataset");
  for (const other of opened) assertSameColumns(first, other);
  const how = {
    seed: options.seed ?? 0,
    batch: batchSize,
    shuffle: options.shuffle ?? { kind: "global" },
    dropLast: options.dropLast ?? true,
  };
  const order = feedOrder(
    opened.map(({ cache: { rows, weights }, identity, weight }) => ({
      rows,
      identity,
      ...(weight === undefined ? {} : { weight }),
      ...(weights === undefined ? {} : { weights }),
    })),
    { ...how, epochs: options.epochs ?? 1 },
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
    datasets: opened.map(({ name, version, cache: { rows, skipped } }) => {
      return { name, version, rows, ...(skipped > 0 && { skipped }) };
    }),
    columns: batchColumns(first),
    listLengths: listLengths(opened),
    shapes: shapesOf(first),
    order: digestOf([opened.map(({ content, weight }) => [content, weight ?? null]), how]),
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

/** Of a list that is the same as text where what it says is the same. */
const digestOf = (parts: readonly unknown[]): string =>
  createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 32);

/** Places in a column of a batch are 32-bit integers, as Arrow has it. */
function assertFits(column: string, { width, height, channels }: Required<ImageOptions>, batch: number): void {
  const largest = Math.floor((2 ** 31 - 1) / (width * height * channels));
  if (batch <= largest) return;
  throw new MillraceError("usage", `a batch of ${batch} images of ${width} × ${height} is too large`, {
    where: { column },
    hint: `choose a batch of at most ${largest}, or smaller images`,
  });
}

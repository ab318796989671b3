import { MillraceError } from "../core/index.ts";
import { keyWords, permutation, type Permutation } from "./permutation.ts";
import { drawn, runningSums } from "./weighted.ts";

/** One dataset's part in a feed: how many rows its split has, what names it, and how its rows are shuffled. */
export interface OrderedRows {
  rows: number;
  /** What makes its shuffle its own: dataset, snapshot, split, filter. */
  identity: string;
  /** Its share of the samples when several are mixed. Default 1. */
  weight?: number;
  /** Of each row: rows are drawn with replacement, as often as their weights say, instead of being shuffled. */
  weights?: Float64Array;
}

export type Shuffle =
  /** Every row may come anywhere in the epoch. */
  | { kind: "global" }
  /** Blocks of `block` neighbouring rows in random order, rows shuffled within `window` of them: few, large reads. */
  | { kind: "block"; block: number; window: number }
  /** As the rows lie in the dataset. */
  | { kind: "none" };

export interface OrderOptions {
  seed: number;
  /** Samples of a step, over all ranks. */
  batch: number;
  shuffle: Shuffle;
  /** Leaves out the last step of an epoch when it would be smaller. */
  dropLast: boolean;
  /** Epochs until the end. Infinity: never. */
  epochs: number;
}

/** Rows of a step for one rank: dataset and row, in order. */
export interface Picked {
  epoch: number;
  /** Index into the feed's datasets, a sample. Undefined when there is one. */
  source?: Uint16Array;
  /** Row of that dataset's split, a sample. */
  rows: Float64Array;
}

/**
 * The order of a feed: a pure function of what is in it, seed and step. No state, so every step can be had at any time, by any rank.
 * Rank r of w gets the r-th of w equal slices of the step, so that the ranks together always see the same.
 */
export interface FeedOrder {
  /** Steps of an epoch. */
  readonly stepsPerEpoch: number;
  /** Steps in all; Infinity when it repeats for ever. */
  readonly steps: number;
  /** Samples of an epoch that are served. */
  readonly samplesPerEpoch: number;
  /** Throws `usage` when the step is beyond the end or the ranks do not divide the batch. */
  pick(step: number, rank: number, world: number): Picked;
}

/** One epoch of one dataset: place in the epoch → row. */
type EpochOrder = Permutation;

function epochOrder(
  { rows, identity }: OrderedRows,
  sums: Float64Array | undefined,
  { seed, shuffle }: OrderOptions,
  epoch: number,
): EpochOrder {
  if (sums !== undefined) return drawn(sums, keyWords("weighted", identity, seed, epoch));
  if (shuffle.kind === "none") return (place) => place;
  const key = (...more: readonly (string | number)[]): Uint32Array => keyWords("order", identity, seed, epoch, ...more);
  if (shuffle.kind === "global") return permutation(rows, key());
  // Less than a block at the end of the dataset always comes in the last window, so that all other places are plain arithmetic.
  const { block, window } = shuffle;
  const whole = Math.floor(rows / block);
  const blockAt = permutation(whole, key("blocks"));
  const windows = Math.max(1, Math.ceil(whole / window));
  const windowRows = block * window;
  let current = { index: -1, inside: (place: number): number => place };
  return (place) => {
    const index = Math.min(Math.floor(place / windowRows), windows - 1);
    const start = index * windowRows;
    if (current.index !== index) {
      const size = (index === windows - 1 ? rows : start + windowRows) - start;
      current = { index, inside: permutation(size, key("window", index)) };
    }
    const row = start + current.inside(place - start);
    const at = Math.floor(row / block);
    return at < whole ? blockAt(at) * block + (row % block) : row;
  };
}

/** Samples among which each of several mixed datasets has its exact share, to one sample. */
const mixBlock = 4096;

export function feedOrder(sources: readonly OrderedRows[], options: OrderOptions): FeedOrder {
  const { batch, dropLast, epochs, seed } = options;
  if (!Number.isSafeInteger(batch) || batch < 1) throw new MillraceError("usage", `${batch} is no size of a batch`);
  const rows = sources.reduce((sum, source) => sum + source.rows, 0);
  const stepsPerEpoch = dropLast ? Math.floor(rows / batch) : Math.ceil(rows / batch);
  const steps = stepsPerEpoch * epochs;
  if (sources.some(({ weights }) => weights) && options.shuffle.kind !== "global") {
    throw new MillraceError("usage", "rows that are drawn by weight have no order to be shuffled in", {
      hint: "leave --block out, or --weights",
    });
  }
  const sums = sources.map(({ weights }) => weights && runningSums(weights));
  const orders = sources.map(() => new Map<number, EpochOrder>());
  const orderOf = (source: number, epoch: number): EpochOrder => {
    const known = orders[source]!.get(epoch);
    if (known) return known;
    const made = epochOrder(sources[source]!, sums[source], options, epoch);
    // The one before is still needed where a batch spans two epochs of a small dataset.
    if (orders[source]!.size > 2) orders[source]!.clear();
    orders[source]!.set(epoch, made);
    return made;
  };

  const pickOne = (epoch: number, from: number, to: number): Picked => {
    const order = orderOf(0, epoch);
    const picked = new Float64Array(to - from);
    for (let place = from; place < to; place++) picked[place - from] = order(place);
    return { epoch, rows: picked };
  };

  const shares = mixShares(sources);
  /** Samples of dataset `source` among the first `blocks` blocks. */
  const before = (source: number, blocks: number): number => {
    const upTo = shares.slice(0, source + 1).reduce((sum, share) => sum + share, 0);
    const below = upTo - shares[source]!;
    return Math.round(upTo * blocks * mixBlock) - Math.round(below * blocks * mixBlock);
  };
  const pickMixed = (epoch: number, from: number, to: number): Picked => {
    const picked = new Float64Array(to - from);
    const source = new Uint16Array(to - from);
    let current: { block: number; place: Permutation; ends: number[]; starts: number[] } | undefined;
    for (let at = from; at < to; at++) {
      const block = Math.floor(at / mixBlock);
      if (current?.block !== block) {
        const starts = sources.map((_, index) => before(index, block));
        let end = 0;
        const ends = sources.map((_, index) => (end += before(index, block + 1) - starts[index]!));
        current = { block, place: permutation(mixBlock, keyWords("mix", seed, block)), ends, starts };
      }
      const slot = current.place(at - block * mixBlock);
      const chosen = current.ends.findIndex((end) => slot < end);
      const index = current.starts[chosen]! + slot - (current.ends[chosen - 1] ?? 0);
      const count = sources[chosen]!.rows;
      source[at - from] = chosen;
      picked[at - from] = orderOf(chosen, Math.floor(index / count))(index % count);
    }
    return { epoch, source, rows: picked };
  };

  return {
    stepsPerEpoch,
    steps,
    samplesPerEpoch: dropLast ? stepsPerEpoch * batch : rows,
    pick(step, rank, world) {
      if (!Number.isSafeInteger(step) || step < 0 || step >= steps) {
        throw new MillraceError("usage", `there is no step ${step}: the feed has ${steps}`);
      }
      if (batch % world !== 0 || rank < 0 || rank >= world) {
        throw new MillraceError("usage", `rank ${rank} of ${world} cannot share a batch of ${batch}`, {
          hint: "choose a batch that the number of ranks divides",
        });
      }
      const epoch = Math.floor(step / stepsPerEpoch);
      const first = (step % stepsPerEpoch) * batch;
      const each = batch / world;
      const end = Math.min(first + batch, rows);
      const from = Math.min(first + rank * each, end);
      const to = Math.min(from + each, end);
      if (sources.length === 1) return pickOne(epoch, from, to);
      // Mixed datasets go on where they were: an epoch is as many samples as they have together.
      return pickMixed(epoch, epoch * rows + from, epoch * rows + to);
    },
  };
}

function mixShares(sources: readonly OrderedRows[]): number[] {
  const empty = sources.find((source) => source.rows === 0 && sources.length > 1);
  if (empty) throw new MillraceError("usage", `\`${empty.identity}\` has no rows to mix in`);
  const weights = sources.map((source) => source.weight ?? source.rows);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

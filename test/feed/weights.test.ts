import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { feedOrder, type OrderOptions } from "../../src/feed/order.ts";
import { threefry } from "../../src/feed/weighted.ts";
import type { Lake } from "../../src/pipeline/index.ts";
import { makePlace, published, type Place } from "../pipeline/place.ts";

let place: Place;
let lake: Lake;

beforeAll(async () => {
  place = await makePlace();
  await using engine = await place.engine();
  await engine.export(
    `SELECT i::INT AS n, (i % 5)::DOUBLE AS w, CASE WHEN i = 9 THEN -1 ELSE i END AS bad, CASE WHEN i <> 4 THEN 1 END AS gaps, 'x' AS text,
       0::DECIMAL(9,2) AS nothing FROM range(1000) t(i)`,
    join(place.folder, "t.parquet"),
    "FORMAT parquet",
  );
  lake = await place.open({ t: { from: { path: "t.parquet" } } });
  await published(lake.run("t"));
});
afterAll(async () => {
  await lake[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const options: OrderOptions = { seed: 5, batch: 100, shuffle: { kind: "global" }, dropLast: false, epochs: Infinity };

test("Threefry gives what its authors say (Random123, kat_vectors)", () => {
  const hex = (words: readonly number[]): string => words.map((word) => word.toString(16).padStart(8, "0")).join(" ");
  const ones = 0xffffffff;
  expect(hex(threefry([0, 0], [0, 0]))).toBe("6b200159 99ba4efe");
  expect(hex(threefry([ones, ones], [ones, ones]))).toBe("1cb996fc bb002be7");
  expect(hex(threefry([0x243f6a88, 0x85a308d3], [0x13198a2e, 0x03707344]))).toBe("c4923a9c 483df7a0");
});

/** The probability that a chi-square of `degrees` is above `value`, by Wilson and Hilferty. */
function tail(value: number, degrees: number): number {
  const z = (Math.cbrt(value / degrees) - (1 - 2 / (9 * degrees))) / Math.sqrt(2 / (9 * degrees));
  const t = 1 / (1 + 0.2316419 * Math.abs(z));
  const terms = [0.31938153, -0.356563782, 1.781477937, -1.821255978, 1.330274429];
  const upper =
    (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) *
    terms.reduce((sum, term, power) => sum + term * t ** (power + 1), 0);
  return z >= 0 ? upper : 1 - upper;
}

test("rows come as often as their weights say (chi-square), independent of the place, the epoch and the seed", () => {
  const weights = Float64Array.from({ length: 200 }, (_, row) => (row % 7 === 0 ? 0 : (row % 10) + 0.5));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  expect([tail(3.84, 1), tail(124.3, 100)].map((p) => Number(p.toFixed(2)))).toEqual([0.05, 0.05]);
  const draws = 100_000;
  for (const seed of [0, 1, 2]) {
    const order = feedOrder([{ rows: 200, identity: "x", weights }], { ...options, seed });
    const counts = new Float64Array(200);
    // How often one row follows another, by tenths: a generator that is not independent from place to place would show.
    const pairs = new Float64Array(100);
    let before = -1;
    for (let step = 0; step < draws / 100; step++) {
      for (const row of order.pick(step, 0, 1).rows) {
        counts[row]!++;
        const tenth = row % 10;
        if (before >= 0) pairs[before * 10 + tenth]!++;
        before = tenth;
      }
    }
    const statistic = (seen: Float64Array, expected: (index: number) => number): [number, number] => {
      let [value, cells] = [0, 0];
      for (const [index, count] of seen.entries()) {
        if (expected(index) === 0) continue;
        value += (count - expected(index)) ** 2 / expected(index);
        cells++;
      }
      return [value, cells - 1];
    };
    for (const [row, weight] of weights.entries()) if (weight === 0) expect(counts[row]).toBe(0);
    expect(tail(...statistic(counts, (row) => (weights[row]! / total) * draws))).toBeGreaterThan(0.001);
    const share = (tenth: number): number =>
      weights.reduce((sum, weight, row) => (row % 10 === tenth ? sum + weight : sum), 0) / total;
    const shares = Array.from({ length: 10 }, (_, tenth) => share(tenth));
    const ofPair = (index: number): number => shares[Math.floor(index / 10)]! * shares[index % 10]! * (draws - 1);
    expect(tail(...statistic(pairs, ofPair))).toBeGreaterThan(0.001);
  }
  // Weights that are not those would be seen.
  const order = feedOrder([{ rows: 200, identity: "x", weights: weights.map((weight) => weight + 0.2) }], options);
  let zero = 0;
  for (let step = 0; step < 100; step++) for (const row of order.pick(step, 0, 1).rows) if (row % 7 === 0) zero++;
  expect(zero).toBeGreaterThan(0);
});

test("a feed by weight is a pure function of seed and step, for any number of ranks and at any step", async () => {
  const open = (seed: number): ReturnType<Lake["feed"]> =>
    lake.feed("t", { batch: 48, seed, weights: "w", columns: ["n"], epochs: 2 });
  const numbers = async (
    feed: Awaited<ReturnType<typeof open>>,
    step: number,
    rank = 0,
    world = 1,
  ): Promise<number[]> => [...((await feed.batch(step, rank, world)).columns[0]!.values as Int32Array)];
  await using feed = await open(1);
  await using again = await open(1);
  await using other = await open(2);
  expect(feed.stepsPerEpoch).toBe(20);
  const seen: number[] = [];
  for (const step of [0, 7, 19, 20, 39]) {
    const whole = await numbers(feed, step);
    seen.push(...whole);
    for (const world of [2, 3, 4, 48]) {
      const parts = await Promise.all(Array.from({ length: world }, (_, rank) => numbers(again, step, rank, world)));
      expect(parts.flat()).toEqual(whole);
    }
    expect(await numbers(other, step)).not.toEqual(whole);
  }
  expect(seen.some((n) => n % 5 === 0)).toBe(false);
  expect(await numbers(feed, 0)).not.toEqual(await numbers(feed, 20));
  // Anybody can compute it: the guide says how.
  expect((await numbers(feed, 0)).slice(0, 6)).toMatchInlineSnapshot(`
    [
      468,
      983,
      869,
      554,
      12,
      194,
    ]
  `);
});

test("weights that are none are said", async () => {
  for (const [weights, code, message] of [
    ["none", "usage", "no column"],
    ["text", "usage", "cannot be a weight"],
    ["bad", "value", "weight is -1"],
    ["gaps", "value", "weight is null"],
    ["nothing", "usage", "add up to 0"],
  ] as const) {
    await expect(lake.feed("t", { weights })).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
  }
  await expect(lake.feed("t", { weights: "w", shuffle: { kind: "block", block: 8, window: 2 } })).rejects.toMatchObject(
    { code: "usage" },
  );
});

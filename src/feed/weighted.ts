import { MillraceError } from "../core/index.ts";

/*
 * Sampling with replacement that anybody can compute again (docs/guide/feed.md). For each place of an epoch:
 *
 *   (x0, x1) = Threefry-2x32-20(counter = (place mod 2^32, floor(place / 2^32)), key)
 *   u        = (floor(x0 / 2^5) · 2^26 + floor(x1 / 2^6)) / 2^53              53 bits, 0 ≤ u < 1
 *   row      = the first whose running sum of weights is greater than u · (sum of all weights)
 *
 * Sums are of doubles, from the first row on. Threefry: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC11.
 */

const rotations = [13, 15, 26, 6, 17, 29, 16, 24] as const;
const parity = 0x1bd11bda;

/** Two words from two words and a key of two, with 20 rounds. */
export function threefry(counter: readonly [number, number], key: readonly [number, number]): [number, number] {
  const schedule = [key[0] | 0, key[1] | 0, (parity ^ key[0] ^ key[1]) | 0] as const;
  let left = (counter[0] + schedule[0]) | 0;
  let right = (counter[1] + schedule[1]) | 0;
  for (let round = 0; round < 20; round++) {
    left = (left + right) | 0;
    const by = rotations[round % 8]!;
    right = ((right << by) | (right >>> (32 - by))) ^ left;
    if (round % 4 !== 3) continue;
    const injection = (round + 1) / 4;
    left = (left + schedule[injection % 3]!) | 0;
    right = (right + schedule[(injection + 1) % 3]! + injection) | 0;
  }
  return [left >>> 0, right >>> 0];
}

/** Running sums. Throws `usage` when no row has a weight. */
export function runningSums(weights: Float64Array): Float64Array {
  const sums = new Float64Array(weights.length);
  let sum = 0;
  for (const [row, weight] of weights.entries()) sums[row] = sum += weight;
  if (sum > 0 && Number.isFinite(sum)) return sums;
  throw new MillraceError("usage", `the weights add up to ${sum}, so that no row can be drawn`, {
    hint: "at least one row needs a weight above 0",
  });
}

/** The row of a place. `sums`: as `runningSums` gives them. `key`: its first two words count. */
export function drawn(sums: Float64Array, key: Uint32Array): (place: number) => number {
  const words = [key[0]!, key[1]!] as const;
  const total = sums.at(-1)!;
  return (place) => {
    const [high, low] = threefry([place % 2 ** 32, Math.floor(place / 2 ** 32)], words);
    const target = (((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53) * total;
    let [from, to] = [0, sums.length - 1];
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (sums[middle]! > target) to = middle;
      else from = middle + 1;
    }
    // The product may be rounded up to the total, which no sum is above: then it is the last row that has a weight.
    while (from > 0 && sums[from] === sums[from - 1]) from--;
    return from;
  };
}

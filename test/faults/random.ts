/** Numbers that look random and come out the same for the same seed. */
export interface Random {
  readonly seed: number;
  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number;
  pick<T>(items: readonly T[]): T;
  /** At most `count` of the items, each once, in their order. */
  sample<T>(items: readonly T[], count: number): T[];
}

/**
 * The seed is printed, so that what failed can be seen again with `FAULTS_SEED=<seed>`.
 * `what` keeps tests apart that run with the same seed.
 */
export function seeded(what: string): Random {
  const given = process.env["FAULTS_SEED"];
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
  console.log(`${what}: FAULTS_SEED=${seed}`);
  let state = seed;
  for (const letter of what) state = (Math.imul(state, 31) + letter.charCodeAt(0)) | 0;
  // Mulberry32.
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1));
  return {
    seed,
    between,
    pick: (items) => items[between(0, items.length - 1)]!,
    sample(items, count) {
      const left = items.map((_, index) => index);
      const chosen = new Set<number>();
      while (chosen.size < Math.min(count, items.length)) chosen.add(left.splice(between(0, left.length - 1), 1)[0]!);
      return items.filter((_, index) => chosen.has(index));
    },
  };
}

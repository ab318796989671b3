import { describe, expect, test } from "vitest";
import { feedOrder, type OrderOptions, type Shuffle } from "../../src/feed/order.ts";
import { keyWords, permutation } from "../../src/feed/permutation.ts";

const base: OrderOptions = { seed: 7, batch: 12, shuffle: { kind: "global" }, dropLast: false, epochs: 1 };
const one = (rows: number): { rows: number; identity: string }[] => [{ rows, identity: "flights@3/train" }];

describe("the permutation", () => {
  test.each([0, 1, 2, 3, 5, 16, 17, 1000, 4097])("of %i numbers is one to one", (size) => {
    const place = permutation(size, keyWords("a", size));
    const seen = new Set(Array.from({ length: size }, (_, index) => place(index)));
    expect(seen.size).toBe(size);
    expect([...seen].every((value) => value >= 0 && value < size)).toBe(true);
  });

  test("reaches beyond 32 bits, and stays the same for ever", () => {
    const place = permutation(2 ** 40, keyWords("wide"));
    const values = Array.from({ length: 1000 }, (_, index) => place(index * 1_000_003));
    expect(new Set(values).size).toBe(1000);
    expect(Math.max(...values)).toBeGreaterThan(2 ** 39);
    const small = permutation(10, keyWords("order", "x", 1, 0));
    expect(Array.from({ length: 10 }, (_, index) => small(index))).toMatchInlineSnapshot(`
      [
        3,
        1,
        8,
        5,
        6,
        4,
        9,
        2,
        0,
        7,
      ]
    `);
  });

  test("mixes: where a number goes says nothing of its neighbour", () => {
    const size = 10_000;
    const place = permutation(size, keyWords("mix"));
    // For a random order the mean distance of neighbours is a third of the size, with a deviation of 0.24 % of it.
    let distance = 0;
    for (let index = 1; index < size; index++) distance += Math.abs(place(index) - place(index - 1));
    expect(distance / (size - 1) / size).toBeGreaterThan(0.32);
    expect(distance / (size - 1) / size).toBeLessThan(0.347);
    const same = Array.from({ length: size }, (_, index) => index).filter((index) => place(index) === index).length;
    expect(same).toBeLessThan(10);
  });
});

describe("the order", () => {
  const shuffles: [string, Shuffle][] = [
    ["global", { kind: "global" }],
    ["block", { kind: "block", block: 16, window: 4 }],
    ["block, more than there is", { kind: "block", block: 4096, window: 4 }],
    ["none", { kind: "none" }],
  ];
  for (const [name, shuffle] of shuffles) {
    test.each([1, 2, 3, 4, 6, 12])(`${name}: %i ranks see each row once, and together what one rank sees`, (world) => {
      const order = feedOrder(one(1003), { ...base, shuffle, epochs: 2 });
      expect(order).toMatchObject({ stepsPerEpoch: 84, steps: 168, samplesPerEpoch: 1003 });
      for (const epoch of [0, 1]) {
        const all: number[] = [];
        for (let step = epoch * 84; step < (epoch + 1) * 84; step++) {
          const whole = [...order.pick(step, 0, 1).rows];
          const shared = Array.from({ length: world }, (_, rank) => [...order.pick(step, rank, world).rows]).flat();
          expect(shared).toEqual(whole);
          all.push(...whole);
        }
        expect(all.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 1003 }, (_, index) => index));
        if (shuffle.kind === "global") expect(all.slice(0, 5)).not.toEqual([0, 1, 2, 3, 4]);
      }
    });
  }

  test("epochs differ, seeds differ, and so do splits of the same size", () => {
    const first = (seed: number, identity: string, step: number): string =>
      feedOrder([{ rows: 1000, identity }], { ...base, seed, epochs: 3 })
        .pick(step, 0, 1)
        .rows.join();
    const all = [first(1, "a", 0), first(1, "a", 84), first(2, "a", 0), first(1, "b", 0)];
    expect(new Set(all).size).toBe(4);
    expect(first(1, "a", 84)).toBe(all[1]);
  });

  test("a block shuffle reads whole blocks: a window of steps touches few of them", () => {
    const order = feedOrder(one(64 * 100), { ...base, batch: 64, shuffle: { kind: "block", block: 64, window: 4 } });
    const blocks = new Set<number>();
    for (let step = 0; step < 4; step++)
      for (const row of order.pick(step, 0, 1).rows) blocks.add(Math.floor(row / 64));
    expect(blocks.size).toBe(4);
  });

  test("the last step is smaller, or left out", () => {
    expect(feedOrder(one(25), base).pick(2, 0, 1).rows.length).toBe(1);
    // Ranks beyond the rest have nothing.
    expect(feedOrder(one(25), base).pick(2, 1, 2).rows.length).toBe(0);
    const dropped = feedOrder(one(25), { ...base, dropLast: true });
    expect(dropped).toMatchObject({ stepsPerEpoch: 2, samplesPerEpoch: 24 });
    expect(() => dropped.pick(2, 0, 1)).toThrow("there is no step 2: the feed has 2");
    expect(() => dropped.pick(0, 0, 5)).toThrow("rank 0 of 5 cannot share a batch of 12");
    expect(feedOrder(one(0), base)).toMatchObject({ steps: 0 });
    expect(feedOrder(one(24), { ...base, epochs: Infinity }).pick(1_000_001, 0, 1).epoch).toBe(500_000);
  });

  test("mixed datasets keep their shares to the sample, and each goes through all its rows before it repeats", () => {
    const sources = [
      { rows: 100, identity: "small", weight: 1 },
      { rows: 9000, identity: "large", weight: 3 },
    ];
    const order = feedOrder(sources, { ...base, batch: 4096, epochs: 2 });
    const seen = [new Map<number, number>(), new Map<number, number>()];
    for (let step = 0; step < 2; step++) {
      const { source, rows } = order.pick(step, 0, 1);
      for (const [index, row] of rows.entries()) {
        const counts = seen[source![index]!]!;
        counts.set(row, (counts.get(row) ?? 0) + 1);
      }
      expect(source!.filter((chosen) => chosen === 0).length).toBe(1024);
    }
    expect([...seen[0]!.values()].every((count) => count === 20 || count === 21)).toBe(true);
    expect(seen[1]!.size).toBe(6144);
  });
});

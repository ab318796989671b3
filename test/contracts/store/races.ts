import { expect } from "vitest";
import { isMillraceError } from "../../../src/core/index.ts";
import type { StoreBench } from "../store.ts";
import { allOf, noise, textBytes, textOf } from "../support/observe.ts";
import type { Rules } from "../support/suite.ts";

/** Several at once: one wins, nobody sees a mixture. */
export function raceRules(bench: StoreBench, { rule, ruleIf }: Rules): void {
  const archive = bench.contract.definition.capabilities.archive
    ? "objects must be restored before they are read"
    : undefined;
  const race = async (path: string, writers: number, bytes: (writer: number) => Uint8Array): Promise<number> => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: writers }, (_, writer) =>
        (writer % 2 === 0 ? bench.store : bench.other).write(path, bytes(writer), { ifAbsent: true }),
      ),
    );
    const winners = outcomes.flatMap(({ status }, writer) => (status === "fulfilled" ? [writer] : []));
    for (const outcome of outcomes) {
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "already-exists" });
    }
    expect(winners).toHaveLength(1);
    return winners[0]!;
  };

  rule("of many conditional creates exactly one wins, and its bytes stay", async () => {
    for (let round = 0; round < 5; round++) {
      const winner = await race(`race/${round}`, 24, (writer) => textBytes(`writer ${writer}`));
      if (archive === undefined) expect(textOf(await bench.other.read(`race/${round}`))).toBe(`writer ${winner}`);
    }
  });

  rule("so it is with objects that are written in several parts", async () => {
    const size = 9 * 1024 * 1024;
    const winner = await race("race/large", 3, (writer) => noise(size, writer));
    if (archive === undefined)
      expect(Buffer.compare(await bench.other.read("race/large"), noise(size, winner))).toBe(0);
  });

  ruleIf(archive, "a reader sees the object before or after an overwrite, never a mixture", async () => {
    const size = 600_000;
    const full = (value: number): Uint8Array => new Uint8Array(size).fill(value);
    await bench.store.write("overwritten", full(0));
    const writing = { now: true };
    let reads = 0;
    const read = async (): Promise<void> => {
      do {
        const bytes = await bench.other.read("overwritten");
        expect(bytes.byteLength).toBe(size);
        expect(bytes.every((value) => value === bytes[0])).toBe(true);
        reads++;
      } while (writing.now);
    };
    const write = async (): Promise<void> => {
      for (let value = 1; value <= 15; value++) await bench.store.write("overwritten", full(value));
    };
    await allOf(
      read(),
      write().finally(() => (writing.now = false)),
    );
    expect(reads).toBeGreaterThan(0);
    expect((await bench.other.read("overwritten"))[0]).toBe(15);
  });

  ruleIf(
    archive,
    "an object that is replaced or removed while it is read gives the old bytes or an error",
    async () => {
      const old = noise(400_000, 1);
      for (const change of ["replaced", "removed"] as const) {
        const path = `changing/${change}`;
        await bench.store.write(path, old);
        await using file = await bench.other.open(path);
        expect(Buffer.compare(await file.read(0, 1000), old.subarray(0, 1000))).toBe(0);
        if (change === "replaced") await bench.store.write(path, noise(400_000, 2));
        else await bench.store.remove(path);
        const outcome: unknown = await file.read(200_000, 100_000).catch((error: unknown) => error);
        if (outcome instanceof Uint8Array) expect(Buffer.compare(outcome, old.subarray(200_000, 300_000))).toBe(0);
        else expect(isMillraceError(outcome) && ["conflict", "corrupt", "not-found"].includes(outcome.code)).toBe(true);
      }
    },
  );
}

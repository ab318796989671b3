import { afterAll, beforeAll, expect, test } from "vitest";
import { type Dataset, compactDataset, openCatalog, verifyDataset } from "../../src/dataset/index.ts";
import { type Workplace, closeEngine, engine, query, stage, workplace } from "./helpers.ts";

let place: Workplace;
beforeAll(async () => {
  place = await workplace();
});
afterAll(async () => {
  await closeEngine();
  await place[Symbol.asyncDispose]();
});

/** mulberry32: a small generator whose sequence is a function of the seed. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

async function contents(dataset: Dataset, number: number): Promise<number[]> {
  const rows = await query(`SELECT id FROM ${await dataset.relation(dataset.version(number))} ORDER BY id`);
  return rows.map((row) => Number(row["id"]));
}

test.each([1, 2, 3, 4, 5, 6])(
  "after any history (seed %i) and gc, every retained version has its rows",
  { timeout: 120_000 },
  async (seed) => {
    const random = generator(seed);
    const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
    let dataset = await openCatalog(place.store).create(`random${seed}`, [{ name: "id", type: "int" }]);
    /** What each version must hold, by number. */
    const model = new Map<number, number[]>();
    let next = 0;
    for (let step = 0; step < 45; step++) {
      const current = dataset.current();
      const rows = current ? model.get(current.number)! : [];
      const batch = [next++, next++];
      const file = (): ReturnType<typeof stage> => stage(dataset, `SELECT unnest([${batch.join(", ")}])::INT AS id`);
      const action = random();
      if (current === undefined || action < 0.35) {
        const version = await dataset.commit({ operation: "append", add: [await file()] });
        model.set(version.number, [...rows, ...batch]);
      } else if (action < 0.45) {
        const version = await dataset.commit({
          operation: "overwrite",
          add: [await file()],
          removeAll: true,
          base: current.number,
        });
        model.set(version.number, batch);
      } else if (action < 0.55) {
        const files = await dataset.files();
        if (files.length === 0) continue;
        const gone = pick(files);
        const read = await query(`SELECT id FROM ${await dataset.relation(undefined, [gone])}`);
        const ids = new Set(read.map((row) => Number(row["id"])));
        const version = await dataset.commit({
          operation: "delete",
          add: [],
          remove: [gone.path],
          base: current.number,
        });
        model.set(
          version.number,
          rows.filter((id) => !ids.has(id)),
        );
      } else if (action < 0.63) {
        const { version } = await compactDataset(dataset, engine, { folder: place.folder });
        if (version) model.set(version.number, rows);
      } else if (action < 0.72) {
        await dataset.tag(`tag-${step}`, pick(dataset.versions()));
      } else if (action < 0.8) {
        await dataset.rollback(pick(dataset.versions()));
      } else if (action < 0.86) {
        const removable = dataset.versions().filter((one) => one.tags.length === 0 && one.number !== current.number);
        if (removable.length > 0) await dataset.expire([pick(removable)]);
      } else if (action < 0.93) {
        await file();
        await dataset.gc({ minimumAgeMs: -60_000, keepVersions: 4, expireOlderThanMs: -60_000 });
      } else {
        dataset = await openCatalog(place.store).open(dataset.name);
      }
    }
    await dataset.gc({ minimumAgeMs: -60_000 });
    dataset = await openCatalog(place.store).open(dataset.name);
    for (const version of dataset.versions()) {
      const wanted = [...model.get(version.number)!].sort((left, right) => left - right);
      expect([version.number, await contents(dataset, version.number)]).toEqual([version.number, wanted]);
      expect(version.rows).toBe(wanted.length);
    }
    expect((await verifyDataset(dataset, engine, { deep: true })).problems).toEqual([]);
    const named = new Set<string>();
    for (const version of dataset.versions()) for (const file of await dataset.files(version)) named.add(file.path);
    const present = (await Array.fromAsync(place.store.list(`${dataset.folder}/data`))).map((entry) => entry.path);
    expect(present.sort()).toEqual([...named].sort());
  },
);

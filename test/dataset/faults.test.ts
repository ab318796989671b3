import { afterAll, beforeAll, expect, test } from "vitest";
import { type Column, MillraceError, type Store } from "../../src/core/index.ts";
import { type Dataset, openCatalog } from "../../src/dataset/index.ts";
import { type Workplace, closeEngine, append, rowsOf, stage, workplace } from "./helpers.ts";

let place: Workplace;
let count = 0;
const columns: Column[] = [{ name: "id", type: "int" }];

beforeAll(async () => {
  place = await workplace();
});
afterAll(async () => {
  await closeEngine();
  await place[Symbol.asyncDispose]();
});

const fresh = (): Promise<Dataset> => openCatalog(place.store).create(`f${count++}`, columns);

type Fault = "after" | "before" | "silent";

/** The store, but the next writes of metadata lose their reply: after or before they take effect, or with reads failing too. */
function faulty(store: Store, faults: Fault[]): Store {
  let silent = false;
  const lost = (): MillraceError => new MillraceError("timeout", "no reply", { temporary: true });
  return {
    ...store,
    async write(path, bytes, options) {
      const fault = path.endsWith(".metadata.json") ? faults.shift() : undefined;
      if (fault === undefined) return store.write(path, bytes, options);
      if (fault === "silent") silent = true;
      if (fault !== "before") await store.write(path, bytes, options);
      throw lost();
    },
    async read(path) {
      if (silent && path.endsWith(".metadata.json")) throw lost();
      return store.read(path);
    },
  };
}

test.each<[Fault[]]>([[["after"]], [["before"]], [["before", "before", "after"]], [["before", "before", "before"]]])(
  "a lost reply (%j) neither loses nor repeats the commit",
  async (faults) => {
    const { name } = await fresh();
    const dataset = await openCatalog(faulty(place.store, [...faults])).open(name);
    const file = await stage(dataset, "SELECT 1::INT AS id");
    expect((await dataset.commit({ operation: "append", add: [file] })).number).toBe(1);
    await append(dataset, "SELECT 2::INT AS id");
    const seen = await openCatalog(place.store).open(name);
    expect(seen.versions().map((version) => version.rows)).toEqual([1, 2]);
  },
);

test("when the outcome cannot be known it says so, keeps every file, and the run is recognised afterwards", async () => {
  const { name } = await fresh();
  const dataset = await openCatalog(faulty(place.store, ["silent", "silent", "silent", "silent"])).open(name);
  const file = await stage(dataset, "SELECT 1::INT AS id");
  const change = { operation: "append" as const, add: [file], runId: "unsure" };
  await expect(dataset.commit(change)).rejects.toMatchObject({ code: "unknown-outcome" });
  const seen = await openCatalog(place.store).open(name);
  expect(await rowsOf(seen)).toEqual([{ id: 1 }]);
  expect((await seen.commit(change)).number).toBe(1);
  expect(seen.versions().length).toBe(1);
});

test(
  "a writer that slept while its number was used and removed does not think it has committed",
  { timeout: 60_000 },
  async () => {
    const dataset = await fresh();
    await append(dataset, "SELECT 0::INT AS id");
    let wake: () => void = () => undefined;
    let asleep: () => void = () => undefined;
    const sleeping = new Promise<void>((resolve) => (asleep = resolve));
    const woken = new Promise<void>((resolve) => (wake = resolve));
    let slept = false;
    const drowsy: Store = {
      ...place.store,
      async write(path, bytes, options) {
        if (path.endsWith(".metadata.json") && !slept) {
          slept = true;
          asleep();
          await woken;
        }
        return place.store.write(path, bytes, options);
      },
    };
    const zombie = await openCatalog(drowsy).open(dataset.name);
    const file = await stage(zombie, "SELECT -1::INT AS id");
    const late = zombie.commit({ operation: "append", add: [file] });
    await sleeping;
    for (let index = 1; index < 135; index++) await append(dataset, `SELECT ${index}::INT AS id`);
    const reused = `${dataset.folder}/metadata/v3.metadata.json`;
    await expect(place.store.read(reused)).rejects.toMatchObject({ code: "not-found" });
    wake();
    expect((await late).number).toBe(136);
    await expect(place.store.read(reused)).rejects.toMatchObject({ code: "not-found" });
    await dataset.refresh();
    expect((await rowsOf(dataset, "ORDER BY id")).map((row) => row["id"])).toEqual(
      Array.from({ length: 136 }, (_, index) => index - 1),
    );
  },
);

test("the hint is never trusted: absent, wrong, too low, too high", async () => {
  const dataset = await fresh();
  for (let index = 0; index < 5; index++) await append(dataset, `SELECT ${index}::INT AS id`);
  const hint = `${dataset.folder}/metadata/version-hint.text`;
  for (const text of ["1", "3", "999", "nonsense", undefined]) {
    if (text === undefined) await place.store.remove(hint);
    else await place.store.write(hint, new TextEncoder().encode(text));
    expect((await openCatalog(place.store).open(dataset.name)).current()!.number).toBe(5);
    await dataset.refresh();
    expect(dataset.current()!.number).toBe(5);
  }
  await place.store.write(hint, new TextEncoder().encode("999"));
  await append(dataset, "SELECT 5::INT AS id");
  expect((await openCatalog(place.store).open(dataset.name)).current()!.number).toBe(6);
});

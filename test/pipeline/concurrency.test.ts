import { describe, expect, test } from "vitest";
import type { Lake, RunReport } from "../../src/pipeline/index.ts";
import { registryWithStore, watched } from "../support/store.ts";
import { makePlace, rowsOf, type Place } from "./place.ts";

const flow = { from: { path: "in/*.csv" }, key: ["id"] };
const changed = { ...flow, checks: [{ check: "not-null", columns: ["id"] }] };

/** A run that has staged everything and is held before it makes its version. */
interface Sleeper extends AsyncDisposable {
  lake: Lake;
  done: Promise<RunReport>;
  wake(): void;
}

async function sleepingRun(place: Place): Promise<Sleeper> {
  let wake: () => void = () => undefined;
  let fall: () => void = () => undefined;
  const asleep = new Promise<void>((resolve) => (fall = resolve));
  const woken = new Promise<void>((resolve) => (wake = resolve));
  const sleepy = registryWithStore((store) =>
    watched(store, async (call, path) => {
      if (call !== "write" || !/^people\/metadata\/v[2-9]\.metadata\.json$/.test(path)) return;
      fall();
      await woken;
    }),
  );
  const lake = await place.open({ people: flow }, { registry: sleepy });
  const done = lake.run("people");
  // It is looked at when it is awaited, which may be after it failed.
  done.catch(() => undefined);
  await Promise.race([asleep, done.then(() => Promise.reject(new Error("the run was not held")))]);
  return { lake, done, wake, [Symbol.asyncDispose]: () => lake[Symbol.asyncDispose]() };
}

async function placeWithVersion(): Promise<Place> {
  const place = await makePlace();
  await place.put("in/a.csv", ["id,name", "1,one", "2,two"]);
  await using lake = await place.open({ people: flow });
  // The metadata files of a new dataset are v1 (empty) and v2 (the first version).
  await lake.run("people");
  await lake.tag("people@1", "first");
  return place;
}

describe("a run that slept before its commit", () => {
  test("while another process ended the same plan: one version, and both say which", async () => {
    await using place = await placeWithVersion();
    await place.put("in/b.csv", ["id,name", "3,three"]);
    await using sleeper = await sleepingRun(place);
    await using lake = await place.open({ people: flow });
    expect(await lake.run("people")).toMatchObject({ status: "published", version: 2, resumed: true });
    sleeper.wake();
    expect(await sleeper.done).toMatchObject({ status: "published", version: 2 });
    expect(await rowsOf(lake, "SELECT id FROM people ORDER BY id")).toEqual([[1], [2], [3]]);
    expect((await lake.history("people")).length).toBe(2);
    expect((await lake.verify("people", { deep: true })).problems).toEqual([]);
  });

  test("while its flow was changed and published anew: the sleeper is refused, and no row is there twice", async () => {
    await using place = await placeWithVersion();
    await place.put("in/b.csv", ["id,name", "3,three"]);
    await using sleeper = await sleepingRun(place);
    await using lake = await place.open({ people: changed });
    expect(await lake.run("people")).toMatchObject({ status: "published", version: 2, resumed: false });
    sleeper.wake();
    await expect(sleeper.done).rejects.toMatchObject({ code: "conflict", hint: expect.stringContaining("run") });
    expect(await rowsOf(lake, "SELECT id FROM people ORDER BY id")).toEqual([[1], [2], [3]]);
    expect((await lake.history("people")).length).toBe(2);
    expect((await lake.verify("people", { deep: true })).problems).toEqual([]);
  });

  test("for three days beside gc: what it staged stays, and it is published", async () => {
    await using place = await placeWithVersion();
    await place.put("in/b.csv", ["id,name", "3,three"]);
    await using sleeper = await sleepingRun(place);
    await using lake = await place.open({ people: flow });
    const data = await place.dataFiles("people");
    expect(data.length).toBe(2);
    const days = 86_400_000;
    await using beside = await place.open({ people: flow });
    const [first, second] = await Promise.all([
      lake.gc("people", { now: Date.now() + 3 * days }),
      beside.gc("people", { now: Date.now() + 3 * days }),
    ]);
    const removed = [...first.removed, ...second.removed].map(({ path }) => path);
    expect(removed.filter((path) => path.includes("/data/"))).toEqual([]);
    // The manifests that the sleeper had written are gone: it has to make them anew.
    expect(removed.some((path) => path.endsWith("-m.avro"))).toBe(true);
    expect(await place.dataFiles("people")).toEqual(data);
    sleeper.wake();
    expect(await sleeper.done).toMatchObject({ status: "published", version: 2 });
    expect((await lake.verify("people", { deep: true })).problems).toEqual([]);
    expect(await rowsOf(lake, "SELECT id FROM people ORDER BY id")).toEqual([[1], [2], [3]]);
  });
});

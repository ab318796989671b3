import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { MillraceError, type Store } from "../../src/core/index.ts";
import { type Dataset, type Lease, openCatalog, verifyDataset } from "../../src/dataset/index.ts";
import { watched } from "../support/store.ts";
import { closeEngine, engine, rowsOf, stage, workplace, type Workplace } from "./helpers.ts";
import { s3Workplace } from "./s3-place.ts";

afterAll(closeEngine);
afterEach(() => void vi.useRealTimers());

/** Each row in a file of its own: version 1 holds what no later version does. */
async function freshDataset(store: Store, name: string): Promise<void> {
  const dataset = await openCatalog(store).create(name, [{ name: "id", type: "int" }]);
  await dataset.commit({ operation: "append", add: [await stage(dataset, "SELECT 1::INT AS id")] });
  const base = dataset.current()!.number;
  const add = [await stage(dataset, "SELECT 2::INT AS id")];
  await dataset.commit({ operation: "overwrite", add, removeAll: true, base });
}

/** The store, but `action` runs before its `at`-th call, counted from 1. `only`: of those whose path has this in it. */
function interrupted(
  store: Store,
  at: number,
  action: () => Promise<void>,
  only = "",
): { store: Store; calls: () => number } {
  let calls = 0;
  const before = async (path: string): Promise<void> => {
    if (path.includes(only) && ++calls === at) await action();
  };
  const wrapped = watched(store, (_, path) => before(path), before);
  return {
    store: {
      ...wrapped,
      async *list(prefix) {
        await before(prefix);
        yield* store.list(prefix);
      },
    },
    calls: () => calls,
  };
}

/** All that may go goes: everything is old, and the current version is enough. */
const sweep = (dataset: Dataset, now?: number): ReturnType<Dataset["gc"]> =>
  dataset.gc({ keepVersions: 1, expireOlderThanMs: -60_000, minimumAgeMs: -60_000, ...(now && { now }) });

/** The lease of version 1; undefined when it was refused. */
async function tryLease(dataset: Dataset): Promise<Lease | undefined> {
  try {
    return await dataset.lease(dataset.version(1), "feed");
  } catch (error) {
    expect(error).toMatchObject({ code: "not-found" });
    return undefined;
  }
}

const idsOf = async (dataset: Dataset, version: number): Promise<unknown[]> =>
  (await rowsOf(dataset, "", dataset.version(version))).map(({ id }) => id);

/** gc with the lease taken before one of its calls of the store. Says whether the lease was granted, and what of version 1 is gone. */
async function leasedDuring(
  place: Workplace,
  name: string,
  at: number,
  { only = "", gcStore = (store: Store): Store => store } = {},
): Promise<{ reached: boolean; granted: boolean; missing: string[] }> {
  await freshDataset(place.store, name);
  // The reader knows the dataset from before, as one does that resolved a reference and goes on.
  const reader = await openCatalog(place.store).open(name);
  const files = await reader.files(reader.version(1));
  let lease: Lease | undefined;
  const { store, calls } = interrupted(
    gcStore(place.store),
    at,
    async () => void (lease = await tryLease(reader)),
    only,
  );
  await sweep(await openCatalog(store).open(name));
  const missing: string[] = [];
  for (const { path } of lease === undefined ? [] : files) await place.store.open(path).catch(() => missing.push(path));
  if (lease !== undefined && missing.length === 0) expect(await idsOf(reader, 1)).toEqual([1]);
  await lease?.[Symbol.asyncDispose]();
  const after = await openCatalog(place.store).open(name);
  expect(await idsOf(after, 2)).toEqual([2]);
  expect((await verifyDataset(after, engine, { deep: true })).problems).toEqual([]);
  // When the lease has ended nothing of the version stays.
  await sweep(after);
  for (const { path } of files) await expect(place.store.open(path)).rejects.toMatchObject({ code: "not-found" });
  expect(await Array.fromAsync(place.store.list(`${name}/leases`))).toEqual([]);
  return { reached: calls() >= at, granted: lease !== undefined, missing };
}

describe("a lease and a gc that begin at the same moment", () => {
  let place: Workplace;
  beforeAll(async () => {
    place = await workplace();
  });
  afterAll(() => place[Symbol.asyncDispose]());

  test("wherever in a gc a version is leased, it is refused or all its files stay", async () => {
    let [granted, refused] = [0, 0];
    for (let at = 1; ; at++) {
      const outcome = await leasedDuring(place, `gc${at}`, at);
      if (!outcome.reached) break;
      expect(outcome.missing, `at call ${at}`).toEqual([]);
      if (outcome.granted) granted++;
      else refused++;
    }
    expect(granted).toBeGreaterThan(3);
    expect(refused).toBeGreaterThan(3);
  });

  test("wherever in taking a lease a gc comes between, it is refused or the rows can be read", async () => {
    let [granted, refused] = [0, 0];
    for (let at = 1; ; at++) {
      const name = `lease${at}`;
      await freshDataset(place.store, name);
      const collector = await openCatalog(place.store).open(name);
      const { store, calls } = interrupted(place.store, at, async () => void (await sweep(collector)), `${name}/`);
      const resolved = await openCatalog(store)
        .open(name)
        .then((dataset) => ({ dataset, version: dataset.version(1) }))
        .catch(() => undefined);
      const lease = resolved && (await tryLease(resolved.dataset));
      if (resolved === undefined || lease === undefined) refused++;
      else {
        granted++;
        expect(await idsOf(resolved.dataset, 1), `at call ${at}`).toEqual([1]);
        await lease[Symbol.asyncDispose]();
      }
      if (calls() < at) break;
    }
    expect(granted).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(0);
  });

  test("a gc that looks at the leases before its commit only removes files that are read, which the sweep would see", async () => {
    let lost = 0;
    for (let at = 1; lost === 0; at++) {
      let looks = 0;
      const gcStore = (store: Store): Store => ({
        ...store,
        async *list(prefix) {
          const blind = prefix.endsWith("/leases") && looks++ > 0;
          for await (const entry of store.list(prefix)) if (!blind || !entry.path.endsWith(".json")) yield entry;
        },
      });
      const outcome = await leasedDuring(place, `mutant${at}`, at, { gcStore });
      expect(outcome.reached).toBe(true);
      lost += outcome.missing.length;
    }
  });
});

describe.each([
  ["fs", workplace],
  ["s3", s3Workplace],
])("leases on %s", (_name, open) => {
  let place: Workplace;
  beforeAll(async () => {
    place = await open();
  });
  afterAll(() => place[Symbol.asyncDispose]());

  test("a version that is read neither expires nor loses files, until the lease ends", async () => {
    await freshDataset(place.store, "read");
    const reader = await openCatalog(place.store).open("read");
    const lease = await reader.lease(reader.version(1), "feed");
    const collector = await openCatalog(place.store).open("read");
    const report = await sweep(collector);
    expect(report).toMatchObject({ expired: [], leased: [{ version: 1, by: "feed", pid: process.pid }] });
    expect(await idsOf(collector, 1)).toEqual([1]);
    await lease[Symbol.asyncDispose]();
    expect(await sweep(collector)).toMatchObject({ expired: [1], leased: [] });
    expect(await Array.fromAsync(place.store.list("read/leases"))).toEqual([]);
  });

  test("taken in the middle of a gc, between its commit and its removals too", async () => {
    // Listing the leases, writing metadata, removing files.
    for (const [index, [only, at]] of (
      [
        ["/leases", 1],
        ["metadata.json", 2],
        ["/leases", 2],
        ["/data/", 1],
      ] as const
    ).entries()) {
      const outcome = await leasedDuring(place, `middle${index}`, at, { only });
      expect(outcome).toMatchObject({ reached: true, missing: [] });
    }
  });

  test("of a process that is dead ends by itself, by the clock of the store, and is taken away", async () => {
    await freshDataset(place.store, "dead");
    const reader = await openCatalog(place.store).open("dead");
    vi.useFakeTimers({ toFake: ["setInterval"] });
    await reader.lease(reader.version(1), "feed", { ttlMs: 3_600_000 });
    const collector = await openCatalog(place.store).open("dead");
    // The clock of the machine that collects is wrong by days; that of the store is not.
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3 * 86_400_000 });
    expect(await sweep(collector)).toMatchObject({ expired: [], leased: [{ version: 1 }] });
    vi.useRealTimers();
    expect(await sweep(collector, Date.now() + 3_500_000)).toMatchObject({ expired: [] });
    expect(await Array.fromAsync(place.store.list("dead/leases"))).toHaveLength(1);
    expect(await sweep(collector, Date.now() + 3_700_000)).toMatchObject({ expired: [1], leased: [] });
    expect(await Array.fromAsync(place.store.list("dead/leases"))).toEqual([]);
  });

  test("is renewed while it is held, and not when its time ran out unseen", async () => {
    await freshDataset(place.store, "renewed");
    const writes: string[] = [];
    let wrote: () => void = () => undefined;
    const store = watched(place.store, (call, path) => {
      if (call !== "write" || !path.includes("/leases/")) return;
      writes.push(path);
      if (writes.length >= 3) wrote();
    });
    const reader = await openCatalog(store).open("renewed");
    const renewedTwice = new Promise<void>((resolve) => (wrote = resolve));
    await using lease = await reader.lease(reader.version(1), "feed", { ttlMs: 3000 });
    void lease;
    vi.useFakeTimers({ toFake: ["setInterval"] });
    await using other = await reader.lease(reader.version(1), "feed", { ttlMs: 90 * 60_000 });
    void other;
    vi.useRealTimers();
    await renewedTwice;
    expect(new Set(writes).size).toBe(2);
  });
});

test("a store that cannot be written to is read without a lease, which says why; a lease that is damaged stops gc", async () => {
  await using place = await workplace();
  await freshDataset(place.store, "t");
  const refusal = new MillraceError("permission", "read-only");
  const refusing = watched(place.store, (call) => {
    if (call === "write") throw refusal;
  });
  const reader = await openCatalog(refusing).open("t");
  await using lease = await reader.lease(reader.version(1), "feed");
  expect(lease.missing).toBe(refusal);
  await place.store.write("t/leases/damaged.json", new TextEncoder().encode("{"));
  const collector = await openCatalog(place.store).open("t");
  await expect(sweep(collector)).rejects.toMatchObject({
    code: "corrupt",
    message: expect.stringContaining("damaged"),
  });
  expect(collector.versions()).toHaveLength(2);
});

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Dataset, openCatalog, verifyDataset } from "../../src/dataset/index.ts";
import { type Operation, conflictTable, operations, outcomeOf } from "./conflicts.ts";
import { type Contender, baseIds, erasedId, freshDataset, heldStore, perform, rollbackIds } from "./contenders.ts";
import { s3Workplace } from "./s3-place.ts";
import { type Workplace, closeEngine, engine, rowsOf, stage, workplace } from "./helpers.ts";

/** Stores on which the suite runs. */
const names = Object.keys(operations) as Operation[];
/** Where each request is a round trip and times are whole seconds, one of each kind comes in between. */
const places: [name: string, open: () => Promise<Workplace>, seconds: Operation[]][] = [
  ["fs", workplace, names],
  ["s3", s3Workplace, ["append", "merge", "gc"]],
];

afterAll(closeEngine);

/** Ids of the current version after an operation that succeeded; what was erased is left out at the end. */
function after(operation: Operation, ids: readonly number[], added: readonly number[]): number[] {
  if (operation === "replace") return [...added];
  if (operation === "rollback") return [...rollbackIds];
  return [...ids, ...added];
}

describe.each(places)("two operations at once on %s", (_name, open, seconds) => {
  let place: Workplace;
  beforeAll(async () => {
    place = await open();
  });
  afterAll(() => place[Symbol.asyncDispose]());

  describe.each(names)("%s is held before it commits", (first) => {
    test.each(seconds)("while %s goes through", async (second) => {
      const name = `${first}_${second}`;
      const { lastModified } = await freshDataset(place, name);
      const outcome = outcomeOf(first, second);
      const hold = heldStore(place.store, first);
      const early = await openCatalog(hold.store).open(name);
      const late = await openCatalog(place.store).open(name);
      const firstDone = settle(perform(first, place, early, 101, lastModified));
      await Promise.race([
        hold.held,
        firstDone.then(({ error }) => Promise.reject(error ?? new Error("was not held"))),
      ]);
      const secondResult = await settle(perform(second, place, late, 102, lastModified));
      hold.release();
      const firstResult = await firstDone;

      const refused: Settled[] = { both: [], late: [firstResult], early: [secondResult] }[outcome];
      for (const result of [firstResult, secondResult]) {
        if (!refused.includes(result)) {
          expect(result.error).toBeUndefined();
          continue;
        }
        expect(["conflict", "not-found"]).toContain(result.error?.code);
        expect(result.error!.message).toMatch(/version \d|@\d|erase|erasure|columns/);
        expect(result.error!.hint).toBeTruthy();
      }

      const dataset = await openCatalog(place.store).open(name);
      let ids = [...baseIds];
      if (secondResult.value) ids = after(second, ids, secondResult.value.added);
      if (firstResult.value) ids = after(first, ids, firstResult.value.added);
      if (first === "erase" || second === "erase") ids = ids.filter((id) => id !== erasedId);
      expect(await idsOf(dataset)).toEqual(ids.sort((left, right) => left - right));
      await expectSound(dataset, [firstResult.value, secondResult.value]);
      expect(dataset.erasures().pending).toBeUndefined();
      // What succeeded did something: files went, versions expired.
      const succeeded = [...(firstResult.value ? [first] : []), ...(secondResult.value ? [second] : [])];
      if (succeeded.includes("gc") || succeeded.includes("erase")) {
        expect(await unnamedBefore(place, dataset, lastModified)).toEqual([]);
      }
      if (succeeded.includes("expire")) expect(dataset.versions().some(({ number }) => number === 3)).toBe(false);
    });
  });

  test("a store whose conditional create is none loses a commit, which the suite would see", async () => {
    const { lastModified } = await freshDataset(place, "mutant");
    const hold = heldStore({ ...place.store, write: (path, bytes) => place.store.write(path, bytes) }, "append");
    const early = await openCatalog(hold.store).open("mutant");
    const firstDone = settle(perform("append", place, early, 101, lastModified));
    await hold.held;
    const late = await openCatalog(place.store).open("mutant");
    expect((await settle(perform("append", place, late, 102, lastModified))).error).toBeUndefined();
    hold.release();
    expect((await firstDone).error).toBeUndefined();
    expect(await idsOf(await openCatalog(place.store).open("mutant"))).toEqual([...baseIds, 101]);
  });

  test("8 writers of one process append at once: one line of versions, nothing lost, nothing twice", async () => {
    const { name } = await openCatalog(place.store).create("eight", [{ name: "id", type: "int" }]);
    const acknowledged: { id: number; version: number }[] = [];
    await Promise.all(
      Array.from({ length: 8 }, async (_, writer) => {
        const dataset = await openCatalog(place.store).open(name);
        for (let index = 0; index < 10; index++) {
          const id = writer * 100 + index;
          const file = await stage(dataset, `SELECT ${id}::INT AS id`);
          const version = await dataset.commit({ operation: "append", add: [file], runId: `run-${id}` });
          acknowledged.push({ id, version: version.number });
        }
      }),
    );
    const dataset = await openCatalog(place.store).open(name);
    expect(dataset.versions().map((version) => version.number)).toEqual(Array.from({ length: 80 }, (_, i) => i + 1));
    expect(dataset.versions().every((version) => version.current)).toBe(true);
    for (const { id, version } of acknowledged) expect(dataset.versionOfRun(`run-${id}`)?.number).toBe(version);
    expect(await idsOf(dataset)).toEqual(acknowledged.map(({ id }) => id).sort((left, right) => left - right));
    expect((await verifyDataset(dataset, engine, { deep: true })).problems).toEqual([]);
  });

  test("gc beside a writer that staged hours ago removes nothing of its", async () => {
    const { lastModified } = await freshDataset(place, "slow");
    const slow = await openCatalog(place.store).open("slow");
    const file = await stage(slow, "SELECT 50::INT AS id, 'slow' AS made_by");
    const other = await openCatalog(place.store).open("slow");
    const hours = 3_600_000;
    // Both files that no version names are 23 hours old by this clock, then the older one is 25.
    expect((await other.gc({ now: lastModified + 23 * hours })).removed).toEqual([]);
    await slow.commit({ operation: "append", add: [file] });
    const swept = await other.gc({ now: Date.now() + 25 * hours });
    expect(swept.removed.map(({ path }) => path.split("/")[1])).toEqual(["data"]);
    expect(await idsOf(await openCatalog(place.store).open("slow"))).toEqual([...baseIds, 50]);
    expect((await verifyDataset(slow, engine, { deep: true })).problems).toEqual([]);
  });
});

test("the guide shows the table that is asserted here", async () => {
  const file = join(import.meta.dirname, "../../docs/guide/concurrency.md");
  const text = await readFile(file, "utf8");
  const shown = text.replace(/(<!-- table -->)[^]*(<!-- \/table -->)/, `$1\n\n${conflictTable()}\n\n$2`);
  if (process.env["UPDATE_GUIDE"] !== undefined) await writeFile(file, shown);
  else expect(text).toBe(shown);
  expect(shown).toContain(conflictTable());
});

type Settled = { value?: Contender; error?: { code: string; message: string; hint?: string } };

function settle(promise: Promise<Contender>): Promise<Settled> {
  return promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error: error as NonNullable<Settled["error"]> }),
  );
}

async function idsOf(dataset: Dataset): Promise<number[]> {
  return (await rowsOf(dataset, "ORDER BY id")).map((row) => Number(row["id"]));
}

/** Numbers ascend, each acknowledged version is there with its rows, and every retained file is undamaged. */
async function expectSound(dataset: Dataset, contenders: readonly (Contender | undefined)[]): Promise<void> {
  const versions = dataset.versions();
  const numbers = versions.map((version) => version.number);
  expect(numbers).toEqual([...new Set(numbers)].sort((left, right) => left - right));
  for (const contender of contenders) {
    if (contender?.version === undefined || !numbers.includes(contender.version)) continue;
    const rows = await rowsOf(dataset, "", dataset.version(contender.version));
    expect(rows.map((row) => Number(row["id"]))).toEqual(expect.arrayContaining(contender.added));
  }
  const made = contenders.flatMap((contender) => contender?.version ?? []);
  expect(new Set(made).size).toBe(made.length);
  for (const version of versions) expect((await rowsOf(dataset, "", version)).length).toBe(version.rows);
  expect((await verifyDataset(dataset, engine, { deep: true })).problems).toEqual([]);
}

/** Data files of no version that were old already when the operations began. */
async function unnamedBefore(place: Workplace, dataset: Dataset, moment: number): Promise<string[]> {
  const named = new Set<string>();
  for (const version of dataset.versions()) for (const file of await dataset.files(version)) named.add(file.path);
  const entries = await Array.fromAsync(place.store.list(`${dataset.folder}/data`));
  return entries.filter((entry) => entry.modified < moment && !named.has(entry.path)).map((entry) => entry.path);
}

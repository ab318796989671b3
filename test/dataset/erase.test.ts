import { afterAll, beforeAll, expect, test } from "vitest";
import { type Dataset, abandonErasure, eraseRows, openCatalog, verifyDataset } from "../../src/dataset/index.ts";
import { type Workplace, append, closeEngine, engine, rowsOf, workplace } from "./helpers.ts";

let place: Workplace;
beforeAll(async () => {
  place = await workplace();
});
afterAll(async () => {
  await closeEngine();
  await place[Symbol.asyncDispose]();
});

async function numbers(name: string): Promise<Dataset> {
  const dataset = await openCatalog(place.store).create(name, [{ name: "id", type: "int" }]);
  await append(dataset, "SELECT range::INT AS id FROM range(5)");
  await append(dataset, "SELECT range::INT AS id FROM range(5, 10)");
  const [file] = await dataset.files();
  await dataset.commit({ operation: "delete", add: [], remove: [file!.path], base: 2 });
  return dataset;
}

const erasing = (dataset: Dataset, where: string): ReturnType<typeof eraseRows> =>
  eraseRows(dataset, engine, { where, predicate: where, by: "test", folder: place.folder });

async function erase(dataset: Dataset, where: string): Promise<void> {
  const steps = erasing(dataset, where);
  await steps.begin();
  await steps.apply();
  await steps.sweep();
  await steps.finish();
}

test("every row of every version may go; the versions stay, and the dataset takes rows again", async () => {
  const dataset = await numbers("all");
  await erase(dataset, "true");
  expect(dataset.versions().map(({ number, rows, files }) => [number, rows, files])).toEqual([
    [1, 0, 0],
    [2, 0, 0],
    [3, 0, 0],
  ]);
  expect((await Array.fromAsync(place.store.list("all/data"))).length).toBe(0);
  await append(dataset, "SELECT 77::INT AS id");
  const reopened = await openCatalog(place.store).open("all");
  expect(await rowsOf(reopened)).toEqual([{ id: 77 }]);
  expect(await rowsOf(reopened, "", reopened.version(2))).toEqual([]);
  expect((await verifyDataset(reopened, engine, { deep: true })).problems).toEqual([]);
});

test("a reader that opened the dataset before is told so, and reads every version once it looks again", async () => {
  const dataset = await numbers("read");
  const reader = await openCatalog(place.store).open("read");
  await erase(dataset, "id = 7");
  await expect(reader.files(reader.version(2))).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining("rows were erased"),
    temporary: true,
  });
  await reader.refresh();
  expect((await rowsOf(reader, "ORDER BY id", reader.version(2))).map((row) => row["id"])).toEqual([
    0, 1, 2, 3, 4, 5, 6, 8, 9,
  ]);
});

test("an erasure that is given up opens the dataset again, and says so", async () => {
  const dataset = await numbers("abandoned");
  const steps = erasing(dataset, "id = 1");
  const id = await steps.begin();
  await expect(append(dataset, "SELECT 77::INT AS id")).rejects.toMatchObject({ code: "conflict" });
  await expect(erasing(dataset, "id = 2").begin()).rejects.toMatchObject({ code: "conflict" });
  const other = await openCatalog(place.store).open("abandoned");
  expect(await abandonErasure(other)).toMatchObject({ id });
  expect(await abandonErasure(other)).toBeUndefined();
  await expect(steps.apply()).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining("given up"),
  });
  await append(other, "SELECT 77::INT AS id");
  expect(other.erasures()).toMatchObject({ epoch: 1, done: [{ id, rows: 0, versions: [] }] });
  expect(other.erasures().done[0]!.finished).toBeUndefined();
});

test("a predicate that says something else each time it is asked changes nothing", async () => {
  let refused = 0;
  // Two draws over so many rows agree in their number once in 500 times, so that three refusals in a row are not certain; one is.
  for (const name of ["random_a", "random_b", "random_c"]) {
    const dataset = await openCatalog(place.store).create(name, [{ name: "id", type: "int" }]);
    await append(dataset, "SELECT range::INT AS id FROM range(100000)");
    const steps = erasing(dataset, "random() < 0.5");
    await steps.begin();
    const error: unknown = await steps.apply().catch((thrown: unknown) => thrown);
    if (error === undefined) continue;
    expect(error).toMatchObject({ code: "corrupt" });
    refused++;
    await dataset.refresh();
    expect((await rowsOf(dataset, "WHERE id % 1000 = 0")).length).toBe(100);
  }
  expect(refused).toBeGreaterThan(0);
});

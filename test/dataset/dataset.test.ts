import { writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Column } from "../../src/core/index.ts";
import {
  type Dataset,
  compactDataset,
  diffVersions,
  mergeChange,
  openCatalog,
  verifyDataset,
} from "../../src/dataset/index.ts";
import { type Workplace, closeEngine, append, engine, query, rowsOf, stage, workplace } from "./helpers.ts";

let place: Workplace;
let count = 0;
const columns: Column[] = [
  { name: "id", type: "int", required: true },
  { name: "name", type: "string" },
];
const numbers = (from: number, to: number): string =>
  `SELECT range::INT AS id, 'n' || range AS name FROM range(${from}, ${to})`;

beforeAll(async () => {
  place = await workplace();
});
afterAll(async () => {
  await closeEngine();
  await place[Symbol.asyncDispose]();
});

const fresh = (of: readonly Column[] = columns): Promise<Dataset> => openCatalog(place.store).create(`d${count++}`, of);
const ids = async (dataset: Dataset, reference?: number | string): Promise<number[]> =>
  (await rowsOf(dataset, "ORDER BY id", dataset.version(reference))).map((row) => Number(row["id"]));

describe("catalog", () => {
  test("creates once, lists, and says what is near", async () => {
    const catalog = openCatalog(place.store);
    await catalog.create("customers", columns);
    await expect(catalog.create("customers", columns)).rejects.toMatchObject({ code: "already-exists" });
    await expect(catalog.open("custmers")).rejects.toMatchObject({
      code: "not-found",
      hint: "did you mean `customers`?",
    });
    await expect(catalog.create("../evil", columns)).rejects.toMatchObject({ code: "usage" });
    expect(await catalog.list()).toContain("customers");
    expect(await catalog.exists("customers")).toBe(true);
    expect(await catalog.exists("nobody")).toBe(false);
    const racers = await Promise.allSettled(Array.from({ length: 5 }, () => catalog.create("raced", columns)));
    expect(racers.filter((racer) => racer.status === "fulfilled").length).toBe(1);
  });

  test("an empty dataset has typed columns and no rows", async () => {
    const dataset = await fresh();
    expect(dataset.current()).toBeUndefined();
    expect(await query(`DESCRIBE SELECT * FROM ${await dataset.relation()}`)).toMatchObject([
      { column_name: "id", column_type: "INTEGER" },
      { column_name: "name", column_type: "VARCHAR" },
    ]);
    expect(() => dataset.version()).toThrow(/no version yet/);
  });
});

describe("commit", () => {
  test("the same run twice is one version, and the cursor goes with it", async () => {
    const dataset = await fresh();
    const file = await stage(dataset, numbers(0, 10));
    const change = {
      operation: "append" as const,
      add: [file],
      runId: "run-1",
      summary: { "millrace.cursor.flow": '{"at":7}' },
    };
    const version = await dataset.commit({ ...change, expectCursor: { flow: "flow", cursor: null } });
    const again = await dataset.commit({ ...change, expectCursor: { flow: "flow", cursor: null } });
    expect(again.snapshotId).toBe(version.snapshotId);
    expect(dataset.versions().length).toBe(1);
    expect(dataset.cursor("flow")).toEqual({ at: 7 });
    expect(dataset.versionOfRun("run-1")?.number).toBe(1);
    await append(dataset, numbers(10, 11));
    expect(dataset.cursor("flow")).toEqual({ at: 7 });
    await expect(
      dataset.commit({ operation: "append", add: [], expectCursor: { flow: "flow", cursor: { at: 6 } } }),
    ).rejects.toMatchObject({ code: "conflict" });
    expect(dataset.versions().length).toBe(2);
  });

  test("a long cursor lies beside the metadata and survives reopening and gc", async () => {
    const dataset = await fresh();
    const cursor = { files: Array.from({ length: 500 }, (_, index) => `file-${index}.csv`) };
    await dataset.commit({
      operation: "append",
      add: [],
      summary: { "millrace.cursor.files": JSON.stringify(cursor) },
    });
    await dataset.gc({ minimumAgeMs: -60_000 });
    const reopened = await openCatalog(place.store).open(dataset.name);
    expect(reopened.cursor("files")).toEqual(cursor);
    expect(JSON.stringify(reopened.current()!.summary).length).toBeLessThan(1000);
    await append(reopened, numbers(0, 1));
    await dataset.refresh();
    expect(dataset.cursor("files")).toEqual(cursor);
  });

  test("an append over an append is rebased; whatever removes files conflicts", async () => {
    const first = await fresh();
    await append(first, numbers(0, 5));
    const second = await openCatalog(place.store).open(first.name);
    await append(first, numbers(5, 10));
    await append(second, numbers(10, 15));
    await first.refresh();
    expect(await ids(first)).toEqual(Array.from({ length: 15 }, (_, index) => index));
    const replacement = await stage(second, numbers(100, 101));
    const change = { operation: "overwrite" as const, add: [replacement], removeAll: true, base: 2 };
    await expect(second.commit(change)).rejects.toMatchObject({ code: "conflict", hint: "run again" });
    await second.commit({ ...change, base: 3 });
    expect(await ids(second)).toEqual([100]);
    const [file] = await second.files(second.version(3));
    await expect(second.commit({ operation: "delete", add: [], remove: [file!.path], base: 4 })).rejects.toMatchObject({
      code: "conflict",
    });
    await expect(second.commit({ operation: "delete", add: [], removeAll: true })).rejects.toMatchObject({
      code: "usage",
    });
  });

  test("a staged file that is absent or cut is not committed", async () => {
    const dataset = await fresh();
    const file = await stage(dataset, numbers(0, 5));
    await expect(
      dataset.commit({ operation: "append", add: [{ ...file, path: `${dataset.folder}/data/absent.parquet` }] }),
    ).rejects.toMatchObject({ code: "corrupt" });
    await expect(
      dataset.commit({ operation: "append", add: [{ ...file, bytes: file.bytes + 1 }] }),
    ).rejects.toMatchObject({
      code: "corrupt",
    });
    expect(dataset.versions()).toEqual([]);
  });

  test("removing some files keeps the others, and totals follow", async () => {
    const dataset = await fresh();
    const one = await stage(dataset, numbers(0, 5));
    const two = await stage(dataset, numbers(5, 12));
    await dataset.commit({ operation: "append", add: [one, two] });
    const version = await dataset.commit({ operation: "delete", add: [], remove: [one.path], base: 1 });
    expect(version).toMatchObject({ number: 2, rows: 7, files: 1, bytes: two.bytes });
    expect(await ids(dataset)).toEqual([5, 6, 7, 8, 9, 10, 11]);
    expect(await ids(dataset, 1)).toHaveLength(12);
    expect((await verifyDataset(dataset, engine, { deep: true })).problems).toEqual([]);
  });

  test("many commits merge their manifests and expire beyond the limit, tags excepted", async () => {
    const dataset = await fresh();
    const file = await stage(dataset, numbers(0, 1));
    const bytes = await place.store.read(file.path);
    await dataset.commit({ operation: "append", add: [file] });
    await dataset.tag("first", dataset.version(1));
    for (let index = 1; index < 620; index++) {
      const path = `${dataset.folder}/data/copy-${index}.parquet`;
      await writeFile(place.store.local!(path), bytes);
      await dataset.commit({ operation: "append", add: [{ ...file, path }] });
    }
    const versions = dataset.versions();
    expect(versions.length).toBe(500);
    expect(versions[0]).toMatchObject({ number: 1, tags: ["first"], current: true });
    expect(dataset.current()).toMatchObject({ number: 620, rows: 620, files: 620 });
    expect((await dataset.files()).length).toBe(620);
    const lists = (await Array.fromAsync(place.store.list(`${dataset.folder}/metadata`))).map((entry) => entry.path);
    expect(lists.filter((path) => /v\d+\.metadata\.json$/.test(path)).length).toBeLessThan(145);
    const reopened = await openCatalog(place.store).open(dataset.name);
    expect(reopened.current()!.number).toBe(620);
    const report = await reopened.gc({ minimumAgeMs: -60_000 });
    expect(report.removed.length).toBeGreaterThan(100);
    expect((await verifyDataset(reopened, engine)).problems).toEqual([]);
    expect(Number((await query(`SELECT count(*) AS n FROM ${await reopened.relation()}`))[0]!["n"])).toBe(620);
  });
});

describe("schema", () => {
  test("adds, widens, renames, keeps what is missing as optional", async () => {
    const dataset = await fresh();
    await append(dataset, numbers(0, 2));
    const { columns: next, changed } = dataset.evolve(
      [
        { name: "id", type: "long", required: true },
        { name: "title", renamedFrom: "name", type: "string" },
        { name: "at", type: { type: "struct", fields: [{ name: "x", type: "float" }] } },
      ],
      "evolve",
    );
    expect(changed).toBe(true);
    expect(next.map((column) => [column.id, column.name])).toEqual([
      [1, "id"],
      [2, "title"],
      [3, "at"],
    ]);
    await append(dataset, "SELECT 3000000000 AS id, 'big' AS title, {x: 1.5::FLOAT} AS at", next);
    expect(await rowsOf(dataset, "ORDER BY id")).toEqual([
      { id: "0", title: "n0", at: null },
      { id: "1", title: "n1", at: null },
      { id: "3000000000", title: "big", at: { x: 1.5 } },
    ]);
    const narrow = dataset.evolve([{ name: "id", type: "int", required: true }], "evolve");
    expect(narrow.changed).toBe(false);
    await dataset.alter(dataset.columns().filter((column) => column.name !== "title"));
    expect(Object.keys((await rowsOf(dataset))[0]!)).toEqual(["id", "at"]);
    expect(Object.keys((await rowsOf(dataset, "", dataset.version(1)))[0]!)).toEqual(["id", "name"]);
    const back = dataset.evolve([...dataset.columns(), { name: "title", type: "string" }], "evolve");
    expect(back.columns.at(-1)).toMatchObject({ name: "title", id: 5 });
  });

  test("what does not fit names column, types and setting", async () => {
    const dataset = await fresh();
    expect(() => dataset.evolve([{ name: "name", type: "int" }], "evolve")).toThrow(
      /`name` is `string`, and what comes is `int`/,
    );
    expect(() => dataset.evolve([{ name: "extra", type: "int" }], "reject")).toThrow(/`extra` of type `int` is new/);
    expect(() => dataset.evolve([{ name: "id", type: "long" }], "freeze")).toThrow(
      /frozen as `int`, and what comes is `long`/,
    );
    expect(() => dataset.evolve([{ name: "id", type: "int" }], "reject")).toThrow(/`name` is missing/);
    expect(() => dataset.evolve([{ name: "ID", type: "int" }, ...columns], "evolve")).toThrow(/two columns/);
    const frozen = dataset.evolve([...columns, { name: "extra", type: "int" }], "freeze");
    expect(frozen).toMatchObject({ changed: false, columns: [{ name: "id" }, { name: "name" }] });
    await expect(
      dataset.alter(dataset.columns().map((column) => (column.name === "id" ? { ...column, type: "string" } : column))),
    ).rejects.toMatchObject({ code: "schema" });
  });

  test("two runs that evolve at once: the second conflicts instead of sharing an id", async () => {
    const first = await fresh();
    const second = await openCatalog(place.store).open(first.name);
    const left = first.evolve([...columns, { name: "left", type: "int" }], "evolve");
    const right = second.evolve([...columns, { name: "right", type: "string" }], "evolve");
    await first.commit({ operation: "append", add: [], columns: left.columns });
    await expect(second.commit({ operation: "append", add: [], columns: right.columns })).rejects.toMatchObject({
      code: "conflict",
    });
    await expect(
      second.commit({ operation: "append", add: [], columns: JSON.parse(JSON.stringify(right.columns)) as Column[] }),
    ).rejects.toMatchObject({ code: "schema" });
  });
});

describe("history", () => {
  test("tags, rollback, expire", async () => {
    const dataset = await fresh();
    for (let index = 0; index < 4; index++) await append(dataset, numbers(index, index + 1));
    await dataset.tag("gold", dataset.version(2));
    await dataset.tag("gold", dataset.version(2));
    await expect(dataset.tag("gold", dataset.version(3))).rejects.toMatchObject({ code: "already-exists" });
    await expect(dataset.tag("12", dataset.version(3))).rejects.toMatchObject({ code: "usage" });
    expect(dataset.version("gold").number).toBe(2);
    expect(() => dataset.version("glod")).toThrow(/no version `glod`/);
    await dataset.rollback(dataset.version("gold"));
    expect(await ids(dataset)).toEqual([0, 1]);
    expect(dataset.versions().map((version) => version.current)).toEqual([true, true, false, false]);
    await append(dataset, numbers(9, 10));
    expect(dataset.current()!.number).toBe(5);
    expect(await ids(dataset)).toEqual([0, 1, 9]);
    expect(await ids(dataset, 4)).toEqual([0, 1, 2, 3]);
    await expect(dataset.expire([dataset.version("gold")])).rejects.toMatchObject({ code: "conflict" });
    await expect(dataset.expire([dataset.version()])).rejects.toMatchObject({ code: "conflict" });
    await dataset.expire([dataset.version(1), dataset.version(3)]);
    expect(dataset.versions().map((version) => [version.number, version.current])).toEqual([
      [2, true],
      [4, false],
      [5, true],
    ]);
    await dataset.untag("gold");
    await expect(dataset.untag("gold")).rejects.toMatchObject({ code: "not-found" });
    const report = await dataset.gc({ minimumAgeMs: -60_000, keepVersions: 1, expireOlderThanMs: -60_000 });
    expect(report.expired).toEqual([2, 4]);
    expect(await ids(dataset)).toEqual([0, 1, 9]);
  });

  test("gc keeps what is young or protected, says what it would do, and stops at what it cannot read", async () => {
    const dataset = await fresh();
    await append(dataset, numbers(0, 3));
    const orphan = await stage(dataset, numbers(3, 4));
    expect((await dataset.gc()).removed).toEqual([]);
    expect((await dataset.gc({ minimumAgeMs: -60_000, protect: (path) => path === orphan.path })).removed).toEqual([]);
    const dry = await dataset.gc({ minimumAgeMs: -60_000, dryRun: true });
    expect(dry.removed.map((entry) => entry.path)).toEqual([orphan.path]);
    await place.store.read(orphan.path);
    const manifest = (await Array.fromAsync(place.store.list(`${dataset.folder}/metadata`))).find((entry) =>
      entry.path.endsWith("-m.avro"),
    )!;
    const bytes = await place.store.read(manifest.path);
    await place.store.remove(manifest.path);
    const reopened = await openCatalog(place.store).open(dataset.name);
    await expect(reopened.gc({ minimumAgeMs: -60_000 })).rejects.toMatchObject({ code: "corrupt" });
    await place.store.read(orphan.path);
    await place.store.write(manifest.path, bytes);
    expect((await reopened.gc({ minimumAgeMs: -60_000 })).removed.length).toBe(1);
    expect(await ids(reopened)).toEqual([0, 1, 2]);
  });

  test("verify finds each kind of damage", async () => {
    const dataset = await fresh();
    const files = [
      await stage(dataset, numbers(0, 5)),
      await stage(dataset, numbers(5, 9)),
      await stage(dataset, numbers(9, 12)),
    ];
    await dataset.commit({ operation: "append", add: files });
    await dataset.commit({ operation: "append", add: [{ ...(await stage(dataset, numbers(20, 25))), rows: 6 }] });
    await place.store.remove(files[0]!.path);
    const flipped = Buffer.from(await place.store.read(files[1]!.path));
    flipped[10]! ^= 1;
    await place.store.write(files[1]!.path, flipped);
    await place.store.write(files[2]!.path, flipped.subarray(0, 50));
    const { problems } = await verifyDataset(dataset, engine, { deep: true });
    const text = problems.map((problem) => problem.problem).join("\n");
    expect(problems.length).toBe(4);
    expect(text).toMatch(/does not exist/);
    expect(text).toMatch(/SHA-256/);
    expect(text).toMatch(/has 50 bytes/);
    expect(text).toMatch(/has 5 rows, the manifest says 6/);
  });

  test("compaction keeps the rows and the history", async () => {
    const dataset = await fresh();
    for (let index = 0; index < 6; index++) await append(dataset, numbers(index * 10, index * 10 + 10));
    const before = await query(`SELECT sum(hash(t)) AS h FROM ${await dataset.relation()} AS t`);
    expect(await compactDataset(dataset, engine, { folder: place.folder })).toMatchObject({
      before: 6,
      after: 1,
      version: { operation: "replace", rows: 60 },
    });
    expect(await query(`SELECT sum(hash(t)) AS h FROM ${await dataset.relation()} AS t`)).toEqual(before);
    expect(await ids(dataset, 6)).toHaveLength(60);
    expect((await compactDataset(dataset, engine, { folder: place.folder })).version).toBeUndefined();
  });

  test("merge replaces by key, and leaves other files alone; diff counts it", async () => {
    const dataset = await fresh();
    await append(dataset, numbers(0, 100));
    await append(dataset, numbers(1000, 1100));
    const rows = "SELECT range::INT AS id, 'new' AS name FROM range(95, 105)";
    const staged = await stage(dataset, rows);
    const merged = await mergeChange({
      dataset,
      engine,
      rows: `(${rows})`,
      staged: [staged],
      key: ["id"],
      columns: dataset.columns(),
      folder: place.folder,
      prefix: `merge-${count}`,
    });
    expect(merged).toMatchObject({ updated: 5, remove: [(await dataset.files(dataset.version(1)))[0]!.path] });
    expect(merged.add.map((file) => file.rows)).toEqual([95]);
    const path = `${dataset.folder}/data/merged.parquet`;
    await place.store.adopt(merged.add[0]!.path, path);
    await dataset.commit({
      operation: "overwrite",
      add: [staged, { ...merged.add[0]!, path }],
      remove: merged.remove,
      base: 2,
    });
    expect(dataset.current()!.rows).toBe(205);
    const byKey = await diffVersions(dataset, dataset.version(2), dataset.version(3), engine, { key: ["id"] });
    expect(byKey).toMatchObject({
      rowsAdded: 5,
      rowsRemoved: 0,
      rowsChanged: 5,
      filesAdded: 2,
      filesRemoved: 1,
      rowsBefore: 200,
      rowsAfter: 205,
    });
    const plain = await diffVersions(dataset, dataset.version(2), dataset.version(3), engine);
    expect(plain).toMatchObject({ rowsAdded: 10, rowsRemoved: 5, rowsChanged: 0 });
    expect(plain.samples.added).toHaveLength(5);
    const back = await diffVersions(dataset, dataset.version(3), dataset.version(2), engine, { key: ["id"] });
    expect(back).toMatchObject({ rowsAdded: 0, rowsRemoved: 5, rowsChanged: 5 });
  });
});

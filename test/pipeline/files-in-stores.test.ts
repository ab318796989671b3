import { appendFile, mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Entry, Store } from "../../src/core/index.ts";
import { elsewhere, registryWithStore, watched } from "../support/store.ts";
import { makePlace, published, rowsOf, type Place } from "./place.ts";

const connections = { bucket: { store: "fs", path: "./bucket" } };
const numbers = (from: number, to: number): string[] => [
  "id",
  ...Array.from({ length: to - from }, (_, index) => String(from + index)),
];

/** What was opened below `bucket`, by the stores of a registry. */
function counting(opened: string[], wrap: (store: Store) => Store = (store) => store) {
  return registryWithStore((store) =>
    wrap(
      elsewhere(
        watched(
          store,
          () => undefined,
          (path) => void (store.url.endsWith("bucket") && opened.push(path)),
        ),
      ),
    ),
  );
}

const copies = async (place: Place): Promise<string[]> =>
  (await readdir(`${place.folder}-cache/objects`).catch(() => [])).filter((name) => !name.endsWith(".sha256"));

test("objects of a store are read as files are: new ones, grown ones, and each once", async () => {
  await using place = await makePlace();
  const opened: string[] = [];
  await place.put("bucket/in/a.csv", numbers(0, 3));
  await place.put("bucket/in/deep/b.csv", numbers(3, 5));
  await place.put("bucket/in/_SUCCESS", "");
  await place.put("bucket/other.csv", numbers(90, 95));
  const flows = { t: { from: { connection: "bucket", path: "in/**/*.csv" } } };
  await using lake = await place.open(flows, { connections, registry: counting(opened) });
  expect(await published(lake.run("t"))).toMatchObject({ read: 5, written: 5 });
  expect(opened.every((path) => path.startsWith("in/"))).toBe(true);
  opened.length = 0;
  expect(await lake.run("t")).toMatchObject({ status: "unchanged" });
  expect(opened).toEqual([]);
  await appendFile(join(place.folder, "bucket/in/a.csv"), "100\n101\n10");
  await place.put("bucket/in/c.csv", numbers(5, 6));
  expect(await published(lake.run("t"))).toMatchObject({ read: 3 });
  expect(await rowsOf(lake, "select count(*), sum(id) from t")).toEqual([[8, 10 + 201 + 5]]);
  await writeFile(join(place.folder, "bucket/in/c.csv"), "id\n6\n");
  await expect(lake.run("t")).rejects.toMatchObject({ code: "conflict", where: { file: "in/c.csv" } });
});

test("a source connection may name its store, and a store of this machine is read in place", async () => {
  await using place = await makePlace();
  await place.put("bucket/in/a.ndjson", ['{"id":1}', '{"id":2}']);
  await using lake = await place.open(
    { t: { from: { connection: "inbox", stream: "in/*.ndjson" } } },
    { connections: { ...connections, inbox: { source: "files", store: "bucket", path: "/" } } },
  );
  expect(await published(lake.run("t"))).toMatchObject({ read: 2 });
  expect((await lake.history("t"))[0]!.summary["millrace.lineage"]).toContain('"inbox"');
  const streams = [];
  for await (const stream of lake.streams("inbox")) streams.push(stream.name);
  expect(streams).toEqual(["in/*.ndjson"]);
  await lake.check("inbox");
});

test("what is read needs room for its parts, not for all", async () => {
  await using place = await makePlace();
  const lines = numbers(0, 20_000);
  for (let file = 0; file < 12; file++) await place.put(`bucket/${file}.csv`, lines);
  const bytes = lines.join("\n").length + 1;
  const flows = { t: { from: { connection: "bucket", path: "*.csv", part_bytes: 1 } } };
  const registry = registryWithStore((store) => (store.url.endsWith("bucket") ? elsewhere(store) : store));
  await using lake = await place.open(flows, { connections, registry, cache: { maxBytes: 5 * bytes } });
  expect(await published(lake.run("t"))).toMatchObject({ read: 240_000, parts: 12 });
  const left = await copies(place);
  expect(left.length).toBeGreaterThan(0);
  expect(left.length).toBeLessThanOrEqual(5);
});

test("an object that is replaced between listing and reading is read as it is then, never half", async () => {
  await using place = await makePlace();
  await place.put("bucket/a.json", '[{"id":1}]');
  const fired: Entry[] = [];
  // Right after the first listing, and so before anything is read of what it says.
  const replacing = (store: Store): Store => ({
    ...store,
    async *list(prefix) {
      const entries = await Array.fromAsync(store.list(prefix));
      yield* entries;
      const [first] = entries;
      if (!store.url.endsWith("bucket") || fired.length > 0 || first === undefined) return;
      fired.push(first);
      await writeFile(join(place.folder, "bucket/a.json"), '[{"id":2},{"id":3}]');
    },
  });
  const flows = { t: { from: { connection: "bucket", path: "*.json" } } };
  await using lake = await place.open(flows, { connections, registry: counting([], replacing) });
  await expect(lake.run("t")).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("a.json") });
  expect(fired).toHaveLength(1);
  expect(await published(lake.run("t"))).toMatchObject({ read: 2 });
  expect(await rowsOf(lake, "select id from t order by id")).toEqual([[2], [3]]);
});

test("names are data: nothing outside of the store and of the cache is touched", async () => {
  await using place = await makePlace();
  const names = [
    "sp ace.csv",
    "ünï.csv",
    "%2e%2e.csv",
    "%2e%2e%2Fup.csv",
    "new\nline.csv",
    "~root.csv",
    "$HOME.csv",
    "a:b.csv",
  ];
  for (const [index, name] of names.entries()) await place.put(`bucket/odd/${name}`, ["id", String(index)]);
  await using lake = await place.open(
    { t: { from: { connection: "bucket", path: "odd" } }, out: { from: { connection: "bucket", path: "../*.csv" } } },
    { connections, registry: counting([]) },
  );
  await place.put("secret.csv", numbers(1, 2));
  expect(await published(lake.run("t"))).toMatchObject({ read: names.length });
  for (const name of await copies(place)) expect(name).toMatch(/^[0-9a-f]{40}$/);
  await expect(lake.run("out")).rejects.toMatchObject({ code: "usage" });
  expect((await readdir(place.folder)).sort()).toEqual(["bucket", "lake", "secret.csv"]);
});

test("what does not fit in a configuration is said with the setting", async () => {
  await using place = await makePlace();
  const refusal = (flow: unknown, more: Record<string, unknown> = {}): Promise<unknown> =>
    place.open({ t: flow }, { connections: { ...connections, ...more } }).then(
      () => undefined,
      (error: unknown) => error,
    );
  expect(await refusal({ from: { connection: "bucket" } })).toMatchObject({ code: "config" });
  expect(await refusal({ from: { connection: "bucket", path: "a", stream: "b" } })).toMatchObject({ code: "config" });
  expect(
    await refusal({ from: { connection: "files", path: "a" } }, { files: { source: "files", path: "in" } }),
  ).toMatchObject({ message: expect.stringContaining("from.stream") });
  await using lake = await place.open(
    { t: { from: { path: "gopher://host/a.csv" } }, none: { from: { connection: "inbox", stream: "a" } } },
    { connections: { inbox: { source: "files", store: "nowhere", path: "in" } } },
  );
  await expect(lake.run("t")).rejects.toMatchObject({ code: "config", message: expect.stringContaining("gopher://") });
  await expect(lake.run("none")).rejects.toMatchObject({
    code: "not-found",
    message: expect.stringContaining("nowhere"),
  });
  await rm(join(place.folder, "lake"), { recursive: true, force: true });
});

test("a lake that stays open reads more than its cache holds, and a preview or a check only what it needs", async () => {
  await using place = await makePlace();
  for (const name of ["a", "b", "c"]) await place.put(`${name}.csv`, numbers(0, 50_000));
  for (let file = 0; file < 4; file++) await place.put(`many/${file}.csv`, numbers(0, 1000));
  const opened: string[] = [];
  const registry = registryWithStore((store) =>
    elsewhere(
      watched(
        store,
        () => undefined,
        (path) => void (path.endsWith(".parquet") && opened.push(path)),
      ),
    ),
  );
  const flows = {
    ...Object.fromEntries(["a", "b", "c"].map((name) => [name, { from: { path: `${name}.csv` } }])),
    many: { from: { path: "many/*.csv", part_bytes: 1 } },
  };
  {
    await using lake = await place.open(flows, { registry });
    for (const name of Object.keys(flows)) await published(lake.run(name));
  }
  const { size } = await stat(join(place.folder, "lake/a/data", (await place.dataFiles("a"))[0]!));
  await rm(`${place.folder}-cache`, { recursive: true });
  await using lake = await place.open(flows, { registry, cache: { maxBytes: Math.ceil(1.5 * size) } });
  for (const name of ["a", "b", "c", "a"]) {
    expect(await rowsOf(lake, `select count(*), sum(id) from ${name}`)).toEqual([[50_000, 1_249_975_000]]);
  }
  await expect(lake.query("select * from a, b limit 1")).rejects.toMatchObject({
    code: "limit",
    hint: expect.stringContaining("cache.maxSize"),
  });
  opened.length = 0;
  expect((await lake.preview("many", { rows: 5 })).rows).toHaveLength(5);
  expect(opened).toHaveLength(1);
  const before = await copies(place);
  expect((await lake.verify("many")).problems).toEqual([]);
  expect(await copies(place)).toEqual(before);
});

test("what dead processes left is removed; what a process on another machine uses is not", async () => {
  await using place = await makePlace();
  const scratch = `${place.folder}-cache/scratch`;
  // No process has this number: it is above what any system gives.
  const dead = 2 ** 30;
  await mkdir(`${scratch}/${dead}-0000/use`, { recursive: true });
  await mkdir(`${scratch}/${dead}-0000-another0host/use`, { recursive: true });
  await place.put("a.csv", numbers(0, 3));
  const registry = registryWithStore(elsewhere);
  {
    await using lake = await place.open({ t: { from: { path: "a.csv" } } }, { registry });
    await published(lake.run("t"));
    expect(await readdir(scratch)).toHaveLength(2);
  }
  expect(await readdir(scratch)).toEqual([`${dead}-0000-another0host`]);
});

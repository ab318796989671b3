import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { localFile, type KnownFile, type Store } from "../../src/core/index.ts";
import { withReadCache } from "../../src/dataset/index.ts";
import fs from "../../src/stores/fs/index.ts";
import { elsewhere, watched } from "../support/store.ts";

let root: string;
let store: Store;
let reads: string[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "millrace-cache-"));
  const driver = await fs.load();
  const plain = await driver.open({ path: join(root, "store") }, { connection: "store", folder: root });
  reads = [];
  store = elsewhere(
    watched(
      plain,
      () => undefined,
      (path) => void reads.push(path),
    ),
  );
});
afterEach(() => rm(root, { recursive: true, force: true }));

let processes = 0;
/** The cache as one process has it. */
function open(maxBytes = 1e9, onDamaged: (path: string) => void = () => undefined): Store {
  const use = join(root, "cache", "use", String(processes++));
  return withReadCache(store, { folder: join(root, "cache", "objects"), use, maxBytes, onDamaged });
}

async function put(path: string, bytes: Uint8Array): Promise<KnownFile> {
  await store.write(path, bytes);
  return { path, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}

const content = (size: number, seed: number): Buffer => Buffer.alloc(size, `content ${seed} `);
const objects = (): Promise<string[]> => readdir(join(root, "cache", "objects"));

test("an object is read once, however many ask, and each process has a name of its own for it", async () => {
  const file = await put("d/data/a", content(20_000_000, 1));
  const [one, two] = [open(), open()];
  await Promise.all([one.fetch!([file]), one.fetch!([file]), one.fetch!([file, file])]);
  await two.fetch!([file]);
  expect(reads).toEqual([file.path]);
  expect((await readFile(localFile(one, file.path))).equals(content(20_000_000, 1))).toBe(true);
  expect(localFile(two, file.path)).not.toBe(localFile(one, file.path));
  expect((await stat(localFile(two, file.path))).nlink).toBe(3);
});

test("two processes that fetch the same at once both get it whole", async () => {
  const files = await Promise.all(
    Array.from({ length: 20 }, (_, index) => put(`d/data/${index}`, content(100_000, index))),
  );
  const caches = Array.from({ length: 4 }, () => open());
  await Promise.all(caches.map((cache) => cache.fetch!(files)));
  for (const cache of caches) {
    for (const [index, file] of files.entries()) {
      expect(await readFile(localFile(cache, file.path))).toEqual(content(100_000, index));
    }
  }
  expect((await objects()).filter((name) => name.endsWith(".partial"))).toEqual([]);
});

test("a damaged copy is read again, and said once", async () => {
  const file = await put("d/data/a", content(1000, 1));
  await open().fetch!([file]);
  const [name] = await objects();
  await writeFile(join(root, "cache", "objects", name!), content(1000, 2));
  const damaged: string[] = [];
  const cache = open(1e9, (path) => damaged.push(path));
  await cache.fetch!([file]);
  expect(damaged).toEqual([file.path]);
  expect(reads).toEqual([file.path, file.path]);
  expect(await readFile(localFile(cache, file.path))).toEqual(content(1000, 1));
});

test("an object that is not what the dataset says is refused, and leaves nothing", async () => {
  const file = await put("d/data/a", content(1000, 1));
  await expect(open().fetch!([{ ...file, sha256: "0".repeat(64) }])).rejects.toMatchObject({ code: "corrupt" });
  await expect(open().fetch!([{ ...file, bytes: 999 }])).rejects.toMatchObject({
    code: "corrupt",
    message: "the object `d/data/a` has 1000 bytes, and the dataset says 999",
  });
  await expect(open().fetch!([{ path: "d/data/none" }])).rejects.toMatchObject({ code: "not-found" });
  expect(await objects()).toEqual([]);
});

test("the bound holds: what was used longest ago goes, what is in use stays, and too much at once is said", async () => {
  const files = await Promise.all(
    Array.from({ length: 6 }, (_, index) => put(`d/data/${index}`, content(1000, index))),
  );
  const [a, b, c, d, e, f] = files as [KnownFile, KnownFile, KnownFile, KnownFile, KnownFile, KnownFile];
  const first = open(3000);
  for (const file of [a, b, c]) await first.fetch!([file]);
  // All three are in use.
  await expect(open(3000).fetch!([d])).rejects.toMatchObject({
    code: "limit",
    hint: expect.stringContaining("cache.maxSize") as string,
  });
  // The process ends: its names go.
  await rm(join(localFile(first, "x"), ".."), { recursive: true });
  const second = open(3000);
  await second.fetch!([a]);
  await second.fetch!([d]);
  await second.fetch!([e]);
  expect(await objects()).toHaveLength(3);
  reads = [];
  await second.fetch!([a, d, e]);
  expect(reads).toEqual([]);
  await expect(second.fetch!([f])).rejects.toMatchObject({ code: "limit" });
  expect(await readFile(localFile(second, a.path))).toEqual(content(1000, 0));
});

test("what is adopted need not be read again; what is removed is gone here too", async () => {
  const cache = open();
  await mkdir(join(root, "cache", "use"), { recursive: true });
  const local = join(root, "cache", "staged");
  await writeFile(local, content(1000, 1));
  await cache.adopt(local, "d/data/a");
  await cache.fetch!([{ path: "d/data/a", bytes: 1000 }]);
  expect(reads).toEqual([]);
  expect(await readFile(localFile(cache, "d/data/a"))).toEqual(content(1000, 1));
  await cache.remove("d/data/a");
  expect(await objects()).toEqual([]);
  await expect(stat(localFile(cache, "d/data/a"))).rejects.toMatchObject({ code: "ENOENT" });
});

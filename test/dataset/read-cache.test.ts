import { createHash } from "node:crypto";
import { mkdir, mkdtemp, open as openFile, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { identityOf, localFile, type KnownFile, type Store } from "../../src/core/index.ts";
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

test("copies are in use until the work that fetched them ends, or until they are given back", async () => {
  const [a, b, c] = (await Promise.all([0, 1, 2].map((index) => put(`d/data/${index}`, content(1000, index))))) as [
    KnownFile,
    KnownFile,
    KnownFile,
  ];
  const cache = open(2000);
  await cache.during!(async () => {
    await cache.fetch!([a, b]);
    await expect(cache.fetch!([c])).rejects.toMatchObject({ code: "limit" });
    // Work inside of work takes nothing away from it.
    await cache.during!(() => cache.fetch!([a]));
    expect(await readFile(localFile(cache, a.path))).toEqual(content(1000, 0));
  });
  await expect(stat(localFile(cache, a.path))).rejects.toMatchObject({ code: "ENOENT" });
  const first = await cache.hold!([c]);
  const second = await cache.hold!([c]);
  await first();
  await first();
  expect(await readFile(localFile(cache, c.path))).toEqual(content(1000, 2));
  await second();
  await expect(stat(localFile(cache, c.path))).rejects.toMatchObject({ code: "ENOENT" });
  expect(await objects()).toHaveLength(2);
});

test("what one process reads stays whole while another makes room", async () => {
  const files = await Promise.all(
    Array.from({ length: 5 }, (_, index) => put(`d/data/${index}`, content(1000, index))),
  );
  const reader = open(5000);
  await reader.fetch!([files[0]!]);
  const handle = await openFile(localFile(reader, files[0]!.path));
  await using _ = handle;
  // Somebody empties the folder, by hand even.
  for (const name of await objects()) await rm(join(root, "cache", "objects", name));
  const other = open(2000);
  for (const file of files) await other.during!(() => other.fetch!([file]));
  expect(await objects()).toHaveLength(2);
  expect(await handle.readFile()).toEqual(content(1000, 0));
  expect(await readFile(localFile(reader, files[0]!.path))).toEqual(content(1000, 0));
});

test("room is taken before bytes come, so that many at once stay below the bound", async () => {
  const files = await Promise.all(
    Array.from({ length: 12 }, (_, index) => put(`d/data/${index}`, content(100_000, index))),
  );
  const caches = Array.from({ length: 3 }, () => open(500_000));
  let most = 0;
  const outcomes = await Promise.allSettled(
    files.map(async (file, index) => {
      const cache = caches[index % 3]!;
      await cache.during!(async () => {
        await cache.fetch!([file]);
        const sizes = await Promise.all(
          (await objects()).map((name) => stat(join(root, "cache", "objects", name)).catch(() => undefined)),
        );
        most = Math.max(
          most,
          // What is on the disk: a name that waits for room has a size and no bytes.
          sizes.reduce((sum, facts) => sum + (facts?.blocks ?? 0) * 512, 0),
        );
      });
    }),
  );
  expect(outcomes.filter(({ status }) => status === "fulfilled").length).toBeGreaterThan(0);
  for (const outcome of outcomes) {
    if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "limit" });
  }
  expect(most).toBeLessThanOrEqual(500_000);
});

test("an object of which nobody recorded a checksum is held to the one that it had, and to its version", async () => {
  await store.write("raw/a", content(1000, 1));
  await using before = await store.open("raw/a");
  const known: KnownFile = { path: "raw/a", bytes: 1000, identity: identityOf(before) };
  await (
    await open().hold!([known])
  )();
  const [name] = (await objects()).filter((one) => !one.endsWith(".sha256"));
  await writeFile(join(root, "cache", "objects", name!), content(1000, 2));
  const damaged: string[] = [];
  const cache = open(1e9, (path) => damaged.push(path));
  await cache.hold!([known]);
  expect(damaged).toEqual(["raw/a"]);
  expect(await readFile(cache.copy!("raw/a", known.identity))).toEqual(content(1000, 1));
  const later = { ...known, identity: "@0" };
  await expect(open().hold!([later])).rejects.toMatchObject({ code: "conflict", where: { file: "raw/a" } });
});

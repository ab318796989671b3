import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Store } from "../../src/core/index.ts";
import definition from "../../src/stores/fs/index.ts";

let folder: string;
let store: Store;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-fs-"));
  const driver = await definition.load();
  store = await driver.open(definition.options.parse({ path: "deep/lake" }), { connection: "lake", folder });
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test("a conditional create has one winner among many", async () => {
  const outcomes = await Promise.allSettled(
    Array.from({ length: 50 }, (_, index) => store.write("race/one", bytes(String(index)), { ifAbsent: true })),
  );
  const winners = outcomes.flatMap((outcome, index) => (outcome.status === "fulfilled" ? [index] : []));
  expect(winners.length).toBe(1);
  for (const outcome of outcomes)
    if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "already-exists" });
  expect(new TextDecoder().decode(await store.read("race/one"))).toBe(String(winners[0]));
});

test("writes replace, reads are exact, and nothing temporary is seen or left", async () => {
  await store.write("a/b/c.txt", bytes("first"));
  const entry = await store.write("a/b/c.txt", bytes("second, longer"));
  expect(entry).toMatchObject({ path: "a/b/c.txt", size: 14 });
  await using file = await store.open("a/b/c.txt");
  expect(new TextDecoder().decode(await file.read(8, 6))).toBe("longer");
  await expect(file.read(10, 10)).rejects.toMatchObject({ code: "corrupt" });
  const big = new Uint8Array(3_000_000).map((_, index) => index % 251);
  await store.write("a/big", big);
  expect(Buffer.compare(await store.read("a/big"), big)).toBe(0);
  const paths: string[] = [];
  for await (const one of store.list("a")) paths.push(one.path);
  expect(paths.sort()).toEqual(["a/b/c.txt", "a/big"]);
  expect(await readdir(join(store.url, ".millrace-tmp"))).toEqual([]);
  const none: string[] = [];
  for await (const one of store.list("absent")) none.push(one.path);
  expect(none).toEqual([]);
});

test("adopt moves a file in, from inside or outside", async () => {
  const outside = join(folder, "outside.bin");
  await writeFile(outside, "payload");
  expect(await store.adopt(outside, "x/data/1.bin")).toMatchObject({ path: "x/data/1.bin", size: 7 });
  await expect(readFile(outside)).rejects.toMatchObject({ code: "ENOENT" });
  expect(await store.adopt(store.local!("x/data/1.bin"), "x/data/1.bin")).toMatchObject({ size: 7 });
  expect(new TextDecoder().decode(await store.read("x/data/1.bin"))).toBe("payload");
  await expect(store.adopt(join(folder, "absent"), "x/data/2.bin")).rejects.toMatchObject({ code: "not-found" });
});

test.each(["", "/etc/passwd", "../up", "a/../b", "a//b", "./a", "a\\b", "a\0b", ".millrace-tmp/x", "a/"])(
  "the path %j is refused",
  async (path) => {
    await expect(store.write(path, bytes("x"))).rejects.toMatchObject({ code: "usage" });
    await expect(store.read(path)).rejects.toMatchObject({ code: "usage" });
    await expect(store.remove(path)).rejects.toMatchObject({ code: "usage" });
  },
);

test("symbolic links do not lead out of the root", async () => {
  const secret = join(folder, "secret");
  await mkdir(secret, { recursive: true });
  await writeFile(join(secret, "key"), "hidden");
  await store.write("links/real", bytes("x"));
  await symlink(secret, join(store.url, "links/out"));
  await symlink(join(secret, "key"), join(store.url, "links/key"));
  await symlink(join(folder, "nowhere"), join(store.url, "links/dangling"));
  await expect(store.read("links/out/key")).rejects.toMatchObject({ code: "permission" });
  await expect(store.read("links/key")).rejects.toMatchObject({ code: "permission" });
  await expect(store.write("links/out/new", bytes("x"))).rejects.toMatchObject({ code: "permission" });
  await expect(store.write("links/dangling/new", bytes("x"))).rejects.toMatchObject({ code: "permission" });
  const paths: string[] = [];
  for await (const entry of store.list("links")) paths.push(entry.path);
  expect(paths).toEqual(["links/real"]);
});

test("what is absent is not-found, and removing it is no error", async () => {
  await expect(store.read("nothing/here")).rejects.toMatchObject({ code: "not-found" });
  await expect(store.open("nothing")).rejects.toMatchObject({ code: "not-found" });
  await expect(store.read("a")).rejects.toMatchObject({ code: "not-found" });
  await store.remove("nothing/here");
  await store.write("gone", bytes("x"));
  await store.remove("gone");
  await expect(store.read("gone")).rejects.toMatchObject({ code: "not-found" });
});

test("check proves the conditional create and cleans up", async () => {
  await store.check();
  const names = await readdir(store.url);
  expect(names.filter((name) => name.includes("probe") || name === ".millrace-tmp")).toEqual([]);
});

test("a folder goes with its last file, and writers who want it back at that moment get it", async () => {
  await Promise.all(
    Array.from({ length: 8 }, async (_, writer) => {
      for (let round = 0; round < 40; round++) {
        const path = `runs/flow/one/part-${writer}`;
        await store.write(path, bytes("x"), { ifAbsent: true });
        await store.remove(path);
      }
    }),
  );
  expect(await readdir(join(folder, "deep", "lake", "runs"))).toEqual([]);
});

import { mkdir, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { makePlace, published, rowsOf, useRemoteStores, type Place } from "../pipeline/place.ts";

// A bucket is a folder that Millrace cannot know to be on this machine.
useRemoteStores();

const bucket = { bucket: { store: "fs", path: "bucket" } };

async function put(place: Place, key: string, content: string | Uint8Array, time?: number): Promise<void> {
  const path = join(place.folder, "bucket", key);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  if (time !== undefined) await utimes(path, time, time);
}

test("objects of a store are files: globs, formats, compression, and only what is new", async () => {
  await using place = await makePlace();
  await put(place, "2024/a.csv", "id,name\n1,ann\n2,bob\n");
  await put(place, "2024/b.csv.gz", gzipSync("id,name\n3,cid\n"));
  await put(place, "2024/c.txt", "id;name\n9;no\n");
  await put(place, "2024/_tmp/d.csv", "id,name\n8,no\n");
  await put(place, "other/e.csv", "id,name\n7,no\n");
  const flows = { people: { from: { connection: "bucket", stream: "2024/*.csv*" } } };
  await using lake = await place.open(flows, { connections: bucket });
  expect(await published(lake.run("people"))).toMatchObject({ read: 3, written: 3 });
  expect((await lake.run("people")).status).toBe("unchanged");
  await put(place, "2024/f.csv", "id,name\n4,dan\n");
  expect(await published(lake.run("people"))).toMatchObject({ read: 1 });
  expect(await rowsOf(lake, "select id, name from people order by id")).toEqual([
    [1, "ann"],
    [2, "bob"],
    [3, "cid"],
    [4, "dan"],
  ]);
  const streams = await Array.fromAsync(lake.streams("bucket"));
  expect(streams.map((stream) => stream.name).sort()).toContain("2024/*.csv");
});

test("a growing object gives its new lines; one that changed otherwise is said; nothing there is said", async () => {
  await using place = await makePlace();
  await put(place, "log.ndjson", '{"n":1}\n', 1_700_000_000);
  const flows = {
    log: { from: { connection: "bucket", stream: "log.ndjson" } },
    none: { from: { connection: "bucket", stream: "nothing/*.csv" } },
  };
  await using lake = await place.open(flows, { connections: bucket });
  await published(lake.run("log"));
  await put(place, "log.ndjson", '{"n":1}\n{"n":2}\n', 1_700_000_100);
  expect(await published(lake.run("log"))).toMatchObject({ read: 1 });
  await put(place, "log.ndjson", '{"n":7}\n', 1_700_000_200);
  await expect(lake.run("log")).rejects.toMatchObject({ code: "conflict", where: { file: "log.ndjson" } });
  await expect(lake.run("none")).rejects.toMatchObject({
    code: "not-found",
    hint: "`millrace discover bucket` shows what there is",
  });
});

test("odd keys are read, and never name a place on this machine", async () => {
  await using place = await makePlace();
  const keys = [
    "in/a b.csv",
    "in/ü😀.csv",
    "in/%2e%2e%2f.csv",
    "in/'; drop table x; --.csv",
    "in/[x].csv",
    "in/~.csv",
    "in/...csv",
  ];
  for (const [index, key] of keys.entries()) await put(place, key, `id\n${index}\n`);
  const flows = { odd: { from: { connection: "bucket", stream: "in" } } };
  await using lake = await place.open(flows, { connections: bucket });
  // A name that begins with a dot is left out, as everywhere.
  expect(await published(lake.run("odd"))).toMatchObject({ read: keys.length - 1 });
  const here = await readdir(`${place.folder}-cache`, { recursive: true });
  expect(here.filter((name) => keys.some((key) => name.includes(key.slice(3))))).toEqual([]);
});

test("an object that went or changed after the plan was made is said, and nothing of it is published", async () => {
  await using place = await makePlace();
  await put(place, "a.csv", "id\n1\n");
  await using engine = await place.engine();
  const source = await (
    await import("../../src/sources/files/driver.ts")
  ).open((await import("../../src/sources/files/index.ts")).filesOptions.parse({ store: "bucket" }), {
    connection: "bucket",
    folder: place.folder,
    engine,
    store: async () =>
      (await (await import("../../src/stores/fs/index.ts")).default.load()).open(
        { path: "bucket" },
        { connection: "bucket", folder: place.folder },
      ),
    scratch: join(place.folder, "scratch"),
  });
  const plan = await source.plan({ stream: "a.csv" }, {});
  await rm(join(place.folder, "scratch"), { recursive: true, force: true });
  await put(place, "a.csv", "id\n7\n2\n");
  await expect(source.read(plan.parts[0]!, { stream: "a.csv" }, {})).rejects.toMatchObject({ code: "conflict" });
  await rm(join(place.folder, "bucket", "a.csv"));
  await expect(source.read(plan.parts[0]!, { stream: "a.csv" }, {})).rejects.toMatchObject({ code: "not-found" });
});

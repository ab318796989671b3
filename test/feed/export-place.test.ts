import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { tableFromIPC } from "apache-arrow";
import { describe, expect, test } from "vitest";
import type { Store } from "../../src/core/index.ts";
import { makePlace, published } from "../pipeline/place.ts";
import { elsewhere, registryWithStore } from "../support/store.ts";

const formats = ["parquet", "csv", "tsv", "jsonl", "json", "arrow", "webdataset", "mds", "tfrecord"];

/** A store that says what is brought into it. */
const adopting = (store: Store, onAdopt: (path: string) => void): Store => ({
  ...store,
  async adopt(file, path) {
    onAdopt(path);
    return store.adopt(file, path);
  },
});

describe("where an export goes", () => {
  test("an earlier one of the same is replaced, those of others and files of others are not", async () => {
    await using place = await makePlace();
    await place.put("a.csv", ["id", "1", "2"]);
    await using lake = await place.open({ t: { from: { path: "a*.csv" } }, u: { from: { path: "a.csv" } } });
    await published(lake.run("t"));
    await published(lake.run("u"));
    const to = join(place.folder, "out");
    await lake.export("t", { format: "tfrecord", to });
    const first = (await readdir(to)).sort();
    await place.put("a2.csv", ["id", "3"]);
    await published(lake.run("t"));
    expect(await lake.export("t", { format: "tfrecord", to })).toMatchObject({ version: 2, rows: 3 });
    expect((await readdir(to)).sort()).toEqual(first);
    for (const other of [
      { dataset: "u", format: "tfrecord" },
      { dataset: "t", format: "webdataset" },
    ]) {
      const refused = lake.export(other.dataset, { format: other.format, to });
      await expect(refused).rejects.toMatchObject({
        code: "already-exists",
        message: /holds the export of `t@2` as tfrecord/,
      });
    }
    await writeFile(join(to, "mine.txt"), "mine");
    await expect(lake.export("t", { format: "tfrecord", to })).rejects.toThrow(/`mine.txt`/);
    await lake.export("t", { format: "webdataset", to, force: true });
    expect((await readdir(to)).sort()).toEqual(["000000.tar", "croissant.json", "manifest.json", "mine.txt"]);
    expect(await readFile(join(to, "mine.txt"), "utf8")).toBe("mine");
    // A manifest that names files elsewhere is none of ours.
    await place.put(
      "evil/manifest.json",
      JSON.stringify({ millraceExport: 1, dataset: "t", format: "csv", files: [{ path: "../a.csv" }] }),
    );
    await lake.export("t", { format: "csv", to: join(place.folder, "evil"), force: true });
    expect(await readFile(join(place.folder, "a.csv"), "utf8")).toContain("id");
    expect((await readdir(place.folder)).filter((name) => name.endsWith(".partial"))).toEqual([]);
  });

  test.each(formats)("%s of nothing is complete", async (format) => {
    await using place = await makePlace();
    await place.put("a.csv", ["id,s", "1,a"]);
    await using lake = await place.open({ t: { from: { path: "a.csv" } } });
    await published(lake.run("t"));
    const to = join(place.folder, "out");
    await mkdir(to);
    const report = await lake.export("t", { format, to, where: "id > 1", order: "shuffle" });
    expect(report.rows).toBe(0);
    expect((await readdir(to)).sort()).toEqual(
      [...report.files.map(({ path }) => path), "croissant.json", "manifest.json"].sort(),
    );
    expect(JSON.parse(await readFile(join(to, "manifest.json"), "utf8"))).toMatchObject({
      rows: 0,
      dataset: "t",
      format,
    });
    if (format !== "arrow") return;
    const table = tableFromIPC(await readFile(join(to, report.files[0]!.path)));
    expect([table.numRows, table.schema.names]).toEqual([0, ["id", "s"]]);
  });

  test("one that is killed leaves nothing that looks finished, and the next one is whole", async () => {
    await using place = await makePlace();
    await using engine = await place.engine();
    await engine.export(
      "SELECT i AS id, repeat('x', 200) AS s FROM range(200000) t(i)",
      join(place.folder, "t.parquet"),
      "FORMAT parquet",
    );
    const flows = { t: { from: { path: "t.parquet" } } };
    const to = join(place.folder, "out");
    {
      await using lake = await place.open(flows);
      await published(lake.run("t"));
      await lake.export("t", { format: "tfrecord", to, where: "id < 10" });
    }
    const before = await readFile(join(to, "manifest.json"), "utf8");
    const module = pathToFileURL(join(import.meta.dirname, "../pipeline/place.ts")).href;
    const script = `const { makePlace } = await import(${JSON.stringify(module)});
      const place = await makePlace(${JSON.stringify(place.folder)});
      const lake = await place.open(${JSON.stringify(flows)});
      let shown = 0;
      await lake.export("t", { format: "tfrecord", to: ${JSON.stringify(to)}, shardBytes: 1e6, onProgress: ({ rows }) => { if (rows > 20000 && !shown++) { process.stdout.write("half"); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); } } });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    const partial = join(place.folder, ".out.partial");
    const [stage] = await readdir(partial);
    expect((await readdir(join(partial, stage!))).length).toBeGreaterThan(2);
    child.kill("SIGKILL");
    await once(child, "close");
    expect(await readFile(join(to, "manifest.json"), "utf8")).toBe(before);
    expect((await readdir(to)).sort()).toEqual([
      "croissant.json",
      "feature_spec.json",
      "manifest.json",
      "t-00000.tfrecord",
    ]);
    await using lake = await place.open(flows);
    const report = await lake.export("t", { format: "tfrecord", to, shardBytes: 1e6 });
    expect(report.rows).toBe(200_000);
    expect(await readdir(to)).toHaveLength(report.files.length + 2);
    expect((await readdir(place.folder)).filter((name) => name.endsWith(".partial"))).toEqual([]);
  });

  test("a store: by the name of its connection, the manifest last", async () => {
    await using place = await makePlace();
    await place.put("a.csv", ["id", ...Array.from({ length: 5000 }, (_, id) => String(id))]);
    const written: string[] = [];
    const registry = registryWithStore((store) =>
      store.url.endsWith("bucket") ? elsewhere(adopting(store, (path) => void written.push(path))) : store,
    );
    await using lake = await place.open(
      { t: { from: { path: "a.csv" } } },
      { connections: { bucket: { store: "fs", path: "./bucket" } }, registry },
    );
    await published(lake.run("t"));
    const options = { format: "webdataset", store: "bucket", to: "shards/t", shardBytes: 2e6 };
    const report = await lake.export("t", options);
    expect(report.files.length).toBeGreaterThan(1);
    expect(written.at(-1)).toBe("shards/t/manifest.json");
    const names = async (): Promise<string[]> => (await readdir(join(place.folder, "bucket/shards/t"))).sort();
    expect(await names()).toEqual([...report.files.map(({ path }) => path), "croissant.json", "manifest.json"].sort());
    // Fewer shards than before: those that are left over go.
    expect((await lake.export("t", { ...options, shardBytes: 64e6 })).files).toHaveLength(1);
    expect(await names()).toEqual(["000000.tar", "croissant.json", "manifest.json"]);
    await place.put("bucket/shards/t/mine.txt", "mine");
    await expect(lake.export("t", options)).rejects.toMatchObject({ code: "already-exists" });
    await expect(lake.export("t", { ...options, store: "nowhere" })).rejects.toMatchObject({ code: "not-found" });
  });

  test("options that do nothing, and values that a format cannot hold, are said", async () => {
    await using place = await makePlace();
    await using engine = await place.engine();
    await engine.export(
      "SELECT 1 AS id, 'infinity'::TIMESTAMP AS at, 2 AS \"at.is_null\"",
      join(place.folder, "t.parquet"),
      "FORMAT parquet",
    );
    await using lake = await place.open({ t: { from: { path: "t.parquet" } } });
    await published(lake.run("t"));
    const to = join(place.folder, "out");
    for (const format of ["tfrecord", "mds", "arrow"]) {
      await expect(lake.export("t", { format, to })).rejects.toMatchObject({ code: "value", where: { column: "at" } });
    }
    const wrong = [
      { format: "csv", key: "id" },
      { format: "mds", compression: "gzip" },
      { format: "tfrecord", seed: 3 },
      { format: "csv", columns: ["no"] },
      { format: "csv", columns: ["id", "id"] },
      { format: "webdataset", files: { id: "npy" } },
      { format: "webdataset", files: { id: "../x" } },
    ];
    for (const options of wrong)
      await expect(lake.export("t", { ...options, to })).rejects.toMatchObject({ code: "usage" });
    expect(await readdir(place.folder)).not.toContain("out");
  });
});

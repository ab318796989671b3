import { randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import type { StagedFile, Store } from "../../../src/core/index.ts";
import { openCatalog, type Dataset } from "../../../src/dataset/index.ts";
import { openEngine, type Engine } from "../../../src/engine/index.ts";
import { openLake } from "../../../src/index.ts";
import type { StoreBench } from "../store.ts";
import { collect } from "../support/observe.ts";
import type { Rules } from "../support/suite.ts";

/** A lake on the store does what a lake does. */
export function datasetRules(bench: StoreBench, { rule, ruleIf }: Rules): void {
  const archive = bench.contract.definition.capabilities.archive
    ? "objects must be restored before they are read"
    : undefined;

  const stage = async (engine: Engine, dataset: Dataset, store: Store, row: number): Promise<StagedFile> => {
    const folder = join(bench.folder, "staged");
    await mkdir(folder, { recursive: true });
    const [file] = await engine.write(`SELECT ${row}::BIGINT AS id`, {
      columns: dataset.columns(),
      folder,
      prefix: randomUUID(),
    });
    const path = `${dataset.folder}/data/${randomUUID()}.parquet`;
    await store.adopt(file!.path, path);
    return { ...file!, path };
  };

  ruleIf(archive, "commits at the same time from two handles are all there, in one line of history", async () => {
    await using engine = await openEngine({
      spillFolder: join(bench.folder, "spill"),
      allowed: [bench.folder],
      memoryLimit: "300MB",
    });
    const created = await openCatalog(bench.store).create("commits", [{ name: "id", type: "long" }]);
    const writers = await Promise.all(
      [0, 1, 2, 3, 4, 5].map(async (row) => {
        const store = row % 2 === 0 ? bench.store : bench.other;
        const dataset = await openCatalog(store).open("commits");
        return { dataset, file: await stage(engine, dataset, store, row) };
      }),
    );
    await Promise.all(writers.map(({ dataset, file }) => dataset.commit({ operation: "append", add: [file] })));
    await created.refresh();
    expect(created.versions().map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(created.current()).toMatchObject({ rows: 6, files: 6 });
    const named = (await created.files()).map(({ path }) => path);
    expect(named.toSorted()).toEqual(writers.map(({ file }) => file.path).toSorted());
    expect(await openCatalog(bench.other).list()).toContain("commits");
  });

  ruleIf(archive, "a flow appends, merges, is compacted, cleaned and verified", async () => {
    const data = join(bench.folder, "orders");
    await mkdir(data, { recursive: true });
    const csv = (from: number, to: number, price: number): string =>
      ["id,price", ...Array.from({ length: to - from }, (_, index) => `${from + index},${price}`)].join("\n");
    await writeFile(join(data, "a.csv"), `${csv(0, 500, 1)}\n`);
    const name = bench.contract.definition.name;
    await using lake = await openLake({
      folder: bench.folder,
      config: {
        store: { store: name, ...bench.subject.options },
        flows: {
          appended: { from: { path: "orders/*.csv" }, mode: "append" },
          merged: { from: { path: "orders/*.csv" }, mode: "merge", key: ["id"] },
        },
      } as never,
      modules: {
        stores: { [name]: { title: name, summary: name, load: async () => bench.contract.definition } },
      },
    });
    for (const flow of ["appended", "merged"]) {
      expect(await lake.run(flow)).toMatchObject({ status: "published", written: 500 });
      expect(await lake.run(flow)).toMatchObject({ status: "unchanged" });
    }
    await writeFile(join(data, "b.csv"), `${csv(400, 700, 2)}\n`);
    for (const flow of ["appended", "merged"]) {
      expect(await lake.run(flow)).toMatchObject({ status: "published", written: 300 });
    }
    const sums = async (): Promise<unknown> =>
      (
        await lake.query(
          "select (select sum(price) from appended)::int as a, (select count(*) from appended)::int as rows, (select sum(price) from merged)::int as m, (select count(*) from merged)::int as keys",
        )
      ).rows[0];
    const expected = { a: 1100, rows: 800, m: 1000, keys: 700 };
    expect(await sums()).toEqual(expected);
    await lake.compact("appended");
    await lake.gc("appended", { minimumAgeMs: -60_000 });
    expect(await sums()).toEqual(expected);
    for (const dataset of ["appended", "merged"]) {
      expect((await lake.verify(dataset)).problems).toEqual([]);
    }
  });

  rule("a lake that was opened and closed leaves no object behind", async () => {
    const name = bench.contract.definition.name;
    const before = (await collect(bench.store.list(""))).map(({ path }) => path);
    {
      await using lake = await openLake({
        folder: bench.folder,
        config: { store: { store: name, ...bench.subject.options }, flows: {} } as never,
        modules: { stores: { [name]: { title: name, summary: name, load: async () => bench.contract.definition } } },
      });
      expect(await lake.catalog.list()).toBeInstanceOf(Array);
    }
    expect((await collect(bench.store.list(""))).map(({ path }) => path).toSorted()).toEqual(before.toSorted());
  });
}

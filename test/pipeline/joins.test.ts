import { join } from "node:path";
import { expect, test } from "vitest";
import { openCatalog } from "../../src/dataset/index.ts";
import fs from "../../src/stores/fs/index.ts";
import { makePlace, published } from "./place.ts";

interface Step {
  name: string;
  children: Step[];
  extra_info: Record<string, unknown>;
}

/** All steps of a plan, parents first. */
const steps = (step: Step): Step[] => [step, ...step.children.flatMap(steps)];

test("a join holds the smaller dataset in memory, however it is written", async () => {
  await using place = await makePlace();
  await using engine = await place.engine();
  for (const [name, rows] of [
    ["large", 60_000],
    ["small", 500],
  ] as const) {
    const select = `SELECT i AS id, i % 500 AS key, 'text ' || i AS text FROM range(${rows}) t(i)`;
    await engine.export(select, join(place.folder, `${name}.parquet`), "FORMAT parquet");
  }
  await using lake = await place.open({
    large: { from: { path: "large.parquet" } },
    small: { from: { path: "small.parquet" } },
  });
  await published(lake.run("large"));
  await published(lake.run("small"));

  const driver = await fs.load();
  await using store = await driver.open({ path: join(place.folder, "lake") }, { connection: "", folder: place.folder });
  const relations = new Map<string, string>();
  for (const name of ["large", "small"]) {
    const dataset = await openCatalog(store).open(name);
    relations.set(name, await dataset.relation(undefined));
  }
  for (const [left, right] of [
    ["large", "small"],
    ["small", "large"],
  ] as const) {
    for (const kind of ["JOIN", "LEFT JOIN", "SEMI JOIN", "ANTI JOIN"]) {
      const sql = `SELECT count(*) FROM ${relations.get(left)!} AS l ${kind} ${relations.get(right)!} AS r ON l.key = r.key`;
      const [row] = await engine.query(`EXPLAIN (FORMAT json) ${sql}`);
      const [plan] = JSON.parse(Object.values(row!).at(-1) as string) as Step[];
      const hashed = steps(plan!).find(({ name }) => name === "HASH_JOIN");
      // The second child is the one of which the hash table is made.
      const [probe, build] = hashed!.children.map((child) =>
        Math.max(...steps(child).map(({ extra_info }) => Number(extra_info["Estimated Cardinality"] ?? 0))),
      );
      expect([probe, build], `${left} ${kind} ${right}`).toEqual([60_000, 500]);
    }
  }
  const { rows } = await lake.query("select count(*)::int as rows from small s join large l on s.key = l.key");
  expect(rows).toEqual([{ rows: 60_000 }]);
});

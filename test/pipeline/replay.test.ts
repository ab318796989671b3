import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { splitOf } from "../../src/feed/split.ts";
import { splitSchema } from "../../src/pipeline/flow.ts";
import type { Lake } from "../../src/pipeline/index.ts";
import { makePlace, published, rowsOf } from "./place.ts";

const positive = { check: "range", column: "price", min: 0, on_fail: "reject" };

/** The commit to the rejected dataset fails, as if the process had been killed right before it. */
function killBeforeSecondCommit(lake: Lake): void {
  const open = lake.catalog.open.bind(lake.catalog);
  vi.spyOn(lake.catalog, "open").mockImplementation(async (name) => {
    const dataset = await open(name);
    if (name.endsWith("__rejected")) {
      vi.spyOn(dataset, "commit").mockImplementation(() => Promise.reject(new Error("killed")));
    }
    return dataset;
  });
}

test("a kill between the two commits of a replay is made up for: every record comes back once", async () => {
  await using place = await makePlace();
  await place.put("in/1.csv", ["id,price", "1,1.5", "2,-2.5", "3,-3.5"]);
  const flows = { items: { from: { path: "in/*.csv" }, checks: [positive, { check: "unique", columns: ["id"] }] } };
  {
    await using lake = await place.open(flows);
    await published(lake.run("items"));
    killBeforeSecondCommit(lake);
    const mend = { set: { price: "CASE WHEN id = 2 THEN abs(price) ELSE price END" } };
    await expect(lake.replay("items", mend)).rejects.toThrow("killed");
  }
  await using lake = await place.open(flows);
  // The mended row is in the dataset, its record still among the rejected ones, and more is rejected meanwhile.
  expect(await rowsOf(lake, "select id, price from items order by id")).toEqual([
    [1, 1.5],
    [2, 2.5],
  ]);
  expect(await rowsOf(lake, "select count(*) from items__rejected")).toEqual([[2]]);
  await place.put("in/2.csv", ["id,price", "4,-4.5"]);
  expect(await published(lake.run("items"))).toMatchObject({ read: 1, rejected: 1 });

  const replay = await published(lake.replay("items", { set: { price: "abs(price)" } }));
  expect(replay).toMatchObject({ read: 2, written: 2, rejected: 0 });
  expect(await rowsOf(lake, "select id, price from items order by id")).toEqual([
    [1, 1.5],
    [2, 2.5],
    [3, 3.5],
    [4, 4.5],
  ]);
  expect(await rowsOf(lake, "select count(*) from items__rejected")).toEqual([[0]]);

  const before = await lake.history("items");
  const files = [await place.dataFiles("items"), await place.dataFiles("items__rejected")];
  expect(await lake.replay("items", { set: { price: "abs(price)" } })).toMatchObject({ status: "unchanged", read: 0 });
  expect(await lake.history("items")).toEqual(before);
  expect([await place.dataFiles("items"), await place.dataFiles("items__rejected")]).toEqual(files);
  expect((await place.runFiles()).every((file) => file.endsWith("/report.json"))).toBe(true);
});

test("what fails again stays with its new reason; the position of the flow does not move", async () => {
  await using place = await makePlace();
  await place.put("in/1.csv", ["id,price,name", "1,-1,a", "2,-2,b", "broken"]);
  await using lake = await place.open({
    items: {
      from: { path: "in/*.csv" },
      checks: [positive, { check: "regex", columns: ["name"], pattern: "^[a-c]$", on_fail: "reject" }],
    },
  });
  expect(await published(lake.run("items"))).toMatchObject({ read: 3, written: 0, rejected: 3 });
  const report = await published(
    lake.replay("items", { set: { price: "abs(price)", name: "CASE id WHEN 2 THEN 'x' ELSE name END" } }),
  );
  expect(report).toMatchObject({ read: 2, written: 1, rejected: 1 });
  expect(await rowsOf(lake, "select id, price, name from items")).toEqual([[1, 1, "a"]]);
  const left = await rowsOf(lake, `select "check", reason, run from items__rejected order by 1 nulls last`);
  expect(left).toEqual([
    ["regex", expect.stringContaining("regex"), report.run],
    [null, expect.stringContaining("too few values"), expect.stringMatching(/^items\//)],
  ]);
  expect(await lake.run("items")).toMatchObject({ status: "unchanged" });
});

test("with `mode: replace` mended rows join the rows that are there", async () => {
  await using place = await makePlace();
  await place.put("a.csv", ["id,price", "1,1", "2,-2"]);
  await using lake = await place.open({ items: { from: { path: "a.csv" }, mode: "replace", checks: [positive] } });
  await published(lake.run("items"));
  await published(lake.replay("items", { set: { price: "abs(price)" } }));
  expect(await rowsOf(lake, "select id, price from items order by id")).toEqual([
    [1, 1],
    [2, 2],
  ]);
});

test("with `mode: merge` one row of each key comes back, and takes the place of the earlier one", async () => {
  await using place = await makePlace();
  await place.put("in/1.csv", ["id,seq,price", "1,1,10", "1,2,-20"]);
  await place.put("in/2.csv", ["id,seq,price", "2,5,-5"]);
  await using lake = await place.open({
    items: { from: { path: "in/*.csv", cursor: "seq" }, mode: "merge", key: ["id"], checks: [positive] },
  });
  expect(await published(lake.run("items"))).toMatchObject({ read: 3, written: 0, rejected: 2, filtered: 1 });
  await place.put("in/3.csv", ["id,seq,price", "2,4,-4", "1,0,7"]);
  expect(await published(lake.run("items"))).toMatchObject({ written: 1, rejected: 1 });
  const report = await published(lake.replay("items", { set: { price: "abs(price)" } }));
  expect(report).toMatchObject({ read: 3, written: 2, superseded: 1, updated: 1 });
  expect(await rowsOf(lake, "select id, seq, price from items order by id")).toEqual([
    [1, 2, 20],
    [2, 5, 5],
  ]);
});

test("binary, decimals, instants and nested values come back as they were", async () => {
  await using place = await makePlace();
  const select = `SELECT * FROM (VALUES
    (1, -1.0::DOUBLE, 'a\\x00\\xFF\\x22'::BLOB, 12345678901234567890.123456789::DECIMAL(38,9), TIMESTAMP '2024-02-29 23:59:59.123456',
     TIMESTAMPTZ '1969-12-31 23:59:59.999999+02', DATE '0044-03-15', TIME '12:34:56.789012', 'NaN'::DOUBLE, 9007199254740993::BIGINT,
     {'x': [1.10::DECIMAL(9,2), NULL], 'y': MAP {'k': '\\x01'::BLOB}}, uuid '00112233-4455-6677-8899-aabbccddeeff', ''),
    (2, 1.0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL))
    AS t(id, price, bin, dec, ts, tstz, d, t, f, big, nested, u, s)`;
  await using lake = await place.open({
    items: { from: { path: "in/*.parquet" }, checks: [positive] },
    whole: { from: { path: "in/*.parquet" } },
  });
  await using engine = await place.engine();
  await mkdir(join(place.folder, "in"));
  await engine.export(select, join(place.folder, "in", "a.parquet"), "FORMAT parquet");
  await published(lake.run("whole"));
  expect(await published(lake.run("items"))).toMatchObject({ written: 1, rejected: 1 });
  await published(lake.replay("items", { set: { price: "abs(price)" } }));
  const difference = "select * replace (abs(price) as price) from whole except all select * from items";
  expect(await rowsOf(lake, difference)).toEqual([]);
  expect(await rowsOf(lake, "select count(*) from items")).toEqual([[2]]);
});

test("a row whose group was mended goes where its group is", async () => {
  await using place = await makePlace();
  const split = { train: 0.5, test: 0.5, key: "grp", seed: 3 };
  const groups = Array.from({ length: 40 }, (_, index) => `g${index}`);
  await place.put("a.csv", ["id,grp,price", ...groups.map((group, index) => `${index},${group},-1`)]);
  await using lake = await place.open({ items: { from: { path: "a.csv" }, checks: [positive], split } });
  await published(lake.run("items"));
  await published(lake.replay("items", { set: { price: "1", grp: "grp || '!'" } }));
  const rows = (await rowsOf(lake, "select grp, split from items")) as [string, string][];
  expect(rows).toHaveLength(40);
  for (const [group, name] of rows) expect(name, group).toBe(splitOf(splitSchema.parse(split), [group]));
});

test("what is asked wrongly is said: no such column, no such predicate, nothing rejected", async () => {
  await using place = await makePlace();
  await place.put("a.csv", ["id,price", "1,-1"]);
  await place.put("b.csv", ["id"]);
  await using lake = await place.open({
    items: { from: { path: "a.csv" }, checks: [positive] },
    clean: { from: { path: "a.csv" } },
  });
  await published(lake.run("items"));
  await published(lake.run("clean"));
  const files = [await place.dataFiles("items"), await place.dataFiles("items__rejected")];
  await expect(lake.replay("items", { set: { prize: "1" } })).rejects.toMatchObject({
    code: "usage",
    hint: expect.stringContaining("`price`"),
  });
  await expect(lake.replay("items", { set: { price: "abs(" } })).rejects.toMatchObject({ code: "usage" });
  await expect(lake.replay("items", { where: "nonsense = 1" })).rejects.toMatchObject({ code: "usage" });
  await expect(lake.replay("clean")).rejects.toMatchObject({
    code: "not-found",
    message: expect.stringContaining("clean__rejected"),
  });
  await expect(
    lake.replay("items", { set: { price: "abs(price)" }, signal: AbortSignal.abort() }),
  ).rejects.toMatchObject({ code: "aborted" });
  expect([await place.dataFiles("items"), await place.dataFiles("items__rejected")]).toEqual(files);
});

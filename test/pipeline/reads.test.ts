import { describe, expect, test, vi } from "vitest";
import { makePlace, published, rowsOf } from "./place.ts";
import { scripted, type Script } from "./scripted.ts";

const columns = [
  { name: "id", type: "long" as const },
  { name: "c", type: "string" as const },
];
const priced = "select id, c, price from input left join prices using (c)";
const prices = { from: { path: "prices.csv" }, mode: "replace" as const };
const pricesAre = (price: number): string[] => ["c,price", `a,${price}`, `b,${price}`];

describe("a transform that reads another dataset", () => {
  test("reads one version of it in all parts, also when the run is taken up after that dataset has gone on", async () => {
    await using place = await makePlace();
    const script: Script = { columns, parts: { p1: ["1,a"], p2: ["2,b"] }, reads: [] };
    const config = { prices, orders: { from: { connection: "s", stream: "s" }, transform: priced } };
    await using lake = await place.open(config, scripted(script));
    await place.put("prices.csv", pricesAre(10));
    await published(lake.run("prices"));
    script.onRead = async ({ id }) => {
      if (id === "p1") return;
      await vi.waitUntil(async () => (await place.runFiles()).some((file) => file.includes("/parts/")), 10_000);
      throw new Error("cut");
    };
    await expect(lake.run("orders")).rejects.toThrow("cut");
    await place.put("prices.csv", pricesAre(99));
    await published(lake.run("prices"));
    delete script.onRead;
    script.reads.length = 0;
    expect(await published(lake.run("orders"))).toMatchObject({ written: 2 });
    expect(script.reads).toEqual(["p2"]);
    expect(await rowsOf(lake, "select id, price from orders order by id")).toEqual([
      [1, 10],
      [2, 10],
    ]);
    const { lineage } = await lake.dataset("orders").then(({ dataset }) => {
      const { summary } = dataset.current()!;
      return { lineage: JSON.parse(summary["millrace.lineage"]!) as Record<string, unknown> };
    });
    expect(lineage).toMatchObject({ reads: { prices: 1 } });
  });

  test("is a reason to replace when that dataset has gone on, and no reason when it has not", async () => {
    await using place = await makePlace();
    await using lake = await place.open({
      prices,
      orders: { from: { path: "orders.csv" }, mode: "replace", transform: priced },
    });
    await place.put("prices.csv", pricesAre(10));
    await place.put("orders.csv", ["id,c", "1,a"]);
    for (const name of ["prices", "orders"]) await published(lake.run(name));
    expect((await lake.run("orders")).status).toBe("unchanged");
    await place.put("prices.csv", pricesAre(11));
    await published(lake.run("prices"));
    expect((await lake.run("orders")).status).toBe("published");
    expect(await rowsOf(lake, "select price from orders")).toEqual([[11]]);
    expect((await lake.run("orders")).status).toBe("unchanged");
  });

  test("may read two versions of it, its own rows of before, and one that is empty yet", async () => {
    await using place = await makePlace();
    const transform = `
      with prices as (select * from prices where price > 0), before as (select count(*) as n from orders)
      select id, now.price, past.price as was, before.n from input join prices as now using (c) join "prices@1" as past using (c), before`;
    await using lake = await place.open({
      prices,
      orders: { from: { path: "orders.csv" }, mode: "replace", transform },
      first: { from: { path: "first.csv" }, into: "orders" },
    });
    await place.put("first.csv", ["id,price,was,n", "0,0,0,0"]);
    await place.put("orders.csv", ["id,c", "1,a"]);
    for (const price of [10, 20]) {
      await place.put("prices.csv", pricesAre(price));
      await published(lake.run("prices"));
    }
    for (const name of ["first", "orders"]) await published(lake.run(name));
    expect(await rowsOf(lake, "select id, price, was, n from orders")).toEqual([[1, 20, 10, 1]]);
    // What it reads of itself is another version after each run, and no reason to run again.
    expect((await lake.run("orders")).status).toBe("unchanged");
  });

  test("at inference reads what the version was made with", async () => {
    await using place = await makePlace();
    await using lake = await place.open({
      prices,
      orders: { from: { path: "orders.csv" }, mode: "replace", transform: priced },
    });
    await place.put("orders.csv", ["id,c", "1,a"]);
    for (const price of [10, 20]) {
      await place.put("prices.csv", pricesAre(price));
      for (const name of ["prices", "orders"]) await published(lake.run(name));
    }
    const [first, second] = [await lake.transformer("orders@1"), await lake.transformer("orders@2")];
    for (const [transformer, price] of [
      [first, 10],
      [second, 20],
      [first, 10],
    ] as const) {
      const { rows } = await transformer.apply([{ id: 7n, c: "b" }]);
      expect(Number(rows[0]![0]!["price"])).toBe(price);
    }
  });
});

describe("a transform that is another each time has no answer at inference", () => {
  test.each([
    ["select id, random() as r from input", "random()"],
    ["select id, uuid() as u from input", "uuid()"],
    ["select id, (now() - born) as age from input", "now()"],
    ["select id, current_date - born::date as age from input", "current_date"],
    ["select id, age(born) as age from input", "age()"],
    ["select id from input where born < ago(interval 1 day)", "ago()"],
    ["with a as (select *, today() as t from input) select id from a", "today()"],
  ])("%s", async (transform, named) => {
    await using place = await makePlace();
    await place.put("people.csv", ["id,born", "1,2001-02-03T04:05:06"]);
    await using lake = await place.open({ people: { from: { path: "people.csv" }, transform } });
    await published(lake.run("people"));
    await expect(lake.transformer("people")).rejects.toThrow(`\`${named}\``);
  });

  test("what only looks like it goes through", async () => {
    await using place = await makePlace();
    await place.put("people.csv", ["id,born,current_date", "1,2001-02-03T04:05:06,2020-01-01"]);
    const transform =
      "select id, age(current_date::timestamp, born) as age, if(id < 0, error('no'), 'now()') as t from input";
    await using lake = await place.open({ people: { from: { path: "people.csv" }, transform } });
    await published(lake.run("people"));
    const { rows } = await (await lake.transformer("people")).apply([{ id: 1n, born: null }]);
    expect(rows[0]).toMatchObject([{ age: null, t: "now()" }]);
  });
});

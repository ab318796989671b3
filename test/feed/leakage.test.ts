import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { leakageChecks, suggestSeed } from "../../src/feed/leakage.ts";
import { splitExpression } from "../../src/feed/split.ts";
import { splitSchema, type SplitSpec } from "../../src/pipeline/flow.ts";
import { openTestEngine, type TestEngine } from "../checks/engine.ts";

let engine: TestEngine;
beforeAll(async () => {
  engine = await openTestEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const specOf = (spec: Record<string, unknown>): SplitSpec =>
  splitSchema.parse({ train: 0.8, validation: 0.1, test: 0.1, ...spec });

async function check(spec: SplitSpec, relations: string[], key: string[] = []) {
  return leakageChecks(spec, { relations, columns: await engine.columnsOf(relations.at(-1)!), key }, engine);
}
async function assigned(relation: string, spec: SplitSpec, key: string[] = []): Promise<string> {
  return `(SELECT *, ${splitExpression(spec, await engine.columnsOf(relation), key)} AS split FROM ${relation})`;
}

describe("leakage", () => {
  const orders =
    "(SELECT range AS id, range % 200 AS customer, (range * 7919 % 100003)::double AS amount FROM range(3000))";

  test("what the hash of the group assigns does not leak", async () => {
    const spec = specOf({ key: "customer" });
    expect(await check(spec, [await assigned(orders, spec)], ["id"])).toMatchObject([
      { check: "split-leakage", status: "passed", failing: 0, measured: { shared_groups: 0, duplicate_rows: 0 } },
    ]);
  });

  test("a group in two splits is found, named and counted", async () => {
    const spec = specOf({ key: "customer" });
    const broken = (await assigned(orders, spec)).replace(/AS split FROM/, "AS s FROM");
    const relation = `(SELECT * EXCLUDE (s), CASE WHEN id = 5 THEN CASE s WHEN 'test' THEN 'train' ELSE 'test' END ELSE s END AS split FROM ${broken})`;
    const [result] = await check(spec, [relation], ["id"]);
    expect(result).toMatchObject({ status: "failed", failing: 15, measured: { shared_groups: 1 } });
    expect(result!.message).toContain("1 group of `customer` is in more than one split (`5`)");
    expect(await check({ ...spec, leakage: "warn" }, [relation], ["id"])).toMatchObject([{ status: "warned" }]);
    expect(await check({ ...spec, leakage: "off" }, [relation], ["id"])).toEqual([]);
  });

  test("new rows leak into what is there already, under another seed", async () => {
    const [before, after] = [specOf({ key: "customer" }), specOf({ key: "customer", seed: 1 })];
    const old = await assigned(orders, before);
    const next = await assigned(orders.replace("range AS id", "range + 5000 AS id"), after);
    expect((await check(after, [next], ["id"]))[0]!.status).toBe("passed");
    expect((await check(after, [old, next], ["id"]))[0]!.status).toBe("failed");
  });

  test("a split by time leaks the customers that come back", async () => {
    const relation =
      "(SELECT range AS id, range % 200 AS customer, date '2024-01-01' + (range // 30)::int AS day FROM range(3000))";
    const spec = splitSchema.parse({ by: "time", column: "day", boundaries: { test: "2024-03-01" }, key: "customer" });
    expect((await check(spec, [await assigned(relation, spec)], ["id"]))[0]).toMatchObject({
      status: "failed",
      measured: { shared_groups: 200 },
    });
    const timeOnly = { ...spec, key: undefined } as SplitSpec;
    expect((await check(timeOnly, [await assigned(relation, timeOnly)], ["id"]))[0]!.status).toBe("passed");
  });

  test("copies under another key are found; values that repeat by themselves only warn", async () => {
    const spec = specOf({});
    const copied = "(SELECT range AS id, (range % 2980)::double AS x, 'text ' || (range % 2980) AS t FROM range(3000))";
    const [result] = await check(spec, [await assigned(copied, spec, ["id"])], ["id"]);
    expect(result!.status).toBe("failed");
    expect(result!.measured["duplicate_rows"]).toBeGreaterThan(0);
    expect(result!.measured["duplicate_rows"]).toBeLessThanOrEqual(40);
    const coarse = "(SELECT range AS id, range % 3 AS x FROM range(3000))";
    expect((await check(spec, [await assigned(coarse, spec, ["id"])], ["id"]))[0]).toMatchObject({
      status: "warned",
      measured: { duplicate_contents: 3 },
    });
    const together = specOf({ key: ["x", "t"] });
    expect((await check(together, [await assigned(copied, together, ["id"])], ["id"]))[0]!.status).toBe("passed");
  });

  test("an earlier version without the newest columns is still compared; no rows are fine; a broken relation never passes", async () => {
    const spec = specOf({ key: "customer" });
    const now = await assigned("(SELECT range AS id, range % 9 AS customer, 'n' AS extra FROM range(50))", spec);
    const old = await assigned("(SELECT range + 90 AS id, range % 9 AS customer FROM range(50))", spec);
    expect((await check(spec, [old, now], ["id"]))[0]!.status).toBe("passed");
    expect((await check(spec, [`(SELECT * FROM ${now} WHERE false)`], ["id"]))[0]!.status).toBe("passed");
    const [broken] = await leakageChecks(
      spec,
      { relations: ["no_such_table"], columns: [{ name: "customer", type: "long" }], key: [] },
      engine,
    );
    expect(broken).toMatchObject({ status: "failed", error: expect.stringContaining("no_such_table") });
  });
});

describe("balance of strata", () => {
  const iris =
    "(SELECT range AS id, ['setosa', 'versicolor', 'virginica'][1 + (range // 50)::int] AS species FROM range(150))";

  test("large strata come out as wished", async () => {
    const relation = "(SELECT range AS id, range % 3 AS species FROM range(60000))";
    const spec = specOf({ stratify: "species" });
    const results = await check(spec, [await assigned(relation, spec, ["id"])], ["id"]);
    expect(results.find((result) => result.check === "split-balance")).toMatchObject({
      status: "passed",
      measured: { strata: 3 },
    });
  });

  test("a small one that did not is named, with a seed that does better, and that seed is better", async () => {
    const spec = specOf({ stratify: "species" });
    const relation = await assigned(iris, spec, ["id"]);
    const balance = (await check(spec, [relation], ["id"])).find((result) => result.check === "split-balance")!;
    expect(balance.status).toBe("warned");
    expect(balance.message).toMatch(/has \d+ of 50 rows in (test|validation), not 5/);
    const seed = Number(balance.measured["suggested_seed"]);
    const better = { ...spec, seed };
    const again = (await check(better, [await assigned(iris, better, ["id"])], ["id"])).find(
      (result) => result.check === "split-balance",
    )!;
    expect(again.status).toBe("passed");
    expect(Number(again.measured["largest_deviation"])).toBeLessThan(Number(balance.measured["largest_deviation"]));
    expect(
      await suggestSeed(better, { relations: [relation], columns: await engine.columnsOf(iris), key: ["id"] }, engine),
    ).toBeUndefined();
  });

  test("groups stay whole, and their seed is chosen by rows", async () => {
    const relation =
      "(SELECT range AS id, range // 5 AS patient, CASE WHEN range // 5 % 4 = 0 THEN 'ill' ELSE 'well' END AS label FROM range(1000))";
    const spec = specOf({ stratify: "label", key: "patient" });
    const results = await check(spec, [await assigned(relation, spec)], ["id"]);
    expect(results.find((result) => result.check === "split-leakage")!.measured["shared_groups"]).toBe(0);
    const seed = await suggestSeed(
      spec,
      { relations: [relation], columns: await engine.columnsOf(relation), key: ["id"] },
      engine,
    );
    const better = { ...spec, seed: seed ?? spec.seed };
    const again = await check(better, [await assigned(relation, better)], ["id"]);
    expect(again.find((result) => result.check === "split-balance")!.status).toBe("passed");
    expect(again.find((result) => result.check === "split-leakage")!.measured["shared_groups"]).toBe(0);
  });
});

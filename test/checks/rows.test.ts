import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ask, openTestEngine, type Asked, type TestEngine } from "./engine.ts";

let engine: TestEngine;
beforeAll(async () => {
  engine = await openTestEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const rows = (values: string, names = "a"): string => `(SELECT * FROM (VALUES ${values}) AS t(${names}))`;
const previous = (sql: string, more: Asked["context"] = {}): Asked => ({
  context: { previous: sql, mode: "append", ...more },
});

type Case = [string, string, Record<string, unknown>, Asked, "passed" | "warned" | "failed", number | undefined];
const now = (sql: string): Asked => ({ context: { baseline: sql } });

const cases: Case[] = [
  ["all different", rows("(1), (2)"), { check: "unique", column: "a" }, {}, "passed", 0],
  ["one repeats twice", rows("(1), (1), (1), (2)"), { check: "unique", column: "a" }, {}, "failed", 2],
  ["nulls are not compared", rows("(NULL), (NULL), (1)"), { check: "unique", column: "a" }, {}, "passed", 0],
  [
    "together unique",
    rows("(1, 1), (1, 2), (2, 1)", "a, b"),
    { check: "unique", columns: ["a", "b"] },
    {},
    "passed",
    0,
  ],
  ["NaN equals NaN", rows("('nan'::double), ('nan')"), { check: "unique", column: "a" }, {}, "failed", 1],
  [
    "already in the dataset",
    rows("(1), (2), (2)"),
    { check: "unique", column: "a" },
    previous(rows("(1), (5)")),
    "failed",
    2,
  ],
  ["in the dataset and twice", rows("(1), (1)"), { check: "unique", column: "a" }, previous(rows("(1)")), "failed", 2],
  [
    "previous is left out",
    rows("(1)"),
    { check: "unique", column: "a", previous: false },
    previous(rows("(1)")),
    "passed",
    0,
  ],
  [
    "merge replaces its key",
    rows("(1)"),
    { check: "unique", column: "a" },
    previous(rows("(1)"), { mode: "merge", key: ["a"] }),
    "passed",
    0,
  ],
  [
    "merge: another key has the value",
    rows("(1, 'x'), (2, 'y')", "id, a"),
    { check: "unique", column: "a" },
    previous(rows("(1, 'x'), (9, 'y')", "id, a"), { mode: "merge", key: ["id"] }),
    "failed",
    1,
  ],
  [
    "previous lacks the column",
    rows("(1)"),
    { check: "unique", column: "a" },
    previous(rows("(1)", "b"), { previousColumns: [{ name: "b", type: "int" }] }),
    "passed",
    0,
  ],
  ["no copies", rows("(1, NULL), (1, 2), (2, NULL)", "a, b"), { check: "duplicates" }, {}, "passed", 0],
  [
    "copies with nulls and NaN",
    rows("(1, NULL), (1, NULL), ('nan'::double, 1), ('nan', 1)", "a, b"),
    { check: "duplicates" },
    {},
    "failed",
    2,
  ],
  ["ignored columns", rows("(1, 1), (1, 2)", "a, b"), { check: "duplicates", ignore: ["b"] }, {}, "failed", 1],
  [
    "the split does not count",
    rows("(1, 'train'), (1, 'test')", "a, split"),
    { check: "duplicates" },
    { context: { split: "split" } },
    "failed",
    1,
  ],
  [
    "nested copies",
    rows("(['x'], {a: 1.5::decimal(10,2), b: 2.0::double}), (['x'], {a: 1.5, b: 2.0})", "a, b"),
    { check: "duplicates" },
    {},
    "failed",
    1,
  ],
  ["enough rows", rows("(1), (2)"), { check: "row-count", min: 2, max: 2 }, {}, "passed", undefined],
  ["too few rows", rows("(1), (2)"), { check: "row-count", min: 3 }, {}, "failed", undefined],
  [
    "grows by half: at the edge",
    rows("(1)"),
    { check: "row-count", max_growth: 0.5 },
    previous(rows("(1), (2)")),
    "passed",
    undefined,
  ],
  [
    "grows too much",
    rows("(1), (2)"),
    { check: "row-count", max_growth: 0.5 },
    previous(rows("(1), (2)")),
    "failed",
    undefined,
  ],
  [
    "replaced by fewer",
    rows("(1)"),
    { check: "row-count", max_shrink: 0.4 },
    now(rows("(1), (2)")),
    "failed",
    undefined,
  ],
  ["first version", rows("(1)"), { check: "row-count", max_growth: 0 }, {}, "passed", undefined],
  [
    "fresh",
    rows("(timestamptz '2024-06-15 13:30:00+02')"),
    { check: "freshness", column: "a", max_age: "30m" },
    {},
    "passed",
    undefined,
  ],
  [
    "stale",
    rows("(timestamptz '2024-06-15 13:29:00+02')"),
    { check: "freshness", column: "a", max_age: "30m" },
    {},
    "failed",
    undefined,
  ],
  [
    "yesterday is not a day old",
    rows("(date '2024-06-14')"),
    { check: "freshness", column: "a", max_age: "12h" },
    {},
    "passed",
    undefined,
  ],
  [
    "infinity is no moment",
    rows("(timestamp 'infinity'), ('2024-06-15')"),
    { check: "freshness", column: "a", max_age: "11h" },
    {},
    "failed",
    undefined,
  ],
  [
    "in the future",
    rows("(timestamp '2024-06-16')"),
    { check: "freshness", column: "a", max_age: "1d", max_ahead: "1h" },
    {},
    "failed",
    undefined,
  ],
  [
    "only nulls are not fresh",
    rows("(NULL::timestamp)"),
    { check: "freshness", column: "a", max_age: "1d" },
    {},
    "failed",
    undefined,
  ],
  [
    "condition over all rows",
    rows("(1, 2), (2, 2)", "a, b"),
    { check: "sql", aggregate: "sum(a) <= sum(b) -- fine" },
    {},
    "passed",
    undefined,
  ],
  ["condition that is null", rows("(NULL::int)"), { check: "sql", aggregate: "sum(a) > 0" }, {}, "failed", undefined],
  [
    "balanced",
    rows("('x'), ('y'), (NULL)"),
    { check: "class-balance", label: "a", min_share: 0.5, max_ratio: 1 },
    {},
    "passed",
    undefined,
  ],
  [
    "rare class",
    rows("('x'), ('x'), ('x'), ('y')"),
    { check: "class-balance", label: "a", min_share: 0.26 },
    {},
    "failed",
    undefined,
  ],
  [
    "ratio",
    rows("('x'), ('x'), ('x'), ('y')"),
    { check: "class-balance", label: "a", max_ratio: 2.9 },
    {},
    "failed",
    undefined,
  ],
  [
    "absent class",
    rows("('x'), ('y')"),
    { check: "class-balance", label: "a", classes: ["x", "y", "z"] },
    {},
    "failed",
    undefined,
  ],
  [
    "too many to be classes",
    "(SELECT range AS a FROM range(2000))",
    { check: "class-balance", label: "a", min_rows: 1 },
    {},
    "failed",
    undefined,
  ],
  [
    "mean",
    rows("(1), (2), (3)"),
    { check: "statistic", column: "a", of: "mean", min: 2, max: 2 },
    {},
    "passed",
    undefined,
  ],
  [
    "mean of finite values",
    rows("(1.0::double), ('nan'), ('inf')"),
    { check: "statistic", column: "a", of: "mean", max: 0.5 },
    {},
    "failed",
    undefined,
  ],
  [
    "spread of one row",
    rows("(1)"),
    { check: "statistic", column: "a", of: "stddev", max: 1 },
    {},
    "failed",
    undefined,
  ],
  [
    "share of nulls of no rows",
    "(SELECT 1 AS a WHERE false)",
    { check: "statistic", column: "a", of: "null-share", max: 1 },
    {},
    "failed",
    undefined,
  ],
  [
    "different values",
    rows("('x'), ('y'), ('x')"),
    { check: "statistic", column: "a", of: "distinct", min: 3 },
    {},
    "failed",
    undefined,
  ],
  [
    "quantile",
    "(SELECT range AS a FROM range(1000))",
    { check: "statistic", column: "a", of: "quantile", q: 0.9, min: 880, max: 920 },
    {},
    "passed",
    undefined,
  ],
  [
    "not finite",
    rows("('nan'::double), (1)"),
    { check: "statistic", column: "a", of: "not-finite", max: 0 },
    {},
    "failed",
    undefined,
  ],
  [
    "contract",
    rows("(1, 'x')", "a, b"),
    {
      check: "columns",
      columns: { a: "int", b: { type: "string", required: true }, c: { optional: true } },
      extra: false,
    },
    {},
    "passed",
    undefined,
  ],
  ["contract: type", rows("(1)"), { check: "columns", columns: { a: "long" } }, {}, "failed", undefined],
  ["contract: missing", rows("(1)", "aa"), { check: "columns", columns: { ab: "any" } }, {}, "failed", undefined],
  [
    "contract: extra",
    rows("(1, 2)", "a, b"),
    { check: "columns", columns: { a: "int" }, extra: false },
    {},
    "failed",
    undefined,
  ],
  [
    "contract: null",
    rows("(1), (NULL)"),
    { check: "columns", columns: { a: { required: true } } },
    {},
    "failed",
    undefined,
  ],
  [
    "contract: order",
    rows("(1, 2)", "b, a"),
    { check: "columns", columns: { a: "int", b: "int" }, order: true },
    {},
    "failed",
    undefined,
  ],
];

test.each(cases)("%s: %s with %j", async (_title, relation, spec, asked, status, failing) => {
  const result = await ask(engine, relation, spec, asked);
  expect(result.error).toBeUndefined();
  expect({ status: result.status, failing: result.failing }, result.message).toEqual({ status, failing });
});

describe("foreign keys", () => {
  const context = {
    dataset: (name: string) => (name === "customers" ? rows("(1, 'a'), (2, 'b'), (NULL, 'c')", "id, c") : fail(name)),
  };
  const fail = (name: string): never => {
    throw new Error(`no dataset ${name}`);
  };
  test("nulls on either side neither fail nor hide a failure", async () => {
    const spec = { check: "foreign-key", column: "a", dataset: "customers", references: ["id"] };
    expect(await ask(engine, rows("(1), (2), (NULL)"), spec, { context })).toMatchObject({
      status: "passed",
      failing: 0,
    });
    const result = await ask(engine, rows("(1), (3), (3), (NULL)"), spec, { context });
    expect(result).toMatchObject({ status: "failed", failing: 2 });
    expect(result.message).toContain("2 of 4 rows (50 %), for instance `3`");
  });
  test("several columns", async () => {
    const spec = { check: "foreign-key", columns: ["a", "c"], dataset: "customers", references: ["id", "c"] };
    expect(await ask(engine, rows("(1, 'a'), (1, 'b'), (2, NULL)", "a, c"), spec, { context })).toMatchObject({
      failing: 1,
    });
  });
});

describe("label leakage", () => {
  const noise = "(hash(range) % 1000)::BIGINT";
  test.each([
    [
      "a copy of the label",
      `(SELECT ${noise} < 300 AS y, CASE WHEN ${noise} < 300 THEN 'yes' ELSE 'no' END AS x, (hash(range * 7) % 10)::BIGINT AS other FROM range(5000))`,
      ["x"],
    ],
    [
      "a threshold on a number that is different in each row",
      `(SELECT ${noise} < 20 AS y, (${noise} + random() / 2)::double AS x FROM range(20000))`,
      ["x"],
    ],
    [
      "missing values that give it away",
      `(SELECT ${noise} < 500 AS y, CASE WHEN ${noise} < 500 THEN (hash(range * 3) % 50)::BIGINT END AS x FROM range(5000))`,
      ["x"],
    ],
    [
      "a number that follows a quantity",
      "(SELECT (hash(range) % 10000)::double AS y, (hash(range) % 10000)::DOUBLE * 2.5 + 1 AS x, (hash(range * 5) % 10000)::BIGINT AS z FROM range(5000))",
      ["x"],
    ],
    [
      "identifiers and noise give nothing away",
      `(SELECT ${noise} < 300 AS y, uuid()::varchar AS id, (hash(range * 11) % 40)::BIGINT AS x, random() AS z FROM range(5000))`,
      [],
    ],
    ["a rare label and a useless constant", `(SELECT ${noise} < 5 AS y, 1 AS x FROM range(5000))`, []],
    ["one label only", "(SELECT 1 AS y, range AS x FROM range(100))", []],
  ] as [string, string, string[]][])("%s", async (_title, relation, leaks) => {
    const result = await ask(engine, relation, { check: "label-leakage", label: "y" });
    expect(result.error).toBeUndefined();
    expect(result.status, result.message).toBe(leaks.length > 0 ? "failed" : "passed");
    for (const name of leaks) expect(result.message).toContain(`\`${name}\``);
    expect(result.message).not.toContain("`other`");
  });
});

describe("drift", () => {
  const before =
    "(SELECT range AS id, (range % 100)::double AS x, ['red', 'green', 'blue'][1 + (range % 3)::int] AS c, range % 2 = 0 AS b FROM range(10000))";
  const drift = (relation: string, spec: Record<string, unknown> = {}, baseline = before) =>
    ask(engine, relation, { check: "drift", ...spec }, { context: { baseline, key: ["id"] } });

  test("the same data has not drifted", async () => {
    const result = await drift(before);
    expect(result).toMatchObject({ status: "passed", measured: { "psi:x": 0, "ks:x": 0, "psi:c": 0, "new:c": 0 } });
    expect(Object.keys(result.measured)).not.toContain("psi:id");
  });
  test("a shifted number fails, and warns with `on_fail: warn`", async () => {
    const shifted = before.replace("(range % 100)::double", "(range % 100)::double + 40");
    const result = await drift(shifted);
    expect(result.status).toBe("failed");
    expect(result.message).toContain("`x` has shifted (PSI ");
    expect(Number(result.measured["ks:x"])).toBeCloseTo(0.4, 1);
    expect(await drift(shifted, { on_fail: "warn" })).toMatchObject({ status: "warned" });
    expect(await drift(shifted, { ignore: ["x"] })).toMatchObject({ status: "passed" });
  });
  test("a slight shift warns", async () => {
    const result = await drift(before.replace("(range % 100)::double", "(range % 100)::double + 8"));
    expect(result, result.message).toMatchObject({ status: "warned" });
  });
  test("new categories", async () => {
    const fresh = before.replace("'blue'", "CASE WHEN range = 2 THEN 'violet' ELSE 'blue' END");
    expect(await drift(fresh)).toMatchObject({ status: "warned", message: "`c` has new values: `violet`" });
    expect(await drift(fresh, { new_categories: "fail" })).toMatchObject({ status: "failed" });
    expect(await drift(fresh, { new_categories: "allow" })).toMatchObject({ status: "passed" });
  });
  test("nulls and NaN are part of the distribution", async () => {
    expect(
      await drift(before.replace("(range % 100)::double", "CASE WHEN range % 2 = 0 THEN (range % 100)::double END")),
    ).toMatchObject({ status: "failed" });
    expect(
      await drift(
        before.replace("(range % 100)::double", "CASE WHEN range % 2 = 0 THEN 'nan'::double ELSE range % 100 END"),
      ),
    ).toMatchObject({ status: "failed" });
  });
  test("what chance explains is no drift", async () => {
    const few = "(SELECT range AS id, random() AS x, 'red' AS c, true AS b FROM range(30))";
    expect(await drift(few, { columns: ["x"] }, few)).toMatchObject({ status: "passed" });
  });
  test("text with too many values is said to be left out", async () => {
    const wide = "(SELECT range AS id, 'v' || range AS c FROM range(3000))";
    const result = await drift(wide, {}, wide);
    expect(result).toMatchObject({ status: "passed" });
    expect(result.message).toContain("more than 200 values: `c`");
  });
  test("a column that is new, and no earlier version, are nothing to compare", async () => {
    expect(await ask(engine, before, { check: "drift" })).toMatchObject({ status: "passed" });
    const asked = { context: { baseline: "(SELECT 1 AS z)", previousColumns: [{ name: "z", type: "int" as const }] } };
    expect(await ask(engine, before, { check: "drift" }, asked)).toMatchObject({ status: "passed" });
  });
});

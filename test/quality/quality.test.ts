import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MillraceError } from "../../src/core/index.ts";
import { AlikeRows } from "../../src/pipeline/alike.ts";
import {
  measureChecks,
  quarantineSelect,
  recordExpression,
  rowsOfRecords,
  verifyChecks,
} from "../../src/quality/index.ts";
import { ask, loadCheck, openTestEngine, plan, type TestEngine } from "../checks/engine.ts";

let engine: TestEngine;
beforeAll(async () => {
  engine = await openTestEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const rows = (values: string, names = "a"): string => `(SELECT * FROM (VALUES ${values}) AS t(${names}))`;

describe("plans", () => {
  const relation = rows("(1, 'x', 1.5::double)", "id, customer_id, price");
  const refused = async (spec: Record<string, unknown>): Promise<MillraceError> => {
    try {
      await plan(engine, relation, [{ check: "row-count", min: 0 }, spec]);
    } catch (error) {
      return error as MillraceError;
    }
    throw new Error("the plan was accepted");
  };
  test.each([
    [
      { check: "not-null", column: "custmer_id" },
      "config",
      "`checks[1]`: the check `not-null` names the column `custmer_id`, which is not there",
      "did you mean `customer_id`?",
    ],
    [{ check: "not-null" }, "config", "either `column` or `columns` is needed", undefined],
    [{ check: "not-null", column: "id", columns: ["id"] }, "config", "and not both", undefined],
    [
      { check: "not-null", colum: "id" },
      "config",
      "`colum` is not an option of the check `not-null`; did you mean `column`?",
      undefined,
    ],
    [{ check: "range", column: "price" }, "config", "at least one of `min`, `max`, `above` and `below`", undefined],
    [
      { check: "range", column: "customer_id", min: 1 },
      "config",
      "does not apply to the column `customer_id` of type `string`",
      undefined,
    ],
    [{ check: "range", column: "price", min: "2020-01-01" }, "config", "needs a number", undefined],
    [{ check: "regex", column: "customer_id", pattern: "(?=a)" }, "config", "look-around", undefined],
    [{ check: "type", column: "customer_id", type: "integer" }, "config", "the types are", undefined],
    [{ check: "row-count", min: 2, on_fail: "reject" }, "config", "cannot reject rows", undefined],
    [{ check: "row-count", min: 2, max_share: 0.1 }, "config", "no number of rows may fail", undefined],
    [{ check: "sql", aggregate: "true", on_fail: "reject" }, "config", "cannot reject rows", undefined],
    [{ check: "freshness", column: "price", max_age: "1d" }, "config", "does not apply", undefined],
    [
      { check: "unique", column: "id", order_by: ["prize desc"] },
      "config",
      "names the column `prize`",
      "did you mean `price`?",
    ],
  ])("%j is refused before anything is read", async (spec, code, message, hint) => {
    const error = await refused(spec);
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
    expect(error.message).toContain("checks[1]");
    if (hint !== undefined) expect(error.hint).toContain(hint);
    expect(error.where.check).toBe(spec.check);
  });
});

describe("binding", () => {
  const relation = "(SELECT 1 AS a, 'x' AS t WHERE error('nothing may be read'))";
  test.each([
    [{ check: "regex", column: "t", pattern: "(a" }, "missing )"],
    [{ check: "sql", expression: "nonsense > 1" }, "nonsense"],
    [{ check: "sql", aggregate: "sum(t) > 1" }, "sum"],
  ])("%j is refused without reading a row", async (spec, message) => {
    const planned = await plan(engine, relation, [{ check: "duplicates" }, spec]);
    await expect(verifyChecks(planned, engine)).rejects.toMatchObject({
      code: "config",
      message: expect.stringMatching(/^`checks\[1\]`: .*/),
    });
    await expect(verifyChecks(planned, engine)).rejects.toThrow(message);
  });
  test("what is right is not executed", async () => {
    const context = { previous: relation, mode: "append" as const };
    await verifyChecks(
      await plan(
        engine,
        relation,
        [{ check: "unique", column: "a" }, { check: "drift" }, { check: "regex", column: "t", pattern: "a+" }],
        { context },
      ),
      engine,
    );
  });
});

describe("thresholds", () => {
  const relation = `(SELECT CASE WHEN range < 7 THEN NULL ELSE range END AS a FROM range(100))`;
  test.each([
    [{}, "failed"],
    [{ max_rows: 7 }, "passed"],
    [{ max_rows: 6 }, "failed"],
    [{ max_share: 0.07 }, "passed"],
    [{ max_share: 0.0699 }, "failed"],
    [{ max_rows: 100, max_share: 0.01 }, "failed"],
    [{ max_rows: 7 }, "passed"],
    [{ on_fail: "warn" }, "warned"],
    [{ on_fail: "warn", max_rows: 7 }, "passed"],
    [{ on_fail: "reject" }, "warned"],
    [{ on_fail: "reject", max_rows: 7 }, "warned"],
    [{ on_fail: "reject", max_share: 0.05 }, "failed"],
  ])("7 nulls in 100 rows with %j: %s", async (more, status) => {
    expect(await ask(engine, relation, { check: "not-null", column: "a", ...more })).toMatchObject({
      status,
      failing: 7,
    });
  });
  test("in a check with a `max` of its own, `max` is the bound and `max_rows` the tolerance", async () => {
    expect(await ask(engine, rows("(1), (5)"), { check: "range", column: "a", max: 4 })).toMatchObject({
      status: "failed",
      failing: 1,
    });
    expect(await ask(engine, rows("(1), (5)"), { check: "range", column: "a", max: 4, max_rows: 1 })).toMatchObject({
      status: "passed",
    });
  });
});

describe("one scan", () => {
  test("all checks of a dataset share one statement, and a broken one fails alone", async () => {
    const relation = rows("(1, 'x'), (2, 'boom'), (2, NULL)", "a, b");
    const good = [
      { check: "not-null", column: "b" },
      { check: "range", column: "a", min: 0 },
      { check: "unique", column: "a" },
      { check: "duplicates" },
      { check: "class-balance", label: "b", min_rows: 1 },
    ];
    const run = async (specs: Record<string, unknown>[]) => {
      const planned = await plan(engine, relation, specs);
      const before = engine.scans.length;
      const results = await measureChecks(planned, { relation, engine });
      return { results, scans: engine.scans.length - before };
    };
    const alone = await run(good);
    expect(alone.scans).toBe(1);
    expect(alone.results.map((result) => result.status)).toEqual(["failed", "passed", "failed", "passed", "passed"]);
    const broken = [
      { check: "sql", expression: "CASE WHEN b = 'boom' THEN error('no') ELSE true END" },
      { check: "sql", expression: "nonsense >", on_fail: "warn" },
      { check: "sql", expression: "1 // 0 > 1" },
    ];
    const mixed = await run([...good, ...broken]);
    expect(mixed.results.slice(0, 5)).toEqual(alone.results);
    expect(mixed.results[5]).toMatchObject({ status: "failed", error: expect.stringContaining("no") });
    expect(mixed.results[6]).toMatchObject({ status: "warned", error: expect.any(String) });
    // Division by zero is null in the engine, and a condition that is null does not hold.
    expect(mixed.results[7]).toMatchObject({ status: "failed", failing: 3 });
  });
  test("a caller that stops is not taken for a broken check", async () => {
    const planned = await plan(engine, rows("(1)"), [{ check: "not-null", column: "a" }]);
    await expect(
      measureChecks(planned, { relation: rows("(1)"), engine, signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ code: "aborted" });
  });
});

/** Every check there is, with options that fit the hostile columns `n` (number) and `t` (text). */
const everyCheck: Record<string, (n: string, t: string) => Record<string, unknown>[]> = {
  "not-null": (n, t) => [{ columns: [n, t] }],
  unique: (n, t) => [{ columns: [n, t] }, { column: t }],
  duplicates: () => [{}],
  range: (n) => [{ column: n, min: 0, max: 1 }],
  "allowed-values": (n, t) => [
    { column: n, values: [1] },
    { column: t, values: ["x"] },
  ],
  regex: (_n, t) => [{ column: t, pattern: "x" }],
  format: (_n, t) => ["email", "date", "datetime", "json", "ipv6", "url"].map((format) => ({ column: t, format })),
  type: (_n, t) => ["int", "decimal(10,2)", "timestamptz", "date"].map((type) => ({ column: t, type })),
  length: (_n, t) => [{ column: t, min: 1, max: 3 }],
  "row-count": () => [{ min: 0, max_growth: 1 }],
  freshness: () => [{ column: "d", max_age: "1d" }],
  "foreign-key": (n) => [{ column: n, dataset: "other" }],
  columns: (n, t) => [{ columns: { [n]: { type: "double", required: true }, [t]: "string" } }],
  sql: (n) => [{ expression: `"${n.replaceAll('"', '""')}" > 0` }, { aggregate: "count(*) >= 0" }],
  labels: (n, t) => [{ columns: [n, t] }],
  "class-balance": (n, t) => [
    { label: n, min_share: 0.1 },
    { label: t, max_ratio: 2 },
  ],
  statistic: (n) =>
    ["mean", "stddev", "sum", "median", "distinct", "null-share", "not-finite"].map((of) => ({
      column: n,
      of,
      min: 0,
    })),
  "label-leakage": (n, t) => [{ label: t }, { label: n }],
  drift: () => [{}],
  "label-agreement": (n, t) => [
    { item: n, label: t },
    { item: [t], annotator: n, label: t },
  ],
  media: (_n, t) => [{ preset: "text", text: t }],
  "near-duplicates": (_n, t) => [{ text: t, previous: false }],
  "personal-data": (_n, t) => [{ column: t, kinds: ["email", "card"] }],
};

describe("hostile data: every check gives a verdict", () => {
  const names = ["a", "q\"u'o;te", "🚆 größe", "select"];
  const column = (name: string): string => `"${name.replaceAll('"', '""')}"`;
  const data: Record<string, string> = {
    empty: "SELECT 1.0::double, 'x', date '2024-01-01' WHERE false",
    "only nulls": "SELECT NULL::double, NULL::varchar, NULL::date FROM range(3)",
    "one row": "SELECT 1.0::double, 'x', date '2024-01-01'",
    "NaN and infinities":
      "SELECT * FROM (VALUES ('nan'::double, '', date '2024-01-01'), ('inf', chr(1), date 'infinity'), ('-inf', '🚆', date '-infinity'), (1e308, repeat('x', 10000), NULL), (-1e308, '''; drop', '0001-01-01'))",
  };
  test("every check is in the table", () => {
    const files = readdirSync(new URL("../../src/checks", import.meta.url)).filter((file) => file.endsWith(".ts"));
    expect(files.map((file) => file.slice(0, -3)).toSorted()).toEqual(Object.keys(everyCheck).toSorted());
  });
  for (const [title, select] of Object.entries(data)) {
    test.each(names)(`${title}, column %s`, async (name) => {
      const [n, t] = [name, `${name} text`];
      await using alike = new AlikeRows(engine.engine, { folder: engine.folder });
      const relation = `(SELECT * FROM (${select}) AS t(${column(n)}, ${column(t)}, d))`;
      const context = {
        previous: relation,
        mode: "append" as const,
        dataset: () => `(SELECT 1.0::double AS ${column(n)})`,
        alike: alike.alike,
      };
      const specs = Object.entries(everyCheck).flatMap(([check, options]) =>
        options(n, t).map((own) => ({ check, ...own })),
      );
      const planned = await plan(engine, relation, specs, { context });
      await alike.search(() => relation, "'a row'");
      const before = engine.scans.length;
      const results = await measureChecks(planned, { relation, engine });
      expect(results.filter((result) => result.error !== undefined)).toEqual([]);
      expect(engine.scans.length - before).toBe(1);
      for (const result of results) expect(JSON.parse(JSON.stringify(result))).toEqual(result);
      // Quarantine parts the rows without losing or adding one, whatever the checks.
      const rejecting = await plan(
        engine,
        relation,
        specs
          .filter((spec, index) => planned[index]!.facts.capabilities.rows && !("aggregate" in spec))
          .map((spec) => ({ ...spec, on_fail: "reject" })),
        { context },
      );
      const { good, bad } = quarantineSelect(relation, rejecting);
      const [all] = await engine.query(
        `SELECT (SELECT count(*) FROM ${relation}) AS "all", (SELECT count(*) FROM (${good})) AS good, (SELECT count(*) FROM (${bad})) AS bad, (SELECT count(*) FROM (${bad}) WHERE reason IS NULL OR reason = '' OR "check" IS NULL OR NOT json_valid(record)) AS unsaid`,
      );
      expect(Number(all!["good"]) + Number(all!["bad"])).toBe(Number(all!["all"]));
      expect(all!["unsaid"]).toBe(0n);
    });
  }
});

describe("quarantine", () => {
  const part = async (relation: string, specs: Record<string, unknown>[], context = {}) => {
    const planned = await plan(engine, relation, specs, { context });
    const { good, bad } = quarantineSelect(relation, planned);
    return { good: await engine.query(`${good} ORDER BY ALL`), bad: await engine.query(`${bad} ORDER BY record`) };
  };
  test("rows go with their reasons, and the others stay as they are", async () => {
    const relation = rows("(1, 5.0::double), (2, -1), (NULL, -2), (3, 'nan')", "id, price");
    const { good, bad } = await part(relation, [
      { check: "not-null", column: "id", on_fail: "reject" },
      { check: "range", column: "price", min: 0, on_fail: "reject" },
      { check: "range", column: "price", max: 1 },
    ]);
    expect(good).toEqual([{ id: 1, price: 5 }]);
    expect(bad).toEqual([
      { reason: "range: `price` is below 0: -1.0", check: "range", record: '{"id":2,"price":-1.0}' },
      { reason: "range: `price` is below 0: nan", check: "range", record: '{"id":3,"price":"nan"}' },
      {
        reason: "not-null: `id` is null; range: `price` is below 0: -2.0",
        check: "not-null",
        record: '{"id":null,"price":-2.0}',
      },
    ]);
  });
  test("of equal keys the first in the stated order stays", async () => {
    const relation = rows(
      "(1, 1, 'old'), (1, 3, 'new'), (1, 2, 'mid'), (NULL, 1, 'a'), (NULL, 1, 'b'), (2, NULL, 'x'), (2, 1, 'y')",
      "id, t, v",
    );
    const { good, bad } = await part(relation, [
      { check: "unique", column: "id", order_by: ["t desc"], on_fail: "reject" },
    ]);
    expect(good.map((row) => row["v"])).toEqual(["new", "y", "a", "b"]);
    expect(bad.map((row) => row["reason"])).toEqual(
      Array(3).fill(expect.stringMatching(/^unique: `id` is not unique: [12]$/)),
    );
  });
  test("a row does not go because of a copy that went itself", async () => {
    const relation = rows("(1, -5), (1, 7)", "id, price");
    const { good, bad } = await part(relation, [
      { check: "unique", column: "id", order_by: ["price"], on_fail: "reject" },
      { check: "range", column: "price", min: 0, on_fail: "reject" },
    ]);
    expect(good).toEqual([{ id: 1, price: 7 }]);
    expect(bad).toHaveLength(1);
  });
  test("of exact copies one stays, and keys of the dataset do not come again", async () => {
    const copies = await part(rows("(1, NULL), (1, NULL), (1, NULL), (2, 1)", "a, b"), [
      { check: "duplicates", on_fail: "reject" },
    ]);
    expect(copies.good).toEqual([
      { a: 1, b: null },
      { a: 2, b: 1 },
    ]);
    expect(copies.bad).toHaveLength(2);
    const again = await part(rows("(1), (2), (2)"), [{ check: "unique", column: "a", on_fail: "reject" }], {
      previous: rows("(1), (NULL)"),
      mode: "append",
    });
    expect(again.good).toEqual([{ a: 2 }]);
    expect(again.bad).toHaveLength(2);
  });
  test("both halves agree with what was counted", async () => {
    const relation = "(SELECT (hash(range) % 500)::BIGINT AS k, (hash(range * 3) % 100)::BIGINT AS v FROM range(5000))";
    const specs = [{ check: "unique", columns: ["k", "v"], on_fail: "reject" }];
    const counted = await ask(engine, relation, specs[0]!);
    const { good, bad } = await part(relation, specs);
    expect(bad).toHaveLength(counted.failing!);
    expect(good).toHaveLength(5000 - counted.failing!);
  });
  test("the record holds every value without loss", async () => {
    const relation =
      "(SELECT 9223372036854775807 AS big, 12345678901234567890.123456789::decimal(38,9) AS d, 'inf'::double AS f, 0.1::double AS g, '\\x00\\xFF'::blob AS b, ['a', NULL] AS l, " +
      "{a: 1.10::decimal(10,2), b: 'nan'::double} AS s, timestamptz '2024-01-01 00:00:00.123456Z' AS t, NULL::int AS n, ['nan'::double, 1] AS w, map {'k': 7} AS m, '123e4567-e89b-12d3-a456-426614174000'::uuid AS u, time '10:00:00.5' AS c)";
    const columns = await engine.columnsOf(relation);
    const [row] = await engine.query(`SELECT ${recordExpression(columns)} AS record FROM ${relation}`);
    const record = String(row!["record"]);
    expect(record).toContain('"big":9223372036854775807');
    expect(JSON.parse(record)).toMatchObject({
      d: "12345678901234567890.123456789",
      f: "inf",
      g: 0.1,
      b: "\\x00\\xFF",
      l: ["a", null],
      s: { a: "1.10", b: "nan" },
      t: "2024-01-01 00:00:00.123456+00",
      n: null,
      w: ["nan", 1],
    });
    // And the engine makes the same row of it again.
    const [same] = await engine.query(
      `SELECT ${columns.map(({ name }) => `r."${name}" IS NOT DISTINCT FROM o."${name}" AS "${name}"`).join(", ")} FROM ` +
        `(${rowsOfRecords(`SELECT '${record.replaceAll("'", "''")}' AS record`, columns)}) AS r, ${relation} AS o`,
    );
    expect(same).toEqual(Object.fromEntries(columns.map(({ name }) => [name, true])));
  });
});

test("the examples of every check are accepted by its own options", async () => {
  const { parse } = await import("yaml");
  for (const name of Object.keys(everyCheck)) {
    const definition = await loadCheck(name);
    expect(definition.name).toBe(name);
    expect(definition.examples.length).toBeGreaterThan(0);
    for (const { yaml } of definition.examples) {
      const {
        check,
        on_fail: _onFail,
        max_share: _share,
        max_rows: _rows,
        ...own
      } = parse(yaml) as Record<string, unknown>;
      expect(check).toBe(name);
      expect(definition.options.safeParse(own), `${name}: ${yaml}`).toMatchObject({ success: true });
    }
  }
});

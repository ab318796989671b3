import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ask, openTestEngine, plan, type TestEngine } from "./engine.ts";

let engine: TestEngine;
beforeAll(async () => {
  engine = await openTestEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const rows = (values: string, names = "a"): string => `(SELECT * FROM (VALUES ${values}) AS t(${names}))`;

/** Relation, options, rows that fail. The first word is the check. */
const cases: [string, string, Record<string, unknown>, number][] = [
  ["not-null", rows("(1), (2)"), { column: "a" }, 0],
  ["not-null", rows("(1), (NULL), (NULL)"), { column: "a" }, 2],
  ["not-null", rows("(1, NULL), (NULL, NULL), (NULL, 2)", "a, b"), { columns: ["a", "b"] }, 3],
  ["range", rows("(0), (10), (NULL)"), { column: "a", min: 0, max: 10 }, 0],
  ["range", rows("(-1), (0), (10), (11)"), { column: "a", min: 0, max: 10 }, 2],
  ["range", rows("(0), (5), (10)"), { column: "a", above: 0, below: 10 }, 2],
  ["range", rows("('nan'::double), ('inf'), ('-inf'), (1)"), { column: "a", min: 0 }, 2],
  ["range", rows("('nan'::double), ('inf'), ('-inf'), (1)"), { column: "a", max: 2 }, 2],
  ["range", rows("(9007199254740993), (9007199254740992)"), { column: "a", min: "9007199254740993" }, 1],
  ["range", rows("(0.10::decimal(10,2)), (0.11)"), { column: "a", max: 0.1 }, 1],
  ["range", rows("(date '2019-12-31'), ('2020-01-01')"), { column: "a", min: "2020-01-01" }, 1],
  [
    "range",
    rows("(timestamptz '2020-01-01 00:30:00+01'), ('2020-01-01 00:00:00Z')"),
    { column: "a", min: "2020-01-01" },
    1,
  ],
  [
    "range",
    rows("(timestamptz '2020-01-01 00:30:00+01'), ('2020-01-01 00:00:00Z')"),
    { column: "a", min: "2020-01-01T00:30:00+01:00" },
    0,
  ],
  [
    "range",
    rows("(timestamp '2020-01-01 00:00:00.000001'), ('2020-01-01')"),
    { column: "a", max: "2020-01-01T00:00:00Z" },
    1,
  ],
  ["allowed-values", rows("('x'), ('y'), (NULL)"), { column: "a", values: ["x", "y"] }, 0],
  ["allowed-values", rows("('x'), ('X'), ('it''s')"), { column: "a", values: ["x", "it's"] }, 1],
  ["allowed-values", rows("('x'), ('X'), ('z')"), { column: "a", values: ["x"], ignore_case: true }, 1],
  ["allowed-values", rows("(1), (2), (3)"), { column: "a", values: [1, "2", "none"] }, 1],
  ["allowed-values", rows("(1.5::double), ('nan')"), { column: "a", values: [1.5] }, 1],
  ["allowed-values", rows("(true), (false)"), { column: "a", values: [true] }, 1],
  ["regex", rows("('AB-1'), ('ab-1'), (''), (NULL)"), { column: "a", pattern: "^[A-Z]{2}-\\d$" }, 2],
  ["regex", rows("('AB-1'), ('ab-1')"), { column: "a", pattern: "^ab", ignore_case: true }, 0],
  ["regex", rows("('a b'), ('ab')"), { column: "a", pattern: "\\s", negate: true }, 1],
  ["length", rows("('ab'), ('äö'), ('abc'), (NULL)"), { column: "a", min: 2, max: 2 }, 1],
  ["length", rows("(['x','y']), ([]::varchar[])"), { column: "a", min: 1 }, 1],
  ["length", rows("('\\xAA'::blob), ('')"), { column: "a", min: 1 }, 1],
  ["length", rows("(map {'a': 1}), (map {})"), { column: "a", max: 0 }, 1],
  ["type", rows("('1'), (' -2 '), ('1.5'), ('x'), ('3000000000')"), { column: "a", type: "int" }, 3],
  ["type", rows("('9223372036854775807'), ('9223372036854775808')"), { column: "a", type: "long" }, 1],
  ["type", rows("('1.25'), ('1.250'), ('1.251'), ('.5'), ('12345'), ('')"), { column: "a", type: "decimal(6,2)" }, 3],
  ["type", rows("('2024-02-29'), ('2023-02-29'), ('2024-01-01 10:00:00')"), { column: "a", type: "date" }, 2],
  ["type", rows("('true'), ('maybe')"), { column: "a", type: "boolean" }, 1],
  ["labels", rows("('cat'), (''), (' '), (NULL), ('Unknown')"), { column: "a", missing: ["", "unknown"] }, 4],
  ["labels", rows("(1.0::double), ('nan'), (NULL)"), { column: "a" }, 2],
  ["labels", rows("('cat'), ('dog'), ('cow')"), { column: "a", values: ["cat", "dog"] }, 1],
  ["labels", rows("(['x']), ([]::varchar[])"), { column: "a" }, 1],
  ["sql", rows("(1, 2), (2, 1), (NULL, 1)", "a, b"), { expression: "a < b -- smaller" }, 2],
];

describe("checks of values", () => {
  test.each(cases)("%s over %s with %j fails %d rows", async (check, relation, options, failing) => {
    const result = await ask(engine, relation, { check, ...options });
    expect(result.error).toBeUndefined();
    expect(result).toMatchObject({ check, failing, status: failing === 0 ? "passed" : "failed" });
    // What is counted and what quarantine would move are the same rows.
    const [planned] = await plan(engine, relation, [{ check, ...options }]);
    const predicate = planned!.definition.failing!(planned!.options, planned!.context);
    const [row] = await engine.query(
      `SELECT count_if(${predicate}) AS n, count_if((${predicate}) IS NULL) AS unknown FROM ${relation} AS data`,
    );
    expect(row).toEqual({ n: BigInt(failing), unknown: 0n });
  });

  const formats: [string, string[], string[]][] = [
    ["email", ["a@b.co", "first.last+tag@sub.example.org"], ["a@b", "a b@c.de", "@x.de", "a@-x.de", "a@b..de"]],
    [
      "url",
      ["http://localhost:8080/x?y#z", "HTTPS://example.org", "http://[::1]/"],
      ["example.org", "ftp://x.de", "http://", "http://a b"],
    ],
    ["uri", ["mailto:x@y.de", "urn:isbn:1"], ["x", "1a:b", "a: b"]],
    ["hostname", ["example.org", "localhost", "a.b."], ["-x.de", "a..b", "a_b", "x".repeat(64)]],
    ["ipv4", ["0.0.0.0", "255.255.255.255"], ["256.1.1.1", "1.2.3", "01.2.3.4", "1.2.3.4 "]],
    [
      "ipv6",
      ["::", "::1", "fe80::1", "2001:db8:0:0:0:0:0:1", "1:2:3:4:5:6:7::", "::ffff:192.0.2.1"],
      ["1::2::3", "12345::", "1:2:3", "1:2:3:4:5:6:7:8:9"],
    ],
    [
      "uuid",
      ["123e4567-e89b-12d3-a456-426614174000"],
      ["123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400g"],
    ],
    ["date", ["2024-02-29"], ["2023-02-29", "24-01-01", "2024-1-1", "2024-01-01T00:00"]],
    ["time", ["23:59", "23:59:59.123Z"], ["24:00", "9:00", "12:60"]],
    [
      "datetime",
      ["2024-01-01T10:00:00Z", "2024-01-01 10:00:00.5+02:00"],
      ["2024-02-30T10:00:00Z", "2024-01-01", "2024-01-01T25:00:00"],
    ],
    ["json", ['{"a":[1,null]}', "1", '"x"'], ["{", "{a:1}", ""]],
    ["base64", ["", "YQ==", "YWI=", "YWJj"], ["YQ=", "Y", "YQ==YQ=="]],
    ["hex", ["00ff", "AB"], ["0", "0g", ""]],
    ["phone", ["+4915112345678"], ["015112345678", "+0123456789", "+49 151"]],
  ];
  test.each(formats)("format %s", async (format, good, bad) => {
    const literal = (texts: string[]): string =>
      rows(texts.map((text) => `('${text.replaceAll("'", "''")}')`).join(", "));
    expect(await ask(engine, literal(good), { check: "format", column: "a", format })).toMatchObject({
      status: "passed",
      failing: 0,
    });
    for (const text of bad) {
      expect(
        await ask(engine, literal([text]), { check: "format", column: "a", format }),
        `${format}: ${text}`,
      ).toMatchObject({ failing: 1 });
    }
  });

  test("a message names the column, the numbers and an example", async () => {
    const result = await ask(engine, rows("(1, 1), (-5, 1), (3, -1)", "a, b"), {
      check: "range",
      columns: ["a", "b"],
      min: 0,
    });
    expect(result.message).toBe(
      "`a` is below 0 in 1 of 3 rows (33.3 %), for instance `-5`; `b` is below 0 in 1 of 3 rows (33.3 %), for instance `-1`",
    );
    expect(result).toMatchObject({ failing: 2, measured: { "failing:a": 1, "failing:b": 1 } });
  });

  test("a long text against a pattern that is exponential elsewhere is done at once", async () => {
    const relation = "(SELECT repeat('a', 100000) || '!' AS a FROM range(50))";
    const started = performance.now();
    expect(await ask(engine, relation, { check: "regex", column: "a", pattern: "^(a+)+$" })).toMatchObject({
      failing: 50,
    });
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

describe("footers answer without a scan", () => {
  const relation = "(SELECT NULL::BIGINT AS a, NULL::DATE AS d, 'nothing may read this' AS s WHERE error('scanned'))";
  const statistics = {
    rows: 100,
    columns: { a: { nulls: 0, min: "-3", max: "12" }, d: { nulls: 2, min: "2020-01-01", max: "2024-06-14" } },
  };
  test.each([
    [{ check: "not-null", column: "a" }, "passed"],
    [{ check: "not-null", column: "d" }, "failed"],
    [{ check: "not-null", column: "d", max_rows: 2 }, "passed"],
    [{ check: "not-null", column: "d", max_rows: 1 }, "failed"],
    [{ check: "range", column: "a", min: -3, max: 12 }, "passed"],
    [{ check: "range", column: "d", min: "2020-01-01", below: "2024-06-15" }, "passed"],
    [{ check: "row-count", min: 100, max: 100 }, "passed"],
    [{ check: "row-count", max: 99 }, "failed"],
    [{ check: "freshness", column: "d", max_age: "1d" }, "passed"],
    [{ check: "freshness", column: "d", max_age: "1h" }, "failed"],
    [{ check: "columns", columns: { a: { type: "long", required: true }, d: "date" } }, "passed"],
    [{ check: "statistic", column: "d", of: "null-share", max: 0.02 }, "passed"],
  ])("%j: %s", async (spec, status) => {
    const before = engine.scans.length;
    expect(await ask(engine, relation, spec, { statistics })).toMatchObject({ status });
    expect(engine.scans.slice(before).filter((sql) => !sql.startsWith("DESCRIBE"))).toEqual([]);
  });

  test("what footers cannot answer is read, and gives what a scan alone gives", async () => {
    const data = rows("(1.0::double), ('nan'), (-5), (NULL)");
    const spec = { check: "range", column: "a", min: 0 };
    const alone = await ask(engine, data, spec);
    for (const facts of [
      { nulls: 1, min: "-5.0", max: "1.0" },
      { nulls: 1, min: "0.0", max: "1.0", nan: true },
      { nulls: 1 },
    ]) {
      expect(await ask(engine, data, spec, { statistics: { rows: 4, columns: { a: facts } } })).toEqual(alone);
    }
    expect(alone.failing).toBe(2);
  });
});

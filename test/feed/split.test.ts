import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sqlName, type Column } from "../../src/core/index.ts";
import { canonicalText, splitExpression, splitKey, splitOf } from "../../src/feed/split.ts";
import { splitSchema, type SplitSpec } from "../../src/pipeline/flow.ts";
import { openTestEngine, type TestEngine } from "../checks/engine.ts";

let engine: TestEngine;
beforeAll(async () => {
  engine = await openTestEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const specOf = (spec: Record<string, unknown>): SplitSpec =>
  splitSchema.parse({ train: 0.8, validation: 0.1, test: 0.1, ...spec });
const long = (name: string): Column => ({ name, type: "long" });

async function splits(relation: string, spec: SplitSpec, key: string[] = []): Promise<Record<string, unknown>[]> {
  const columns = await engine.columnsOf(relation);
  return engine.query(`SELECT *, ${splitExpression(spec, columns, key)} AS split FROM ${relation}`);
}

describe("by hash", () => {
  test("SQL, TypeScript and what the documentation says are one function", async () => {
    const relation =
      "(SELECT range AS id, CASE WHEN range % 5 = 0 THEN NULL ELSE 'k' || (range % 97) || 'ö🚆' END AS name FROM range(2000))";
    for (const spec of [
      specOf({ key: ["id", "name"] }),
      specOf({ key: "name", seed: -7 }),
      specOf({ key: "id", train: 0.7, validation: undefined, test: 0.3 }),
    ]) {
      for (const row of await splits(relation, spec)) {
        const texts = [spec.key].flat().map((name) => (row[name!] === null ? null : String(row[name!])));
        const hash = createHash("md5")
          .update([spec.seed, ...texts.map((text) => text ?? "\\N")].join("\x1f"))
          .digest("hex");
        const position = Number(BigInt(`0x${hash.slice(0, 13)}`)) / 2 ** 52;
        const documented =
          position < spec.train! ? "train" : spec.validation !== undefined && position < 0.9 ? "validation" : "test";
        expect(row["split"]).toBe(documented);
        expect(splitOf(spec, texts)).toBe(documented);
      }
    }
  });

  test("the assignment of known keys never changes", () => {
    const spec = specOf({ key: "id", seed: 7 });
    expect(
      createHash("sha256")
        .update(Array.from({ length: 10_000 }, (_, id) => splitOf(spec, [String(id)])).join())
        .digest("hex"),
    ).toBe(
      // Computed by the lines of Python in docs/guide/splits.md.
      "653f74c93a4071dac03455f7a67a75cf566bd4e3857dde06d8a0e4657f60ae79",
    );
  });

  test("shares are kept, and another seed gives another assignment", async () => {
    const relation = "(SELECT range AS id FROM range(200000))";
    const count = async (spec: SplitSpec) => {
      const rows = await engine.query(
        `SELECT ${splitExpression(spec, [long("id")], ["id"])} AS split, count(*) AS n FROM ${relation} GROUP BY 1`,
      );
      return Object.fromEntries(rows.map((row) => [String(row["split"]), Number(row["n"]) / 200_000]));
    };
    const shares = await count(specOf({}));
    expect(shares["train"]).toBeCloseTo(0.8, 2);
    expect(shares["validation"]).toBeCloseTo(0.1, 2);
    expect(shares["test"]).toBeCloseTo(0.1, 2);
    const [moved] = await engine.query(
      `SELECT count(*) FILTER (WHERE ${splitExpression(specOf({}), [long("id")], ["id"])} <> ${splitExpression(specOf({ seed: 1 }), [long("id")], ["id"])}) AS n FROM ${relation}`,
    );
    // Independent draws differ in 1 − (0.64 + 0.01 + 0.01) of the rows.
    expect(Number(moved!["n"]) / 200_000).toBeCloseTo(0.34, 1);
  });

  test("rows do not move when rows or columns are added, or the order changes", async () => {
    const few = "(SELECT range AS id FROM range(500))";
    const more = "(SELECT range AS id, 'new' AS extra FROM range(1000) ORDER BY hash(range))";
    const spec = specOf({ key: "id" });
    const before = new Map((await splits(few, spec)).map((row) => [row["id"], row["split"]]));
    for (const row of await splits(more, spec))
      if (before.has(row["id"])) expect(row["split"]).toBe(before.get(row["id"]));
  });

  test("equal keys share a split, and rows without key are one group", async () => {
    const relation =
      "(SELECT range AS id, CASE WHEN range % 3 = 0 THEN NULL ELSE range % 50 END AS customer FROM range(3000))";
    const found = new Map<unknown, Set<unknown>>();
    for (const row of await splits(relation, specOf({ key: "customer" }))) {
      found.set(row["customer"], (found.get(row["customer"]) ?? new Set()).add(row["split"]));
    }
    expect(found.size).toBe(51);
    for (const own of found.values()) expect(own.size).toBe(1);
  });

  test("widened columns keep their assignment", async () => {
    const pairs = [
      ["7::int", "7::bigint"],
      ["1.5::float", "1.5::double"],
      ["1.50::decimal(5,2)", "1.50::decimal(30,2)"],
      ["0.0::double", "-0.0::double"],
      ["timestamptz '2024-01-01 12:00:00+02'", "timestamptz '2024-01-01 10:00:00Z'"],
    ];
    for (const pair of pairs) {
      const texts = await Promise.all(
        pair.map(async (value) => {
          const columns = await engine.columnsOf(`(SELECT ${value} AS a)`);
          return (await engine.query(`SELECT ${canonicalText(columns[0]!)} AS t FROM (SELECT ${value} AS a)`))[0]!["t"];
        }),
      );
      expect(texts[0]).toBe(texts[1]);
    }
  });

  test.each([
    ["(-9223372036854775808)::bigint", "-9223372036854775808"],
    ["true", "true"],
    ["0.1::double", "0.10000000000000001"],
    ["1e300::double", "1.0000000000000001e+300"],
    ["5::double", "5"],
    ["'nan'::double", "nan"],
    ["'-inf'::double", "-inf"],
    ["12.50::decimal(10,2)", "12.50"],
    ["date '2024-02-29'", "2024-02-29"],
    ["time '10:00:00.5'", "10:00:00.5"],
    ["timestamp '2024-01-01 00:00:00.5'", "2024-01-01T00:00:00.500000"],
    ["timestamptz '2024-01-01 00:00:00.5+01'", "2023-12-31T23:00:00.500000Z"],
    ["'123E4567-e89b-12d3-a456-426614174000'::uuid", "123e4567-e89b-12d3-a456-426614174000"],
    ["'\\xAB\\x00'::blob", "ab00"],
    ["'x'", "x"],
    ["NULL::int", "\\N"],
  ])("canonical text of %s is %s", async (value, text) => {
    const relation = `(SELECT ${value} AS "a""b")`;
    const [column] = await engine.columnsOf(relation);
    expect(await engine.query(`SELECT ${canonicalText(column!)} AS t FROM ${relation}`)).toEqual([{ t: text }]);
  });

  test("without key the whole row decides, whatever the order of its columns", async () => {
    const one = await splits("(SELECT range AS a, range % 7 AS b, ['x'] AS c FROM range(300))", specOf({}));
    const other = await splits("(SELECT ['x'] AS c, range % 7 AS b, range AS a FROM range(300))", specOf({}));
    expect(one.map((row) => row["split"])).toEqual(other.map((row) => row["split"]));
    expect(splitKey(specOf({}), [long("b"), long("split"), long("a")], []).map((column) => column.name)).toEqual([
      "a",
      "b",
    ]);
  });

  test("shares at the edge", () => {
    expect(splitOf(specOf({ train: 1, validation: undefined, test: undefined }), ["x"])).toBe("train");
    expect(splitOf(specOf({ train: undefined, validation: undefined, test: 1 }), ["x"])).toBe("test");
    expect(splitOf(specOf({ train: 0, validation: 0, test: 1 }), ["x"])).toBe("test");
    expect(() => splitOf(specOf({ train: undefined, validation: undefined, test: undefined }), ["x"])).toThrow(
      "no share",
    );
  });

  test("strange names and wrong ones", () => {
    expect(splitExpression(specOf({ key: 'a"b' }), [long('a"b')], [])).toContain(sqlName('a"b'));
    expect(() => splitExpression(specOf({ key: "custmer" }), [long("customer")], [])).toThrow(
      "`split.key` names the column `custmer`",
    );
    expect(() => splitExpression(specOf({ stratify: "lable" }), [long("label")], [])).toThrow("split.stratify");
    expect(() => splitExpression(specOf({}), [], [])).toThrow("no column");
  });
});

describe("by time", () => {
  const time = (boundaries: Record<string, string>): SplitSpec =>
    splitSchema.parse({ by: "time", column: "t", boundaries });
  const assigned = async (values: string, boundaries: Record<string, string>) =>
    (await splits(`(SELECT * FROM (VALUES ${values}) AS v(t))`, time(boundaries))).map((row) => row["split"]);

  test("a boundary is the first moment of its split; no time is train", async () => {
    expect(
      await assigned("(date '2023-12-31'), ('2024-01-01'), ('2024-02-01'), (NULL)", {
        validation: "2024-01-01",
        test: "2024-02-01",
      }),
    ).toEqual(["train", "validation", "test", "train"]);
    expect(
      await assigned("(timestamptz '2024-01-01 00:59:59+01'), ('2024-01-01 01:00:00+01')", { test: "2024-01-01" }),
    ).toEqual(["train", "test"]);
    expect(
      await assigned("(timestamp '2024-01-01 11:59:59.999999'), ('2024-01-01 12:00:00')", {
        test: "2024-01-01T12:00:00",
      }),
    ).toEqual(["train", "test"]);
    expect(await assigned("(2019), (2020), (2021)", { validation: "2020", test: "2021" })).toEqual([
      "train",
      "validation",
      "test",
    ]);
  });
  test.each([
    ["string", { test: "2024-01-01" }, "needs a date, a timestamp or a number"],
    ["date", { test: "soon" }, "needs a date such as"],
    ["date", { test: "2024-13-01" }, "needs a date such as"],
    ["long", { test: "2024-01-01" }, "needs a number"],
    ["date", {}, "is empty"],
    ["date", { validation: "2024-02-01", test: "2024-01-01" }, "after `test`"],
    ["timestamp", { test: "2024-01-01T00:00:00+02:00" }, "without zone"],
  ] as const)("a column of type %s with %j is refused", (type, boundaries, message) => {
    expect(() => splitExpression(time(boundaries as Record<string, string>), [{ name: "t", type }], [])).toThrow(
      message,
    );
  });
});

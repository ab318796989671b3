import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Column } from "../../src/core/index.ts";
import { foldExpression, foldNumber, foldOf } from "../../src/feed/folds.ts";
import { splitExpression } from "../../src/feed/split.ts";
import { splitSchema, type SplitSpec } from "../../src/pipeline/flow.ts";
import { openTestEngine, type TestEngine } from "../checks/engine.ts";
import { millrace } from "../cli/millrace.ts";
import { openPlace, type Place } from "../support/flows.ts";

let engine: TestEngine;
let place: Place;
beforeAll(async () => {
  engine = await openTestEngine();
  place = await openPlace();
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const specOf = (spec: Record<string, unknown>): SplitSpec =>
  splitSchema.parse({ train: 0.8, test: 0.2, seed: 7, ...spec });
const orders = (rows: number): string =>
  `(SELECT range AS id, range % 97 AS customer, range % 10 AS class FROM range(${rows}))`;
const columns: Column[] = ["id", "customer", "class"].map((name) => ({ name, type: "long" }));

describe("by random", () => {
  const spec = specOf({ key: "customer" });
  const heldOut = `${splitExpression(spec, columns, ["id"])} = 'test'`;
  const number = foldNumber(spec, 5, columns, ["id"], heldOut);

  test("each row that is not held out is in one fold, a group is in one, and the folds are of one size", async () => {
    const rows = await engine.query(
      `SELECT customer, min(${number}) AS least, max(${number}) AS most, min(${heldOut}) AS h FROM ${orders(9700)} GROUP BY 1`,
    );
    expect(rows).toHaveLength(97);
    for (const row of rows) {
      expect(row["least"]).toBe(row["most"]);
      expect(row["least"] === null).toBe(row["h"]);
    }
    const sizes = await engine.query(
      `SELECT ${foldNumber(specOf({}), 5, columns, ["id"])} AS fold, count(*)::INT AS n FROM ${orders(50_000)} GROUP BY 1 ORDER BY 1`,
    );
    expect(sizes.map(({ fold }) => fold)).toEqual([1, 2, 3, 4, 5]);
    for (const { n } of sizes) expect(Math.abs(Number(n) - 10_000)).toBeLessThan(500);
  });

  test("what a fold holds out, all folds hold out together, and nothing twice; train is the rest", async () => {
    const held = (fold: number): string => foldExpression(spec, { folds: 5, fold }, columns, ["id"], heldOut);
    const every = [1, 2, 3, 4, 5].map((fold) => `(${held(fold)})`).join(", ");
    const seen = await engine.query(
      `SELECT list_sort([${every}]) AS splits, count(*) > 0 AS some, ${heldOut} AS h FROM ${orders(5000)} GROUP BY ALL`,
    );
    expect(seen).toHaveLength(2);
    for (const { splits, h } of seen) {
      const expected = h === true ? Array(5).fill("test") : ["train", "train", "train", "train", "validation"];
      expect(splits).toEqual(expected);
    }
  });

  test("rows that are appended move nobody, and other columns decide nothing", async () => {
    const changed = `(SELECT id, customer, class + 1 AS class FROM ${orders(9000)})`;
    const [row] = await engine.query(
      `SELECT count(*)::INT AS n FROM (SELECT id, ${number} AS f FROM ${orders(4000)}) a JOIN (SELECT id, ${number} AS f FROM ${changed}) b USING (id) WHERE a.f IS DISTINCT FROM b.f`,
    );
    expect(row).toEqual({ n: 0 });
  });

  test("the same in TypeScript, and independent of the splits", async () => {
    const plain = foldNumber(spec, 7, columns, []);
    const rows = await engine.query(`SELECT DISTINCT customer, ${plain} AS fold FROM ${orders(97)} ORDER BY 1`);
    for (const { customer, fold } of rows) expect(foldOf(spec, 7, [String(customer)])).toBe(fold);
    // Folds made of the splits' own numbers would put all of train's customers into the first folds.
    const spread = await engine.query(
      `SELECT count(DISTINCT f)::INT AS folds FROM (SELECT ${plain} AS f, ${splitExpression(spec, columns, [])} AS s FROM ${orders(97)}) GROUP BY s ORDER BY folds DESC`,
    );
    expect(spread.map(({ folds }) => folds)).toEqual([7, expect.toSatisfy((folds: number) => folds > 4)]);
  });

  test("what cannot be is refused", () => {
    expect(() => foldNumber(spec, 1, columns, [])).toThrow("`1` folds are not possible");
    expect(() => foldExpression(spec, { folds: 5, fold: 6 }, columns, [])).toThrow("there is no fold 6 of 5");
    expect(() => foldExpression(spec, { folds: 5, fold: 1, gap: "7d" }, columns, [])).toThrow("by: time");
    expect(() => foldNumber(specOf({ key: "customr" }), 5, columns, [])).toThrow("`customr`");
  });
});

describe("by time: windows that expand", () => {
  const windows = async (type: string, values: string, boundaries: object, gap?: string): Promise<unknown[]> => {
    const relation = `(SELECT CAST(t AS ${type}) AS t FROM (VALUES ${values}) AS v(t))`;
    const found = await engine.columnsOf(relation);
    const spec = splitSchema.parse({ by: "time", column: "t", boundaries });
    const splits = [1, 2, 3].map((fold) =>
      foldExpression(spec, { folds: 3, fold, ...(gap ? { gap } : {}) }, found, []),
    );
    const rows = await engine.query(
      `SELECT ${foldNumber(spec, 3, found, [])} AS fold, ${splits.map((split, index) => `${split} AS s${index + 1}`).join(", ")} FROM ${relation} ORDER BY t NULLS FIRST`,
    );
    return rows.map((row) => [
      row["fold"],
      ...[1, 2, 3].map((fold) => (row[`s${fold}`] as string | null)?.[0] ?? null),
    ]);
  };
  const boundaries = { validation: "2024-03-11", test: "2024-03-21" };
  const days =
    "(NULL), ('2024-02-01'), ('2024-02-20'), ('2024-02-29'), ('2024-03-01'), ('2024-03-10'), ('2024-03-11'), ('2024-03-20'), ('2024-03-21')";
  const expected = [
    [0, "t", "t", "t"],
    [0, "t", "t", "t"],
    [1, "v", "t", "t"],
    [1, "v", "t", "t"],
    [2, null, "v", "t"],
    [2, null, "v", "t"],
    [3, null, null, "v"],
    [3, null, null, "v"],
    [null, "t", "t", "t"],
  ];

  test.each(["DATE", "TIMESTAMP", "TIMESTAMPTZ"])("%s", async (type) => {
    // "t" is train and test: the last row alone is test.
    expect(await windows(type, days, boundaries)).toEqual(expected);
  });

  test("numbers, and a gap", async () => {
    expect(
      await windows("DECIMAL(6,1)", "(1), (79.9), (80), (89.9), (90), (100), (110)", {
        validation: "100",
        test: "110",
      }),
    ).toEqual([
      [0, "t", "t", "t"],
      [0, "t", "t", "t"],
      [1, "v", "t", "t"],
      [1, "v", "t", "t"],
      [2, null, "v", "t"],
      [3, null, null, "v"],
      [null, "t", "t", "t"],
    ]);
    const gapped = await windows(
      "DATE",
      "('2024-02-01'), ('2024-02-27'), ('2024-02-28'), ('2024-03-01')",
      boundaries,
      "2d",
    );
    expect(gapped).toEqual([
      [0, "t", "t", "t"],
      [1, "v", "t", "t"],
      [1, "v", null, "t"],
      [2, null, "v", "t"],
    ]);
  });

  test("without both boundaries nobody knows how long a window is", async () => {
    await expect(windows("DATE", days, { test: "2024-03-21" })).rejects.toThrow("from where to where");
  });
});

describe("in the lake", () => {
  const flows = {
    orders: {
      from: { path: "one.csv" },
      mode: "replace",
      transform: "select i as id, i % 60 as customer, i % 400 = 0 as rare from range(2000) as r(i), input",
      key: ["id"],
      split: { train: 0.7, validation: 0.1, test: 0.2, key: "customer", stratify: "rare", seed: 3, leakage: "off" },
    },
  };
  const rowsOf = (sql: string): Promise<Record<string, unknown>[]> => place.rows(sql);

  beforeAll(async () => {
    await place.write("one.csv", "one\n1\n");
    await place.configure(flows);
    await place.run("orders");
  });

  test("preview, query, export and feed agree with each other", async () => {
    const [stored] = await rowsOf("select count(*)::int as test from orders where split = 'test'");
    const all = new Set<string>();
    for (const fold of [1, 2, 3]) {
      const ids = await place.with(async (lake) => {
        const { rows } = await lake.query("select id, fold, split from orders where split = 'validation' order by id", {
          folds: 3,
          fold,
        });
        expect(rows.every((row) => row["fold"] === fold)).toBe(true);
        const preview = await lake.preview("orders", {
          folds: 3,
          fold,
          split: "validation",
          rows: 5000,
          columns: ["id"],
        });
        const queried = rows.map((row) => String(row["id"]));
        expect(preview.rows.map((row) => String(row["id"])).sort()).toEqual([...queried].sort());
        const exported = await lake.export("orders", {
          folds: 3,
          fold,
          split: "train",
          format: "parquet",
          to: `${place.folder}/out-${fold}`,
        });
        expect(exported.rows).toBe(2000 - Number(stored!["test"]) - rows.length);
        expect(exported.files[0]!.path).toMatch(new RegExp(`orders@1-fold${fold}of3-train.parquet$`));
        await using feed = await lake.feed("orders", {
          folds: 3,
          fold,
          split: "validation",
          batch: 100,
          dropLast: false,
        });
        const fed: string[] = [];
        for await (const batch of feed) {
          const values = batch.columns[0]!.values as BigInt64Array;
          for (const value of values.subarray(0, batch.rows)) fed.push(String(value));
        }
        expect(fed.sort()).toEqual([...queried].sort());
        return queried;
      });
      for (const id of ids) {
        expect(all.has(id)).toBe(false);
        all.add(id);
      }
    }
    expect(all.size).toBe(2000 - Number(stored!["test"]));
  });

  test("`millrace folds` counts them and names what is uneven; half a choice is refused", async () => {
    const shown = await millrace(place.folder, ["folds", "orders", "--folds", "4"]);
    expect(shown.stdout).toMatch(/orders@1 {2}2,000 rows, \d+ held out/);
    expect(shown.stdout).toMatch(/`true` has \d rows in fold \d, not 1/);
    const report = await place.with((lake) => lake.folds("orders", { folds: 4 }));
    expect(report.folds.map(({ fold }) => fold)).toEqual([1, 2, 3, 4]);
    for (const { train, validation } of report.folds) expect(train + validation).toBe(2000 - report.heldOut);
    expect(report.folds.reduce((sum, { validation }) => sum + validation, 0)).toBe(2000 - report.heldOut);
    const half = await millrace(place.folder, ["preview", "orders", "--folds", "4", "--split", "train"]);
    expect(half.code).toBe(2);
    expect(half.stderr).toContain("--fold 1");
    expect((await millrace(place.folder, ["preview", "orders", "--fold", "1"])).stderr).toContain("--folds 5");
  });
});

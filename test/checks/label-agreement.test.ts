import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sqlString, type Sql } from "../../src/core/index.ts";
import type { CheckResult } from "../../src/pipeline/report.ts";
import { errorOf } from "../contracts/support/observe.ts";
import { makePlace, published, rowsOf } from "../pipeline/place.ts";
import { pythonEnvironment, runPython } from "../services/python.ts";
import { ask, openTestEngine, plan, type TestEngine } from "./engine.ts";

let engine: TestEngine;
beforeAll(async () => {
  engine = await openTestEngine();
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
});

/** item, annotator, class */
type Label = [string, string, string | null];
const relationOf = (labels: readonly Label[]): Sql =>
  `(SELECT * FROM (VALUES ${labels.map((row) => `(${row.map((value) => (value === null ? "NULL" : sqlString(value))).join(", ")})`).join(", ")}) AS t(image, annotator, label))`;
const asked = (labels: readonly Label[], options: Record<string, unknown> = {}): Promise<CheckResult> =>
  ask(engine, relationOf(labels), { check: "label-agreement", ...options });

/** Labels of `items` by `annotators`, who are right so often; each labels an item with `share`. */
function made(items: number, annotators: number, classes: number, right: number, share: number, seed: number): Label[] {
  let state = seed;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const labels: Label[] = [];
  for (let item = 0; item < items; item++) {
    const truth = Math.floor(next() ** 2 * classes);
    for (let who = 0; who < annotators; who++) {
      if (next() >= share) continue;
      const given = next() < right ? truth : Math.floor(next() * classes);
      labels.push([`i${item}`, `p${who}`, `c${given}`]);
    }
  }
  return labels;
}

const oracle = `
import json, sys
from collections import defaultdict
import numpy as np
from krippendorff import alpha
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa
result = []
for labels in json.load(open(sys.argv[1])):
    classes = sorted({label for _, _, label in labels}); people = sorted({who for _, who, _ in labels}); items = sorted({item for item, _, _ in labels})
    table = np.full((len(people), len(items)), np.nan)
    for item, who, label in labels:
        table[people.index(who), items.index(item)] = classes.index(label)
    whole = not np.isnan(table).any()
    result.append({
        "krippendorff": alpha(reliability_data=table, level_of_measurement="nominal"),
        "fleiss": fleiss_kappa(aggregate_raters(table.T.astype(int))[0]) if whole else None,
        "cohen": cohen_kappa_score(table[0], table[1]) if whole and len(people) == 2 else None,
    })
print(json.dumps(result))
`;

describe("the check `label-agreement`", () => {
  test("agrees with scikit-learn, statsmodels and krippendorff on kappa and alpha", { timeout: 300_000 }, async () => {
    const sets = [
      made(60, 2, 3, 0.8, 1, 1),
      made(200, 2, 5, 0.3, 1, 2),
      made(80, 4, 3, 0.6, 1, 3),
      made(50, 3, 2, 0, 1, 4),
      made(120, 6, 4, 0.7, 0.5, 5),
      made(40, 5, 9, 0.9, 0.3, 6),
    ];
    const folder = await mkdtemp(`${engine.folder}/oracle-`);
    await writeFile(`${folder}/sets.json`, JSON.stringify(sets));
    const python = await pythonEnvironment(["krippendorff==0.8.2", "scikit-learn==1.7.2", "statsmodels==0.14.6"]);
    const expected = JSON.parse(await runPython(python, oracle, [`${folder}/sets.json`])) as Record<
      string,
      number | null
    >[];
    await rm(folder, { recursive: true });
    const compared = { cohen: 0, fleiss: 0, krippendorff: 0 };
    for (const [index, labels] of sets.entries()) {
      for (const measure of ["cohen", "fleiss", "krippendorff"] as const) {
        const wanted = expected[index]![measure];
        const { measured, status, message } = await asked(labels, { measure, min: 0.5 });
        if (wanted === null || wanted === undefined) {
          expect([measure, index, status, message]).toEqual([
            measure,
            index,
            "failed",
            expect.stringContaining("cannot be told"),
          ]);
          continue;
        }
        compared[measure] += 1;
        expect([measure, index, measured[measure]]).toEqual([measure, index, expect.closeTo(wanted, 9)]);
        expect(status).toBe(wanted < 0.5 ? "failed" : "passed");
      }
    }
    expect(compared).toEqual({ cohen: 2, fleiss: 4, krippendorff: 6 });
  });

  test("judges item by item; several labels of one annotator are a set, and no label is none", async () => {
    const labels: Label[] = [
      ["same", "a", "cat"],
      ["same", "b", "cat"],
      ["same", "c", "cat"],
      ["two of three", "a", "cat"],
      ["two of three", "b", "cat"],
      ["two of three", "c", "dog"],
      ["sets", "a", "cat"],
      ["sets", "a", "dog"],
      ["sets", "b", "dog"],
      ["sets", "b", "cat"],
      ["part of a set", "a", "cat"],
      ["part of a set", "a", "dog"],
      ["part of a set", "b", "cat"],
      ["alone", "a", "cat"],
      ["not yet", "a", "cat"],
      ["not yet", "b", null],
    ];
    const strict = await asked(labels);
    expect(strict).toMatchObject({ status: "failed", failing: 6, measured: { items: 4, contested: 2, least: 0 } });
    expect(strict.measured["mean"]).toBeCloseTo((1 + 1 / 3 + 1 + 0) / 4, 12);
    expect(strict.message).toBe(
      "annotators agree by 58.3 % on average over 4 items; 2 of them are below 1, with 6 of 16 rows (37.5 %)",
    );
    expect(await asked(labels, { min: 1 / 3 })).toMatchObject({ failing: 3, measured: { contested: 1 } });
    expect(await asked([["x", "a", "cat"]])).toMatchObject({
      status: "passed",
      message: "no item has labels of two annotators in 1 rows",
    });
    // Chance agrees too where there is but one class.
    expect(await asked(labels.slice(0, 3), { measure: "krippendorff" })).toMatchObject({
      status: "failed",
      message: expect.stringContaining("cannot be told"),
    });
  });

  test("without names each row is another annotator's; an item may be several columns", async () => {
    const rows =
      "(SELECT * FROM (VALUES ('a', 1, 'x'), ('a', 1, 'x'), ('a', 2, 'x'), ('a', 2, 'y')) AS t(film, frame, class))";
    const options = { check: "label-agreement", item: ["film", "frame"], label: "class" };
    expect(await ask(engine, rows, options)).toMatchObject({
      failing: 2,
      measured: { items: 2, contested: 1, mean: 0.5 },
    });
  });

  test("boxes are matched with the best of their class, and what one found alone counts as nothing", async () => {
    const box = (image: string, who: string, label: string | null, edges: readonly number[] | null): Sql =>
      `('${image}', '${who}', ${label === null ? "NULL" : `'${label}'`}, ${edges === null ? "NULL, NULL, NULL, NULL" : edges.map((edge) => `${edge}::DOUBLE`).join(", ")})`;
    const rows = [
      box("equal", "a", "cat", [0, 0, 0.5, 0.5]),
      box("equal", "b", "cat", [0, 0, 0.5, 0.5]),
      // 0.25 of 0.75: a third.
      box("moved", "a", "cat", [0, 0, 1, 0.5]),
      box("moved", "b", "cat", [0, 0.25, 1, 0.75]),
      box("class", "a", "cat", [0, 0, 1, 1]),
      box("class", "b", "dog", [0, 0, 1, 1]),
      // One pair, and a box that only `b` saw: 2 · 1 / 3.
      box("more", "a", "cat", [0, 0, 0.1, 0.1]),
      box("more", "b", "cat", [0.8, 0.8, 1, 1]),
      box("more", "b", "cat", [0, 0, 0.1, 0.1]),
      box("nothing", "a", null, null),
      box("nothing", "b", null, null),
      box("missed", "a", "cat", [0, 0, 1, 1]),
      box("missed", "b", null, null),
    ];
    const relation = `(SELECT * FROM (VALUES ${rows.join(", ")}) AS t(image, annotator, label, "left", top, "right", bottom))`;
    const result = await ask(engine, relation, { check: "label-agreement", measure: "iou" });
    expect(result).toMatchObject({ status: "failed", failing: 6, measured: { items: 6, contested: 3, least: 0 } });
    expect(result.measured["mean"]).toBeCloseTo((1 + 1 / 3 + 0 + 2 / 3 + 1 + 0) / 6, 12);
  });

  test("rejects all rows of the items that annotators disagree on, whichever files they are in", async () => {
    await using place = await makePlace();
    await place.put("in/a.csv", ["image,annotator,label", "1,a,cat", "2,a,cat"]);
    await place.put("in/b.csv", ["image,annotator,label", "1,b,cat", "2,b,dog"]);
    await using lake = await place.open({
      labels: {
        from: { path: "in/*.csv", part_bytes: 1 },
        checks: [{ check: "label-agreement", on_fail: "reject" }],
      },
    });
    expect(await published(lake.run("labels"))).toMatchObject({ written: 2, rejected: 2 });
    expect(await rowsOf(lake, "SELECT image, annotator FROM labels ORDER BY ALL")).toEqual([[1, "a"], [1, "b"]]); // prettier-ignore
    expect(await rowsOf(lake, "SELECT DISTINCT reason FROM labels__rejected")).toEqual([
      ["label-agreement: annotators agree by 0, less than 1"],
    ]);
  });

  test("names what does not fit", async () => {
    const wrong: [Record<string, unknown>, string][] = [
      [{ measure: "krippendorff", on_fail: "reject" }, "cannot reject rows"],
      [{ measure: "iou" }, "names the column `left`"],
      [{ item: "picture" }, "names the column `picture`"],
    ];
    for (const [options, message] of wrong) {
      const error = await errorOf(() =>
        plan(engine, relationOf([["x", "a", "b"]]), [{ check: "label-agreement", ...options }]),
      );
      expect([error.code, error.message.includes(message) || error.message]).toEqual(["config", true]);
    }
    const error = await errorOf(() =>
      plan(engine, "(SELECT 'a' AS image, 'b' AS label)", [{ check: "label-agreement", measure: "cohen" }]),
    );
    expect(error).toMatchObject({ code: "config", hint: "name it with `annotator`" });
  });
});

import { SaxesParser } from "saxes";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RunReport } from "../../src/pipeline/report.ts";
import {
  compactNumber,
  compactShare,
  profile,
  renderProfileText,
  renderQualityHtml,
  sparkline,
} from "../../src/quality/index.ts";
import { ask, openTestEngine, type TestEngine } from "../checks/engine.ts";

let engine: TestEngine;
beforeAll(async () => {
  engine = await openTestEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const of = async (relation: string) => profile(relation, await engine.columnsOf(relation), engine);

const wide =
  "(SELECT range AS id, (range % 100)::double AS x, CASE WHEN range % 4 = 0 THEN NULL ELSE ['red', 'green', 'blue'][1 + (range % 3)::int] END AS colour, " +
  "range % 2 = 0 AS flag, date '2024-01-01' + (range % 366)::int AS day, timestamptz '2024-01-01' + to_hours(range::int) AS t, (range / 7)::decimal(10,2) AS price, " +
  "['a', 'b'] AS tags, '\\xAA'::blob AS raw, {a: 1.5::decimal(10,2), b: 2.0::double} AS nested, map {'k': 1} AS m, time '10:00:00' AS clock, NULL::varchar AS nothing, uuid() AS u FROM range(1000))";

describe("profile", () => {
  test("counts, extremes, shape", async () => {
    const before = engine.scans.length;
    const found = await of(wide);
    expect(engine.scans.length - before).toBe(2);
    expect(found.rows).toBe(1000);
    const column = (name: string) => found.columns.find((own) => own.name === name)!;
    expect(column("x")).toMatchObject({
      type: "double",
      nulls: 0,
      min: "0.0",
      max: "99.0",
      mean: 49.5,
      notFinite: 0,
      histogram: { from: 0, to: 99, counts: Array(20).fill(50) },
    });
    expect(column("x").quantiles!["0.5"]).toBeCloseTo(49.5, 0);
    expect(column("x").stddev).toBeCloseTo(28.9, 1);
    expect(column("colour")).toMatchObject({
      nulls: 250,
      min: "blue",
      max: "red",
      length: { min: 3, max: 5 },
      top: [{ rows: 250 }, { rows: 250 }, { rows: 250 }],
    });
    expect(column("flag")).toMatchObject({ trueRows: 500, falseRows: 500 });
    expect(column("day")).toMatchObject({ min: "2024-01-01", max: "2024-12-31" });
    expect(column("day").histogram!.counts.reduce((sum, count) => sum + count)).toBe(1000);
    expect(column("tags")).toMatchObject({ type: "list<string>", nulls: 0, length: { min: 2, mean: 2, max: 2 } });
    expect(column("raw").length).toEqual({ min: 1, mean: 1, max: 1 });
    expect(column("nested")).toEqual({ name: "nested", type: "struct<a: decimal(10,2), b: double>", nulls: 0 });
    expect(column("nothing")).toMatchObject({ nulls: 1000, distinct: 0 });
    expect(JSON.parse(JSON.stringify(found))).toEqual(found);
  });

  test("no rows, only nulls, NaN, infinities and extremes are profiled", async () => {
    expect(await of(`(SELECT * FROM ${wide} WHERE false)`)).toMatchObject({ rows: 0 });
    const odd = await of(
      "(SELECT * FROM (VALUES ('nan'::double, date 'infinity'), ('inf', '2024-01-01'), ('-inf', '2024-01-02'), (1e308, NULL), (-1e308, '-infinity'), (NULL, '2024-01-03')) AS t(x, d))",
    );
    expect(odd.columns[0]).toMatchObject({
      nulls: 1,
      notFinite: 3,
      histogram: { counts: expect.arrayContaining([1]) },
    });
    expect(odd.columns[0]!.histogram!.counts.reduce((sum, count) => sum + count)).toBe(2);
    expect(odd.columns[1]!.histogram!.counts.reduce((sum, count) => sum + count)).toBe(3);
    expect(await of("(SELECT 5 AS same, 9223372036854775807 AS big)")).toMatchObject({
      columns: [{ min: "5", max: "5" }, { max: "9223372036854775807" }],
    });
  });
});

describe("text", () => {
  test("every line fits 100 columns, also with hostile names and values", async () => {
    const relation = `(SELECT 'line\nbreak \u001b[31m and ' || repeat('long ', 100) AS "${"column ".repeat(20)}🚆\n", repeat('漢', 80) AS "漢字漢字漢字漢字漢字漢字漢字", * FROM ${wide})`;
    const text = renderProfileText(await of(relation));
    const lines = text.split("\n");
    expect(lines).toHaveLength(3 + 16);
    // East Asian characters and emoji take two columns of a terminal.
    const width = (line: string): number =>
      Array.from(line).reduce(
        (sum, character) => sum + (/[\u2e80-\u9fff]|\p{Extended_Pictographic}/u.test(character) ? 2 : 1),
        0,
      );
    for (const line of lines) expect(width(line), line).toBeLessThanOrEqual(100);
    expect(text).not.toContain("\u001b");
    expect(text).toMatch(/x +double +0% +~\S+ +0 █{20} 99/);
    expect(text).toContain("only nulls");
    expect(text).toContain("true 50%, false 50%");
  });
  test("small things", () => {
    expect(sparkline([0, 1, 8])).toBe(" ▁█");
    expect([0, 999, 12345, 1.5e6, 2e9, 3.14159, 1e-7, -0.5].map(compactNumber)).toEqual([
      "0",
      "999",
      "12.3k",
      "1.5M",
      "2G",
      "3.14",
      "1.0e-7",
      "-0.5",
    ]);
    expect(
      [
        [0, 5],
        [5, 5],
        [1, 10_000],
        [9_999, 10_000],
        [995, 1000],
      ].map(([part, whole]) => compactShare(part!, whole!)),
    ).toEqual(["0%", "100%", "<0.1%", ">99.9%", "99%"]);
  });
});

describe("page", () => {
  const evil = `<script>alert("x")</script>&'\u0000`;
  test("is well-formed, needs nothing from outside, and shows hostile data as text", async () => {
    const relation = `(SELECT '${evil.replaceAll("'", "''").replace("\u0000", "")}' AS "<img src=x onerror=alert(1)>", * FROM ${wide})`;
    const found = await of(relation);
    const checks = [
      await ask(engine, wide, { check: "range", column: "x", min: 0, max: 50 }),
      { ...(await ask(engine, wide, { check: "sql", expression: "nonsense(" })), message: evil },
      await ask(engine, wide, { check: "not-null", column: "id" }),
    ];
    const report: RunReport = {
      run: "r1",
      flow: evil,
      dataset: "d",
      status: "published",
      version: 3,
      resumed: false,
      startedAt: "2024-01-01T00:00:00Z",
      seconds: 1,
      parts: 1,
      bytesRead: 1,
      read: 1000,
      written: 990,
      rejected: 10,
      filtered: 0,
      checks,
      columns: {},
      splits: { train: 800, [evil]: 190 },
      warnings: [evil],
    };
    const history = [1, 2, 3].map((version) => ({
      version,
      time: Date.UTC(2024, 0, version),
      rows: version * 100,
      tags: [evil],
      ...(version === 3 ? { report } : {}),
    }));
    const html = renderQualityHtml({ dataset: "d", version: 3, report, profile: found, history });
    expect(html).not.toMatch(/<script|<img|url\(|@import|https?:/i);
    expect(html.match(/<svg role="img" aria-label="/g)!.length).toBeGreaterThan(5);
    expect(html.match(/<table>/g)).toHaveLength(3);
    expect(html).toContain('scope="row"');
    expect(html).toContain("✗ not measured");
    expect(html).toContain("prefers-color-scheme: dark");
    // The same text read by an XML parser: every tag is closed and every value is a value.
    const texts: string[] = [];
    const names = new Set<string>();
    const attributes = new Set<string>();
    const parser = new SaxesParser();
    parser.on("error", (error) => {
      throw error;
    });
    parser.on("opentag", (tag) => {
      names.add(tag.name);
      for (const attribute of Object.keys(tag.attributes)) attributes.add(attribute);
    });
    parser.on("text", (text) => texts.push(text));
    parser.write(html.replace("<!doctype html>\n", "").replace(/<(meta|br)([^>]*)>/g, "<$1$2/>")).close();
    expect([...names].filter((name) => ["script", "img", "link", "iframe", "object"].includes(name))).toEqual([]);
    expect([...attributes].filter((name) => name.startsWith("on") || name === "src" || name === "href")).toEqual([]);
    expect(texts.join("")).toContain('<script>alert("x")</script>&\'');
  });
  test("without report, history and rows", async () => {
    const html = renderQualityHtml({
      dataset: "d",
      version: 1,
      profile: await of(`(SELECT * FROM ${wide} WHERE false)`),
    });
    expect(html).toContain("The report of the run that made this version is not there.");
  });
});

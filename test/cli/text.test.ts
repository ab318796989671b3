import { parseSize } from "../../src/core/index.ts";
import { describe, expect, test } from "vitest";
import { MillraceError, registerSecret, forgetSecrets } from "../../src/core/index.ts";
import { exitCodeOf, formatError } from "../../src/cli/errors.ts";
import type { Output } from "../../src/cli/output.ts";
import { progressLine, shareDone } from "../../src/cli/progress.ts";
import { receipt } from "../../src/cli/receipt.ts";
import { displayWidth, escapeData, fit } from "../../src/cli/text/escape.ts";
import { bytes, count, parseDuration, percent, seconds } from "../../src/cli/text/numbers.ts";
import { table } from "../../src/cli/text/table.ts";
import { cell, csvField, plain } from "../../src/cli/text/values.ts";
import type { RunReport } from "../../src/pipeline/report.ts";

const output: Output = {
  width: 80,
  colour: false,
  interactive: false,
  print: () => undefined,
  json: () => undefined,
  note: () => undefined,
};

describe("data cannot steer a terminal", () => {
  test.each([
    ["\u001b[2J", "\\u001b[2J"],
    ["a\nb\tc\r", "a\\nb\\tc\\r"],
    ["\u009b31m", "\\u009b31m"],
    ["\u202egnp.exe", "\\u202egnp.exe"],
    ["\ud800", "\\ud800"],
    ["zürich 東京 🙂", "zürich 東京 🙂"],
  ])("%j", (text, safe) => {
    expect(escapeData(text)).toBe(safe);
    expect(table([{ title: text }], [[text]]).replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202e]/u);
  });
});

describe("tables", () => {
  test("columns line up whatever the width of the characters", () => {
    const text = table(
      [{ title: "name" }, { title: "n", align: "right" }],
      [
        ["東京", "1"],
        ["é", "10"],
        ["plain", "100"],
      ],
    );
    const widths = text.split("\n").map(displayWidth);
    expect(new Set(widths).size).toBe(1);
  });

  test("fit the terminal: long cells are cut, columns beyond it are counted", () => {
    const wide = table([{ title: "a" }, { title: "b" }], [["x".repeat(200), "y"]], 60);
    for (const line of wide.split("\n")) expect(displayWidth(line)).toBeLessThanOrEqual(60);
    expect(wide).toContain("…");
    const many = table(
      Array.from({ length: 40 }, (_, index) => ({ title: `column${index}` })),
      [Array(40).fill("value")],
      60,
    );
    for (const line of many.split("\n")) expect(displayWidth(line)).toBeLessThanOrEqual(60);
    expect(many).toMatch(/\(\d+ more columns/);
  });

  test("text that wraps is whole", () => {
    const words = Array.from({ length: 40 }, (_, index) => `word${index}`);
    const text = table(
      [{ title: "name" }, { title: "about", wrap: true }],
      [
        ["a", words.join(" ")],
        ["b", "short"],
      ],
      50,
    );
    for (const line of text.split("\n")) expect(displayWidth(line)).toBeLessThanOrEqual(50);
    expect(text.split(/\s+/).filter((word) => word.startsWith("word"))).toEqual(words);
    expect(text).toMatch(/^b +short$/m);
  });

  test("no terminal, no limit", () => {
    expect(table([{ title: "a" }], [["x".repeat(500)]])).toContain("x".repeat(500));
  });

  test("nothing in it is still a table", () => {
    expect(table([{ title: "a" }, { title: "b" }], [])).toBe("a  b\n─  ─");
  });

  test("fit never cuts a character in two", () => {
    expect(fit("東京都庁", 5)).toBe("東京…");
    expect(displayWidth(fit("東京都庁", 6))).toBeLessThanOrEqual(6);
  });
});

describe("numbers", () => {
  test("are grouped and have units", () => {
    expect(count(1234567)).toBe("1,234,567");
    expect(count(-1234n)).toBe("-1,234");
    expect(count(12)).toBe("12");
    expect(bytes(999)).toBe("999 B");
    expect(bytes(999_999)).toBe("1.0 MB");
    expect(bytes(123_456_789)).toBe("123 MB");
    expect(seconds(0.0123)).toBe("12 ms");
    expect(seconds(3725)).toBe("1 h 2 min");
    expect(percent(0.00001)).toBe("<0.1%");
    expect(percent(0.99999)).toBe(">99.9%");
  });

  test("are read back, and what is none is refused", () => {
    expect(parseDuration("30d")).toBe(30 * 86_400_000);
    expect(parseDuration("1.5h")).toBe(5_400_000);
    expect(parseSize("256MiB")).toBe(256 * 2 ** 20);
    for (const bad of ["", "d", "3", "-1d", "1y"]) expect(() => parseDuration(bad)).toThrow(/not a duration/);
    for (const bad of ["", "MB", "1XB", "-1MB"]) expect(() => parseSize(bad)).toThrow(/not a size/);
  });
});

describe("values", () => {
  test("JSON loses nothing: what a number cannot hold is text", () => {
    expect(plain({ a: 9007199254740993n, b: 42n, c: Number.NaN, d: Uint8Array.of(255, 0), e: [-(2n ** 63n)] })).toEqual(
      {
        a: "9007199254740993",
        b: 42,
        c: "NaN",
        d: "/wA=",
        e: ["-9223372036854775808"],
      },
    );
  });

  test("CSV tells null from empty, and quotes what needs it", () => {
    expect([null, "", "a,b", 'say "x"', "two\nlines", 5n].map(csvField).join(",")).toBe(
      ',"","a,b","say ""x""","two\nlines",5',
    );
  });

  test("nested values and bytes are one line", () => {
    expect(cell({ a: [1n, null] })).toBe('{"a":[1,null]}');
    expect(cell(Uint8Array.of(1, 171))).toBe("\\x01ab");
    expect(cell(null)).toBe("null");
  });
});

describe("errors", () => {
  test("have three lines: what, where, what mends it; no secret, no control character", () => {
    registerSecret("s3cr3t-value");
    const error = new MillraceError("authentication", "the server refused `s3cr3t-value\u001b[31m`", {
      where: { connection: "shop", stream: "orders", file: "/nowhere/a.csv", line: 7 },
      hint: "set `password`",
    });
    const text = formatError(error);
    expect(text.split("\n")).toEqual([
      "error: the server refused `•••\\u001b[31m`",
      "  at: /nowhere/a.csv:7, connection shop, stream orders",
      "  try: set `password`",
    ]);
    forgetSecrets();
  });

  test("give the documented exit codes", () => {
    expect(exitCodeOf(new MillraceError("usage", "x"))).toBe(2);
    expect(exitCodeOf(new MillraceError("config", "x"))).toBe(2);
    expect(exitCodeOf(new MillraceError("not-found", "x"))).toBe(2);
    expect(exitCodeOf(new MillraceError("aborted", "x"))).toBe(130);
    expect(exitCodeOf(new MillraceError("unreachable", "x"))).toBe(1);
    expect(exitCodeOf(new Error("x"))).toBe(1);
  });
});

describe("progress", () => {
  const base = { phase: "read", rows: 1_200_000, bytes: 50_000_000, parts: 4, partsDone: 1 } as const;

  test("shows rows, bytes, rate and the time that is left", () => {
    const line = progressLine("orders", { ...base, totalBytes: 100_000_000 }, 5);
    expect(line).toBe(
      `orders reading ${"█".repeat(12)}${"░".repeat(12)} 50% 1,200,000 rows 50.0 MB 10.0 MB/s ETA 5.0 s`,
    );
  });

  test("is never full before the end, and claims no share it cannot know", () => {
    expect(shareDone({ ...base, totalBytes: 1000 })).toBe(0.99);
    expect(shareDone({ ...base, parts: 1 })).toBeUndefined();
    expect(shareDone(base)).toBe(0.25);
  });
});

describe("receipt", () => {
  const report: RunReport = {
    run: "orders/1",
    flow: "orders",
    dataset: "orders",
    status: "published",
    version: 3,
    base: 2,
    resumed: false,
    startedAt: "2026-01-01T00:00:00Z",
    seconds: 2,
    parts: 1,
    bytesRead: 3_000_000,
    read: 1250,
    written: 1240,
    rejected: 7,
    filtered: 3,
    checks: [
      {
        check: "not-null",
        options: { check: "not-null", on_fail: "fail", columns: ["id", "customer_id"] },
        status: "passed",
        message: "no nulls",
        measured: {},
      },
      {
        check: "range",
        options: { check: "range", on_fail: "reject", column: "price" },
        status: "warned",
        message: "7 of 1,250 rows are below 0",
        rejected: 7,
        measured: {},
      },
    ],
    columns: {},
    splits: { train: 992, validation: 124, test: 124 },
    warnings: [],
  };

  test("says what came in, where it went, and what the checks say", () => {
    expect(receipt(output, report).split("\n")).toEqual([
      "✓ orders@3 published, after orders@2",
      "  read      1,250  3.0 MB in 2.0 s, 1.5 MB/s",
      "  written   1,240",
      "  rejected      7  with reasons in orders__rejected",
      "  filtered      3",
      "  splits    train 992 · validation 124 · test 124",
      "  ✓ not-null id, customer_id  no nulls",
      "  ! range price               7 of 1,250 rows are below 0; 7 rejected",
    ]);
  });

  test("a run that failed says that nothing was published", () => {
    const failed = receipt(output, {
      ...report,
      status: "failed",
      checks: [{ ...report.checks[0]!, status: "failed", message: "3 nulls" }],
    });
    expect(failed).toContain("✗ orders not published: 1 of 1 checks failed; orders@2 stays the current version");
    expect(failed).toContain("✗ not-null id, customer_id  3 nulls");
  });

  test("nothing new is one line", () => {
    expect(
      receipt(output, { ...report, status: "unchanged", read: 0, written: 0, rejected: 0, filtered: 0, checks: [] }),
    ).toBe("✓ orders unchanged: nothing new since orders@3");
  });
});

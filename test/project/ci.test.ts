import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";

const script = fileURLToPath(new URL("../../scripts/count-tests.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "millrace-ci-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function end(report: object | string, testsExit: number, checkExit: number): { code: number | null; last: string } {
  const path = join(folder, "report.json");
  writeFileSync(path, typeof report === "string" ? report : JSON.stringify(report));
  const { status, stdout } = spawnSync(process.execPath, [script, path, String(testsExit), String(checkExit)], {
    encoding: "utf8",
  });
  return { code: status, last: stdout.trimEnd().split("\n").at(-1)! };
}

const counts = (passed: number, failed: number, total = passed + failed, testResults: object[] = []): object => ({
  numPassedTests: passed,
  numFailedTests: failed,
  numTotalTests: total,
  testResults,
});

test("all passed", () => {
  expect(end(counts(12, 0), 0, 0)).toEqual({ code: 0, last: "12 passed, 0 failed" });
  expect(end(counts(12, 0, 15), 0, 0)).toEqual({ code: 0, last: "12 passed, 0 failed" });
});

test("a failure is never a success", () => {
  expect(end(counts(11, 1), 1, 0)).toEqual({ code: 1, last: "11 passed, 1 failed" });
  expect(end(counts(11, 1), 0, 0)).toEqual({ code: 1, last: "11 passed, 1 failed" });
});

test("nor is a file that could not be loaded, an error outside of a test, or a check of the project that failed", () => {
  const broken = { name: "a.test.ts", status: "failed", message: "SyntaxError", assertionResults: [] };
  expect(end(counts(12, 0, 12, [broken]), 1, 0)).toEqual({ code: 1, last: "12 passed, 1 failed" });
  expect(end(counts(12, 0), 1, 0)).toEqual({ code: 1, last: "12 passed, 1 failed" });
  expect(end(counts(12, 0), 0, 1)).toEqual({ code: 1, last: "12 passed, 1 failed" });
});

test("without a report or without a test there is no line to believe", () => {
  for (const outcome of [end("", 1, 0), end(counts(0, 0), 0, 0)]) {
    expect(outcome.code).toBe(1);
    expect(outcome.last).not.toMatch(/passed/);
  }
});

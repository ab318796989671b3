import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

/** Where the runs leave what they found, for `scripts/trust.ts`; one file for each file of tests. */
const folder = fileURLToPath(new URL("../../.cache/trust", import.meta.url));

/** True in `npm run soak`: everything is swept, where `npm test` takes a sample. */
export const soak = process.env["FAULTS_SOAK"] === "1";

/** One fault against one component, as often as it happened. */
export interface Finding {
  kind: "fault";
  /** A heading of the report: `Crashes`, `Power cuts`. */
  area: string;
  component: string;
  fault: string;
  /** How often the fault really happened. */
  fired: number;
  /** What was promised and did not hold, each time. */
  violations: number;
  /** Records that were acknowledged, and of those how many were not there afterwards, or more than once. */
  records?: { acknowledged: number; lost: number; duplicated: number };
}

/** A safety mechanism that was taken out, and whether the harness noticed. */
export interface MutantFinding {
  kind: "mutant";
  mutant: string;
  without: string;
  by: string;
  caught: boolean;
}

/** What could not be tried here, and why. */
export interface Skip {
  kind: "skip";
  what: string;
  reason: string;
}

const found: (Finding | MutantFinding | Skip)[] = [];

function add(one: Finding | MutantFinding | Skip): void {
  found.push(one);
  const { testPath } = expect.getState();
  mkdirSync(folder, { recursive: true });
  const name = basename(testPath ?? "unknown").replace(/\.test\.ts$/, "");
  writeFileSync(join(folder, `${name}.json`), JSON.stringify({ test: name, soak, found }, undefined, 1));
}

/** Writes down what a sweep did. Call it before asserting, so that a violation is in the report too. */
export function recordFault(finding: Omit<Finding, "kind">): void {
  add({ kind: "fault", ...finding });
}

export function recordMutant(finding: Omit<MutantFinding, "kind">): void {
  add({ kind: "mutant", ...finding });
}

export function recordSkip(what: string, reason: string): void {
  add({ kind: "skip", what, reason });
}

import { expect, test } from "vitest";
import { sqlName, type CheckContext, type CheckDefinition, type Sql } from "../../src/core/index.ts";
import { registry } from "../../src/registry.ts";
import { checkContract, type CheckContract } from "../contracts/check.ts";

type Subject = Omit<CheckContract, "name" | "definition">;

const texts = (...values: string[]): Sql[] => values.map((value) => `'${value}'`);
const many = (value: Sql, times: number): Sql[] => Array.from({ length: times }, () => value);
const count = (from: number, to: number): Sql[] =>
  Array.from({ length: to - from }, (_, index) => String(from + index));
const baseline =
  (values: readonly Sql[]) =>
  (column: string): Partial<CheckContext> => ({
    baseline: `(SELECT unnest([${values.join(", ")}])::BIGINT AS ${sqlName(column)})`,
    previousColumns: [{ name: column, type: "long" }],
  });
const byColumn =
  (more: Record<string, unknown> = {}) =>
  (column: string): Record<string, unknown> => ({ column, ...more });

const subjects: Record<string, Subject> = {
  "allowed-values": { type: "VARCHAR", good: texts("a", "b"), bad: texts("c", "A"), options: byColumn({ values: ["a", "b"] }) },
  "class-balance": {
    type: "VARCHAR",
    good: texts("a", "b", "a", "b"),
    bad: [...many("'a'", 30), "'b'"],
    options: (label) => ({ label, max_ratio: 5 }),
    empty: "failed",
  },
  columns: {
    type: "BIGINT",
    good: ["1"],
    bad: ["NULL"],
    options: (column) => ({ columns: { [column]: { type: "long", required: true } } }),
  },
  drift: {
    type: "BIGINT",
    good: count(0, 500),
    bad: count(2000, 2500),
    options: (column) => ({ columns: [column], ks_fail: 0.3 }),
    context: baseline(count(0, 500)),
  },
  duplicates: { type: "BIGINT", good: ["1", "2"], bad: ["3", "3", "3"], failing: 2, options: () => ({}) },
  "foreign-key": {
    type: "BIGINT",
    good: ["1", "2", "NULL"],
    bad: ["7", "8"],
    options: (column) => ({ column, dataset: "customers", references: ["id"] }),
    context: () => ({ dataset: () => "(SELECT unnest([1, 2, 3])::BIGINT AS id)" }),
  },
  format: { type: "VARCHAR", good: texts("a@b.co"), bad: texts("a@b", ""), options: byColumn({ format: "email" }) },
  freshness: {
    type: "TIMESTAMP",
    good: texts("2024-06-15 11:30:00", "2020-01-01 00:00:00"),
    bad: texts("2024-06-01 11:30:00"),
    options: byColumn({ max_age: "1h" }),
    empty: "failed",
  },
  "label-agreement": {
    type: "VARCHAR",
    good: texts("a1", "a1", "b2", "b2", "c1"),
    bad: texts("d1", "d2", "e1", "e3"),
    options: (label) => ({ label, item: "beside_it" }),
    beside: (column) => `left(${column}, 1)`,
  },
  "label-leakage": {
    type: "BIGINT",
    good: count(0, 40).map((value) => String(Number(value) % 2)),
    bad: count(0, 40).map((value) => String(10 + (Number(value) % 2))),
    options: (label) => ({ label }),
    // Gives labels from 10 on away, and says nothing of the others.
    beside: (column) => `CASE WHEN ${column} >= 10 THEN ${column} ELSE 0 END`,
  },
  labels: { type: "VARCHAR", good: texts("cat", "dog"), bad: ["NULL", "''", "'cow'"], options: byColumn({ values: ["cat", "dog"], missing: [""] }) },
  length: { type: "VARCHAR", good: texts("ab", "äö"), bad: texts("a", "abc"), options: byColumn({ min: 2, max: 2 }) },
  media: {
    type: "VARCHAR",
    good: texts("a sentence that is long enough", "and another one of them"),
    bad: texts("short", ""),
    options: (text) => ({ preset: "text", text }),
  },
  "near-duplicates": {
    type: "BIGINT",
    good: ["0", "-1", "4294967295", "NULL"],
    // The first one stays; the second is the same, and the others differ in one and two bits.
    bad: ["255", "255", "254", "252"],
    failing: 3,
    options: (column) => ({ hash: column, bits: 2 }),
  },
  "not-null": { type: "DOUBLE", good: ["1", "'nan'"], bad: ["NULL", "NULL"], options: byColumn() },
  "personal-data": { type: "VARCHAR", good: texts("of 2024-01-15", ""), bad: texts("to a@b.org", "4111 1111 1111 1111"), options: byColumn({ kinds: ["email", "card"] }) },
  range: { type: "DOUBLE", good: ["0", "10", "-0.0"], bad: ["-1", "11", "'nan'", "'inf'"], options: byColumn({ min: 0, max: 10 }) },
  regex: { type: "VARCHAR", good: texts("AB-1"), bad: texts("ab-1", ""), options: byColumn({ pattern: "^[A-Z]{2}-\\d$" }) },
  "row-count": {
    type: "BIGINT",
    good: ["1", "2"],
    bad: ["1", "2", "3", "4"],
    options: () => ({ min: 2, max: 3 }),
    empty: "failed",
  },
  sql: { type: "BIGINT", good: ["1"], bad: ["-1", "0"], options: (column) => ({ expression: `${sqlName(column)} > 0` }) },
  statistic: { type: "DOUBLE", good: ["1", "2"], bad: ["100", "200"], options: byColumn({ of: "mean", min: 0, max: 10 }), empty: "failed" },
  type: { type: "VARCHAR", good: texts("1", "-2"), bad: texts("x", "1.5"), options: byColumn({ type: "int" }) },
  unique: { type: "BIGINT", good: ["1", "2", "NULL"], bad: ["3", "3", "3"], failing: 2, options: byColumn() },
}; // prettier-ignore

const definitions = new Map<string, CheckDefinition>();
for (const [name, entry] of Object.entries(registry.checks)) definitions.set(name, await entry.load());

test("every check of the registry has a subject", () => {
  expect(Object.keys(subjects).toSorted()).toEqual([...definitions.keys()].toSorted());
});

for (const [name, definition] of definitions) {
  const subject = subjects[name];
  if (subject !== undefined) checkContract({ name, definition, ...subject });
}

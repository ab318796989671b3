/** What two operations on one dataset do to each other: asserted by `concurrency.test.ts`, and shown in docs/guide/concurrency.md. */

/** The operations, each held at the step after which it would be done. */
export const operations = {
  append: "a run with `mode: append`",
  replace: "a run with `mode: replace`",
  merge: "a run with `mode: merge`",
  evolve: "an append that adds a column",
  compact: "`millrace compact`",
  expire: "`millrace gc --older-than`",
  gc: "`millrace gc`",
  tag: "`millrace tag`",
  rollback: "`millrace rollback`",
  erase: "`millrace erase`",
} as const;
export type Operation = keyof typeof operations;

/**
 * `both`: both succeed; the later one is made again on top of the earlier one.
 * `late`: the one that was there first and commits last is refused, and has changed nothing.
 * `early`: the one that came in between is refused at once, and the first goes on.
 */
export type Outcome = "both" | "late" | "early";

/** Who was computed from the version that the other has replaced. */
const needsBase: readonly Operation[] = ["replace", "merge", "compact"];
const makesVersion: readonly Operation[] = ["append", "replace", "merge", "evolve", "compact"];
const addsFiles = makesVersion;

/** `first` is held just before it commits; `second` is made from beginning to end; then `first` goes on. */
export function outcomeOf(first: Operation, second: Operation): Outcome {
  if (first === "erase") {
    return addsFiles.includes(second) || second === "gc" || second === "expire" ? "early" : "both";
  }
  if (addsFiles.includes(first) && second === "erase") return "late";
  if (needsBase.includes(first) && (makesVersion.includes(second) || second === "rollback")) return "late";
  if (first === "evolve" && second === "evolve") return "late";
  // The rollback and the tag are of a version that the other lets expire, or the other way round.
  if (["tag", "rollback"].includes(first) && second === "expire") return "late";
  if (first === "expire" && ["tag", "rollback"].includes(second)) return "late";
  return "both";
}

const signs: Record<Outcome, string> = { both: "both", late: "**first** refused", early: "**second** refused" };

/** The table in Markdown: a row for what was there first, a column for what came in between. */
export function conflictTable(): string {
  const names = Object.keys(operations) as Operation[];
  const rows = names.map((first) => [first, ...names.map((second) => signs[outcomeOf(first, second)])]);
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(["first ↓ second →", ...names]), line(["---", ...names.map(() => "---")]), ...rows.map(line)].join("\n");
}

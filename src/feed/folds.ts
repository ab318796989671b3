import { formatType, MillraceError, parseDuration, sqlName, type Column, type Sql } from "../core/index.ts";
import type { SplitSpec } from "../pipeline/flow.ts";
import { boundarySql, columnNamed, hashDigits, hashText, keyHash, splitError, splitKey } from "./split.ts";

/*
 * Cross-validation by the function of the splits (docs/guide/splits.md), so that folds are as stable as they are:
 *
 *   by: random   fold = 1 + ⌊u·k⌋, where u comes from the hash whose first text is "<seed> folds" instead of "<seed>". So folds do not
 *                follow the splits, and a group is in one fold. Rows of test are in none.
 *   by: time     fold k is the configured validation, [validation, test); fold i is the window of the same length that ends where
 *                fold i + 1 begins. Rows before all windows have fold 0: they are only ever trained on. Rows from test on are in none.
 */

/** Which fold is held out, of how many. */
export interface FoldChoice {
  /** From 2 to 1000. */
  folds: number;
  /** From 1 to `folds`. */
  fold: number;
  /** By time: what is left out of train before the held-out window: `7d`, or a number where the column is one. */
  gap?: string;
}

const maximumFolds = 1000;

function assertFolds(folds: number, fold?: number): void {
  if (!Number.isInteger(folds) || folds < 2 || folds > maximumFolds) {
    throw new MillraceError("usage", `\`${folds}\` folds are not possible`, { hint: `ask for 2 to ${maximumFolds}` });
  }
  if (fold !== undefined && (!Number.isInteger(fold) || fold < 1 || fold > folds)) {
    throw new MillraceError("usage", `there is no fold ${fold} of ${folds}`, {
      hint: `folds are counted from 1 to ${folds}`,
    });
  }
}

const seedText = (spec: SplitSpec): string => `${spec.seed} folds`;

/**
 * The fold of a row as SQL, 1 to `folds`; 0 for what lies before all windows of time; null for what is held out for test. `heldOut` is the
 * condition of those rows with `by: random`. Throws `usage` for a number of folds that cannot be, `config` for columns that are not there.
 */
export function foldNumber(
  spec: SplitSpec,
  folds: number,
  columns: readonly Column[],
  key: readonly string[],
  heldOut?: Sql,
): Sql {
  assertFolds(folds);
  if (spec.by === "time") {
    const { column, from, windows } = timeWindows(spec, folds, columns);
    const cases = windows.map((start, index) => `WHEN ${column} >= ${start} THEN ${index + 1}`).toReversed();
    return `CASE WHEN ${column} >= ${from.test} THEN NULL ${cases.join(" ")} ELSE 0 END`;
  }
  const keys = splitKey(spec, columns, key);
  if (keys.length === 0) throw splitError("there is no column to make folds by", "name one in `split.key`");
  const hash = `CAST('0x' || ${hashText(seedText(spec), keys)} AS BIGINT)`;
  const fold = `(1 + ((${hash} * ${folds}) >> ${4 * hashDigits}))::INTEGER`;
  return heldOut === undefined ? fold : `CASE WHEN ${heldOut} THEN NULL ELSE ${fold} END`;
}

/** The fold of a key in TypeScript, from the canonical texts of its values; null for null. For `by: random`. */
export function foldOf(spec: SplitSpec, folds: number, keyTexts: readonly (string | null)[]): number {
  assertFolds(folds);
  if (spec.by === "time")
    throw new MillraceError("usage", "`foldOf` is for `by: random`; with `by: time` compare with the windows");
  const hash = keyHash(seedText(spec), keyTexts);
  return 1 + Number((BigInt(`0x${hash}`) * BigInt(folds)) >> BigInt(4 * hashDigits));
}

/**
 * `'train'`, `'validation'` or `'test'` as SQL, with one fold held out as validation. By time it is null for what lies after that fold,
 * which a model that is validated on it must not have seen, and for the gap.
 */
export function foldExpression(
  spec: SplitSpec,
  choice: FoldChoice,
  columns: readonly Column[],
  key: readonly string[],
  heldOut?: Sql,
): Sql {
  assertFolds(choice.folds, choice.fold);
  const number = foldNumber(spec, choice.folds, columns, key, heldOut);
  if (spec.by !== "time") {
    if (choice.gap !== undefined)
      throw new MillraceError("usage", "a gap needs a split `by: time`", { hint: "leave the gap out" });
    return `CASE ${number} WHEN ${choice.fold} THEN 'validation' ELSE CASE WHEN ${heldOut ?? "false"} THEN 'test' ELSE 'train' END END`;
  }
  const { column, from, windows } = timeWindows(spec, choice.folds, columns);
  const start = windows[choice.fold - 1]!;
  const end = windows[choice.fold] ?? from.test;
  const gap =
    choice.gap === undefined ? "" : `WHEN ${column} >= ${earlier(start, choice.gap, spec, columns)} THEN NULL `;
  return (
    `CASE WHEN ${column} >= ${from.test} THEN 'test' WHEN ${column} >= ${end} THEN NULL ` +
    `WHEN ${column} >= ${start} THEN 'validation' ${gap}ELSE 'train' END`
  );
}

const numeric = /^(int|long|float|double|decimal)/;

function timeColumn(spec: SplitSpec, columns: readonly Column[]): Column {
  return columnNamed(spec.column ?? "", columns, "split.column");
}

/** The column, and the first moments of all windows in order, as SQL. */
function timeWindows(
  spec: SplitSpec,
  folds: number,
  columns: readonly Column[],
): { column: Sql; from: { test: Sql }; windows: Sql[] } {
  const column = timeColumn(spec, columns);
  const { validation, test } = spec.boundaries ?? {};
  if (validation === undefined || test === undefined) {
    throw splitError(
      "folds by time are windows as long as validation, but `split.boundaries` does not say from where to where that is",
      "set both `validation` and `test`",
      column.name,
    );
  }
  const [first, end] = [boundarySql(validation, column, "validation"), boundarySql(test, column, "test")];
  const windows = Array.from({ length: folds }, (_, index) => {
    const before = folds - 1 - index;
    if (before === 0) return first;
    if (numeric.test(formatType(column.type))) return `(${first} - ${before} * (${end} - ${first}))`;
    return `${makeMoment(column)}(epoch_us(${first}) - ${before} * (epoch_us(${end}) - epoch_us(${first})))`;
  });
  return { column: sqlName(column.name), from: { test: end }, windows };
}

const makeMoment = ({ type }: Column): string => (type === "timestamptz" ? "make_timestamptz" : "make_timestamp");

function earlier(moment: Sql, gap: string, spec: SplitSpec, columns: readonly Column[]): Sql {
  const column = timeColumn(spec, columns);
  if (numeric.test(formatType(column.type))) {
    if (/^\d+(\.\d+)?$/.test(gap)) return `(${moment} - ${gap})`;
    throw new MillraceError("usage", `the gap is \`${gap}\`, but \`${column.name}\` is a number`, {
      hint: "write a number",
    });
  }
  const seconds = parseDuration(gap);
  if (seconds === undefined) {
    throw new MillraceError("usage", `\`${gap}\` is not a duration`, {
      hint: "write a number with s, m, h, d or w, such as `7d`",
    });
  }
  return `${makeMoment(column)}(epoch_us(${moment}) - ${Math.round(seconds * 1e6)})`;
}

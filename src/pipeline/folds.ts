import { MillraceError, sqlName, sqlString, type Column, type Sql } from "../core/index.ts";
import { foldExpression, foldNumber } from "../feed/folds.ts";
import { splitExpression } from "../feed/split.ts";
import { splitSchema, type SplitSpec } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";

/** Which rows of a version: those of a split, where the splits may be those of cross-validation. */
export interface Selection {
  /** `train`, `validation` or `test`. Default: all rows. */
  split?: string;
  /** Cross-validation in so many folds; test stays held out. */
  folds?: number;
  /** The fold that is validation, from 1 to `folds`. */
  fold?: number;
  /** By time: what is left out of train before the fold: `7d`. */
  gap?: string;
}

/** A version with its folds found. */
interface Folded {
  spec: SplitSpec;
  /** 1 to `folds`, 0 for what is only trained on, null for test. */
  number: Sql;
  /** The split of a row when `fold` is held out. */
  splitOf(fold: number): Sql;
}

/** How the flow of a dataset splits it; by the whole row where no flow does. */
export function foldsOf(
  lake: LakeHandles,
  dataset: string,
  columns: readonly Column[],
  { folds, gap }: { folds: number; gap?: string },
): Folded {
  const entry = Object.entries(lake.config.flows).find(([name, flow]) => (flow.into ?? name) === dataset)?.[1];
  const spec = entry?.split ?? splitSchema.parse({ train: 1 });
  const key = (entry?.key ?? []).filter((name) => columns.some((column) => column.name === name));
  const inputs = columns.filter((column) => column.name !== spec.into);
  // What the version says is held out, even where the split was changed since.
  const isStored = inputs.length < columns.length;
  const heldOut = isStored
    ? `${sqlName(spec.into)} IS NOT DISTINCT FROM 'test'`
    : spec.test
      ? `${splitExpression(spec, inputs, key)} = 'test'`
      : undefined;
  return {
    spec,
    number: foldNumber(spec, folds, inputs, key, heldOut),
    splitOf: (fold) =>
      foldExpression(spec, { folds, fold, ...(gap === undefined ? {} : { gap }) }, inputs, key, heldOut),
  };
}

/** The condition of the rows that a selection means; undefined for all. Throws `usage` where it says half of it. */
export function chosenRows(
  lake: LakeHandles,
  dataset: string,
  columns: readonly Column[],
  selection: Selection,
): Sql | undefined {
  const { split, folds, fold, gap } = selection;
  if (folds === undefined) {
    if (fold !== undefined || gap !== undefined) {
      throw new MillraceError("usage", "a fold is one of how many?", { hint: "add `--folds 5`" });
    }
    if (split === undefined) return undefined;
    const names = columns.map((column) => column.name);
    return `${sqlName(splitColumn(lake, dataset, names))} = ${sqlString(split)}`;
  }
  if (split === undefined) return undefined;
  if (fold === undefined) {
    throw new MillraceError("usage", `which of the ${folds} folds is validation?`, { hint: "add `--fold 1`" });
  }
  return `${foldsOf(lake, dataset, columns, { folds, ...(gap === undefined ? {} : { gap }) }).splitOf(fold)} = ${sqlString(split)}`;
}

/**
 * The rows of a selection as a FROM item, and their columns. With `folds` they have the column `fold`; with `fold` as well, their split is
 * that of the cross-validation.
 */
export function selectRows(
  lake: LakeHandles,
  dataset: string,
  columns: readonly Column[],
  relation: Sql,
  selection: Selection,
  /** Columns of the relation that are not of the dataset and come along. */
  keep: readonly string[] = [],
): { relation: Sql; columns: Column[] } {
  const condition = chosenRows(lake, dataset, columns, selection);
  const where = condition === undefined ? "" : ` WHERE ${condition}`;
  const { folds, fold, gap } = selection;
  if (folds === undefined) {
    return { relation: where === "" ? relation : `(SELECT * FROM ${relation}${where})`, columns: [...columns] };
  }
  const folded = foldsOf(lake, dataset, columns, { folds, ...(gap === undefined ? {} : { gap }) });
  if (columns.some((column) => column.name.toLowerCase() === "fold")) {
    throw new MillraceError("usage", `\`${dataset}\` has a column \`fold\` of its own`, {
      where: { dataset, column: "fold" },
      hint: "rename it in the `transform` of its flow",
    });
  }
  const list: Sql[] = keep.map(sqlName);
  const made: Column[] = [];
  const { into } = folded.spec;
  for (const column of columns) {
    if (column.name === into && fold !== undefined) continue;
    list.push(sqlName(column.name));
    made.push(column);
  }
  if (fold !== undefined) {
    list.push(`${folded.splitOf(fold)} AS ${sqlName(into)}`);
    made.push({ name: into, type: "string" });
  }
  list.push(`${folded.number} AS fold`);
  made.push({ name: "fold", type: "int" });
  return { relation: `(SELECT ${list.join(", ")} FROM ${relation}${where})`, columns: made };
}

/** The column that holds the split of a dataset: what its flow says, else `split`. */
export function splitColumn(lake: LakeHandles, dataset: string, names: readonly string[]): string {
  const flow = Object.entries(lake.config.flows).find(([name, candidate]) => (candidate.into ?? name) === dataset)?.[1];
  const column = flow?.split?.into ?? "split";
  if (names.includes(column)) return column;
  throw new MillraceError("not-found", `\`${dataset}\` has no splits`, {
    where: { dataset },
    hint: "add `split: { train: 0.8, validation: 0.1, test: 0.1 }` to its flow and run it with `--full`",
  });
}

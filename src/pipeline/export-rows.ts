import { MillraceError, suggestion, type Column, type Sql } from "../core/index.ts";
import type { DataFile, Dataset, Version } from "../dataset/index.ts";
import { selectRows, type Selection } from "./folds.ts";
import type { LakeHandles } from "./lake.ts";

/** Which rows and columns of a version, and in which order. */
export interface RowChoice extends Omit<Selection, "split"> {
  /** Default: all, in the dataset's order. */
  columns?: string[];
  /** An SQL condition on the rows. */
  where?: string;
  /** `stored`: as the rows lie in the files of the version. `shuffle`: an order that depends on version and seed alone. Default `stored`. */
  order?: "stored" | "shuffle";
  /** Of the shuffle. Default 0. */
  seed?: number;
}

export interface ChosenRows {
  columns: Column[];
  files: DataFile[];
  /** A FROM item with all rows of the version, in their order. */
  relation: Sql;
  /** `FROM … [WHERE …] [ORDER BY …]` of one split, or of all rows. */
  from(split?: string): Sql;
  /** The same rows in any order. */
  unordered(split?: string): Sql;
}

/** The rows to export. Throws `usage` for columns and options that do not fit. */
export async function chooseRows(
  lake: LakeHandles,
  dataset: Dataset,
  version: Version,
  choice: RowChoice & { splits: readonly string[] },
): Promise<ChosenRows> {
  if (choice.seed !== undefined && choice.order !== "shuffle") {
    throw new MillraceError("usage", "a seed is of a shuffle, and none is asked for", {
      hint: "add `--order shuffle`",
    });
  }
  const folded: Selection = {
    ...(choice.folds !== undefined && { folds: choice.folds }),
    ...(choice.fold !== undefined && { fold: choice.fold }),
    ...(choice.gap !== undefined && { gap: choice.gap }),
  };
  const stored = dataset.columns(version);
  const select = (relation: Sql, split: string | undefined, keep: readonly string[] = []) =>
    selectRows(lake, dataset.name, stored, relation, { ...folded, ...(split !== undefined && { split }) }, keep);
  // By path, so that the same version has the same order for everybody.
  const files = (await dataset.files(version)).toSorted((left, right) => (left.path < right.path ? -1 : 1));
  const relation = await dataset.relation(version, files);
  const numbered = choice.order === "shuffle" ? await numberedRows(dataset, version, files) : undefined;
  for (const split of choice.splits) select(relation, split);
  const all = select(relation, undefined);
  const where = choice.where === undefined ? "" : ` WHERE (${choice.where})`;
  return {
    columns: chooseColumns(all.columns, choice.columns, dataset.name),
    files,
    relation: all.relation,
    unordered: (split) => `FROM ${select(relation, split).relation}${where}`,
    from(split) {
      if (numbered === undefined) return `FROM ${select(relation, split).relation}${where}`;
      const place = `md5_number(concat_ws(':', 'millrace', ${choice.seed ?? 0}, ${fileNumber}, ${rowNumber}))`;
      const rows = select(numbered, split, [fileNumber, rowNumber]).relation;
      return `FROM ${rows}${where} ORDER BY ${place}, ${fileNumber}, ${rowNumber}`;
    },
  };
}

const fileNumber = "millrace_file_number";
const rowNumber = "file_row_number";

/** A FROM item in which every row has the number of its file and its place there. */
async function numberedRows(dataset: Dataset, version: Version, files: readonly DataFile[]): Promise<Sql> {
  const selects: Sql[] = [];
  for (const [index, file] of files.entries()) {
    const relation = await dataset.relation(version, [file], { rowNumber: true });
    selects.push(`SELECT *, ${index} AS ${fileNumber} FROM ${relation}`);
  }
  if (selects.length === 0) {
    selects.push(`SELECT *, 0 AS ${fileNumber} FROM ${await dataset.relation(version, [], { rowNumber: true })}`);
  }
  return `(${selects.join(" UNION ALL ")})`;
}

function chooseColumns(all: readonly Column[], wanted: readonly string[] | undefined, dataset: string): Column[] {
  if (wanted === undefined) return [...all];
  return wanted.map((name, index) => {
    const column = all.find((each) => each.name === name);
    if (column === undefined) {
      throw new MillraceError("usage", `\`${dataset}\` has no column \`${name}\``, {
        where: { dataset, column: name },
        hint: suggestion(
          name,
          all.map((each) => each.name),
        ),
      });
    }
    if (wanted.indexOf(name) !== index) {
      throw new MillraceError("usage", `the column \`${name}\` is named twice`, { where: { dataset, column: name } });
    }
    return column;
  });
}

import { MillraceError, type Column, type Plan } from "../core/index.ts";
import type { Flow } from "./flow.ts";

/** What a source says about rows that are changes: see `Plan`. */
export type ChangeMarks = Pick<Plan, "deleted" | "order" | "emptied">;

/** The marks that a run has to keep. Throws `config` where a merge would take deletions for rows, because `transform` drops what marks them. */
export function marksOf(
  flow: Flow,
  { deleted, order, emptied }: ChangeMarks,
  output: readonly Column[],
): ChangeMarks | undefined {
  if (flow.mode !== "merge" || (deleted ?? order ?? emptied) === undefined) return undefined;
  const needed = [deleted, ...(order ?? []), emptied?.column].filter((name) => name !== undefined);
  for (const name of needed) {
    if (output.some((column) => column.name === name)) continue;
    throw new MillraceError(
      "config",
      `the rows do not have \`${name}\` any more, by which a merge tells deletions and the newest row`,
      {
        where: { column: name },
        hint: `let \`transform\` give ${needed.map((one) => `\`${one}\``).join(", ")}, too; \`mode: append\` needs none of them`,
      },
    );
  }
  return {
    ...(deleted === undefined ? {} : { deleted }),
    ...(order === undefined ? {} : { order }),
    ...(emptied === undefined ? {} : { emptied }),
  };
}

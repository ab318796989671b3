import * as z from "zod";
import { nameSchema } from "./flow.ts";

export const lookupSchema = z.strictObject({
  dataset: z
    .string()
    .optional()
    .describe(
      "Dataset, or a version of it: `flights`, `flights@7`, `flights@gold`. A tag that moves is followed. Default: the name of the entry. With `connection`: the dataset that the copy is of.",
    ),
  connection: z
    .string()
    .optional()
    .describe(
      "Connection of a sink that holds a published copy, to look up there instead of in an index of this process.",
    ),
  target: z
    .string()
    .optional()
    .describe("With `connection`: the table, key prefix or collection of the copy. Default: the name of the entry."),
  key: z
    .array(z.string())
    .min(1)
    .optional()
    .describe(
      "Columns that identify a row, in the order in which keys are given. Default: the key of the dataset's flow.",
    ),
  columns: z
    .array(z.string())
    .min(1)
    .optional()
    .describe("Columns that the index holds besides the key. Default: all."),
  where: z.string().optional().describe("Only rows for which this SQL condition holds."),
  last_by: z
    .string()
    .optional()
    .describe(
      "Of several rows with one key, the one with the greatest value in this column counts. Default: they are an error.",
    ),
});
export type LookupSpec = z.output<typeof lookupSchema>;

export const lookupsSchema = z.record(nameSchema, lookupSchema);

/** Keys of the entry of an index that a published copy has no use for. */
const ofIndex = ["columns", "where", "last_by"] as const;

/** Sentences about entries whose options do not fit each other. */
export function lookupProblems(
  lookups: Record<string, LookupSpec>,
  connections: readonly string[],
): { path: (string | number)[]; message: string; hint: string }[] {
  const problems: { path: (string | number)[]; message: string; hint: string }[] = [];
  for (const [name, spec] of Object.entries(lookups)) {
    const path = ["lookup", name];
    if (spec.connection === undefined) {
      if (spec.target !== undefined) {
        problems.push({
          path: [...path, "target"],
          message: `\`lookup.${name}.target\` is \`${spec.target}\`, but no \`connection\` says where that is`,
          hint: "add `connection` with the name of a sink, or name the dataset with `dataset`",
        });
      }
      continue;
    }
    if (!connections.includes(spec.connection)) {
      problems.push({
        path: [...path, "connection"],
        message: `\`lookup.${name}.connection\`: there is no connection \`${spec.connection}\``,
        hint:
          connections.length === 0
            ? "add it to `connections`"
            : `there are ${connections.map((each) => `\`${each}\``).join(", ")}`,
      });
    }
    for (const option of ofIndex) {
      if (spec[option] === undefined) continue;
      problems.push({
        path: [...path, option],
        message: `\`lookup.${name}.${option}\` is for an index of this process, but \`connection\` is \`${spec.connection}\``,
        hint: `leave \`${option}\` out; what a copy holds is decided when it is published`,
      });
    }
  }
  return problems;
}

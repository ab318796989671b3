import * as z from "zod";
import { parseDuration } from "../core/index.ts";
import { flowSchema, type Flow } from "./flow.ts";

const duration = z.string().refine((text) => parseDuration(text) !== undefined, {
  message: "a duration is a number with a unit: `90s`, `15m`, `36h`, `2d`, `1w`",
});

const featureSchema = z.strictObject({
  dataset: z.string().describe("Dataset of features, or a version of it: `weather`, `weather@7`, `weather@gold`."),
  key: z
    .union([z.array(z.string()), z.record(z.string(), z.string())])
    .optional()
    .describe(
      "Columns that must be equal: names that both sides have, or `{ column of the entities: column here }`. An empty list joins by time alone. Default: the `key` of the entry.",
    ),
  at: z.string().describe("Column with the moment of the feature: it counts for entities at this moment and later."),
  known_at: z
    .string()
    .optional()
    .describe(
      "Column with the moment at which the row came to be known (ingestion, publication). A row counts only for entities at this moment and later; without one it never counts. Default: known when it happened.",
    ),
  tie: z
    .string()
    .optional()
    .describe(
      "Of several rows with one key and moment, the one with the greatest value here counts. Default: the one known last, then one that their content decides.",
    ),
  ttl: duration
    .optional()
    .describe("How old a feature may be, inclusive: `90s`, `15m`, `36h`, `2d`, `1w`. Default: any age."),
  columns: z
    .array(z.string())
    .min(1)
    .optional()
    .describe("Columns to take. Default: all but the key, `at` and `known_at`."),
  prefix: z.string().optional().describe("Put before the names of the columns taken. Default: nothing."),
});
export type FeatureSpec = z.output<typeof featureSchema>;

export const featuresSchema = z.strictObject({
  entities: z
    .string()
    .describe(
      "Dataset with one row for each example, or a version of it: `labels`, `labels@gold`. All its columns stay.",
    ),
  at: z
    .string()
    .describe(
      "Column with the moment of the example: nothing that happened or was known later is joined. Rows without it are rejected.",
    ),
  key: z
    .array(z.string())
    .optional()
    .describe("Columns that name the thing, for each of `from` that has no own `key`."),
  from: z.array(featureSchema).min(1).describe("Datasets of features; from each the newest row that counts is joined."),
});
export type FeaturesSpec = z.output<typeof featuresSchema>;

/** The name of a flow that makes the dataset of a features entry: what the configuration has, else one of the entry's own name. */
export function featuresFlow(flows: Record<string, Flow>, name: string): string {
  return Object.entries(flows).find(([, flow]) => flow.from.features === name)?.[0] ?? name;
}

/** Flows for the features entries that no flow of the configuration reads: each replaces the dataset of its name. */
export function impliedFlows(
  flows: Record<string, Flow>,
  features: Record<string, FeaturesSpec>,
): Record<string, Flow> {
  const missing = Object.keys(features).filter((name) => !Object.hasOwn(flows, featuresFlow(flows, name)));
  return Object.fromEntries(
    missing.map((name) => [name, flowSchema.parse({ from: { features: name }, mode: "replace" })]),
  );
}

/** Sentences about flows and features that do not fit each other. */
export function featuresProblems(
  flows: Record<string, Flow>,
  features: Record<string, FeaturesSpec>,
): { path: (string | number)[]; message: string; hint: string }[] {
  const problems: { path: (string | number)[]; message: string; hint: string }[] = [];
  for (const [name, spec] of Object.entries(features)) {
    const flow = featuresFlow(flows, name);
    if (Object.hasOwn(flows, flow) && flows[flow]!.from.features !== name) {
      problems.push({
        path: ["features", name],
        message: `\`features.${name}\` makes a dataset of its name, but the flow \`${name}\` does too`,
        hint: `rename one of them, or write a flow with \`from: { features: ${name} }\``,
      });
    }
    for (const [index, feature] of spec.from.entries()) {
      if (feature.key !== undefined || spec.key !== undefined) continue;
      problems.push({
        path: ["features", name, "from", index],
        message: `\`features.${name}.from[${index}]\` has no \`key\`, and neither has \`features.${name}\``,
        hint: "name the columns that must be equal, or `key: []` to join by time alone",
      });
    }
  }
  return problems;
}

import * as z from "zod";
import { assetsOptions } from "../core/asset-options.ts";

/** A name of a dataset, flow, connection or tag: it becomes a folder, so it is held to what every medium accepts. */
export const nameSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$/,
    "a name has letters, digits, `_` and `-`, begins with no `-`, and is at most 100 long",
  );

const fromSchema = z.strictObject({
  features: z
    .string()
    .optional()
    .describe("Name of an entry of `features`: its point-in-time join is what is read. With `mode` replace or merge."),
  connection: z
    .string()
    .optional()
    .describe(
      "Name of a configured connection: a source, or a store whose objects are files. Leave it out to read local files with `path`.",
    ),
  stream: z
    .string()
    .optional()
    .describe("Stream of the connection: a table (`public.orders`), a topic, a glob of files or objects."),
  query: z.string().optional().describe("A SELECT in the source's own language, instead of `stream`."),
  path: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .describe(
      "Files or globs, read by the built-in `files` source: of this machine, relative to the configuration; of a store by its address (`s3://bucket/in/*.csv`), or with `connection` naming one.",
    ),
  format: z.string().optional().describe("Format of the files. Default: what their names and first bytes say."),
  options: z
    .record(z.string(), z.unknown())
    .optional()
    .describe("Options of the format or of the stream, as `millrace describe` lists them."),
  assets: assetsOptions.optional().describe("What becomes of the bytes of documents, images, recordings."),
  cursor: z
    .string()
    .optional()
    .describe(
      "Column to read incrementally by. Default: the whole stream each time; files: only new and changed ones.",
    ),
  lag: z
    .number()
    .nonnegative()
    .optional()
    .describe(
      "Read this far before the cursor again, to catch late rows: seconds for times, units for numbers. Default 0.",
    ),
  columns: z.array(z.string()).min(1).optional().describe("Columns to read. Default: all."),
  part_bytes: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("Size of one part, bytes of source data: what is read again after a kill. Default: the source's own."),
});

const thresholdShape = {
  on_fail: z
    .enum(["warn", "mask", "reject", "fail"])
    .default("fail")
    .describe(
      "`warn` notes it, `reject` moves failing rows to `<dataset>__rejected`, `mask` takes out of their values what fails (`personal-data`), `fail` publishes nothing. Default `fail`.",
    ),
  max_rows: z
    .number()
    .int()
    .nonnegative()
    .optional()
    .describe("How many rows may fail before the check does. Default 0."),
  max_share: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe("Which share of the rows may fail before the check does, 0 to 1. Default 0."),
};

/** `check`, `on_fail`, `max_rows` and `max_share` are the same for all; the other keys are the check's own and are validated by its definition. */
export const checkSchema = z.looseObject({
  check: z.string().describe("Name of a check: see `millrace list checks`."),
  ...thresholdShape,
});
export type CheckSpec = z.output<typeof checkSchema>;

/** The keys that all enrichers have; the others are the enricher's own and are validated by its definition. */
export const enrichSchema = z.looseObject({
  enricher: z.string().describe("Name of an enricher: see `millrace list enrichers`."),
  of: z
    .string()
    .optional()
    .describe("Column of bytes that it works on, such as `image` of a video's frames. Default: the asset of the row."),
  max_cost: z
    .number()
    .nonnegative()
    .optional()
    .describe(
      "Stop before one run costs more than this, in the enricher's currency. Answers so far are kept. Default: no limit.",
    ),
});
export type EnrichSpec = z.output<typeof enrichSchema>;

/** Which columns make rows of two splits alike, though not equal. */
const nearSchema = z.union([
  z.strictObject({
    text: z
      .union([z.string(), z.array(z.string()).min(1)])
      .describe("Column or columns of text that are compared, letter case and punctuation aside."),
    similarity: z
      .number()
      .min(0.5)
      .max(1)
      .default(0.8)
      .describe("Texts are near when so great a share of their pieces of five characters is the same. Default 0.8."),
  }),
  z.strictObject({
    numbers: z.array(z.string()).min(1).describe("Columns of numbers that are compared together."),
    distance: z
      .number()
      .positive()
      .max(1)
      .default(0.01)
      .describe("Rows are near when no column differs by more than so many standard deviations. Default 0.01."),
  }),
  z.strictObject({
    hash: z.string().describe("Column of 64-bit perceptual hashes, such as `phash` of images."),
    bits: z
      .number()
      .int()
      .min(0)
      .max(12)
      .default(4)
      .describe("Images are near when at most so many bits differ. Default 4."),
  }),
]);
export type NearSpec = z.output<typeof nearSchema>;

export const splitSchema = z.strictObject({
  train: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe("Share of train. Shares are of the whole; they must add up to 1."),
  validation: z.number().min(0).max(1).optional().describe("Share of validation."),
  test: z.number().min(0).max(1).optional().describe("Share of test."),
  by: z
    .enum(["random", "time"])
    .default("random")
    .describe("`random`: by a hash of `key`. `time`: by `column` against `boundaries`. Default `random`."),
  key: z
    .union([z.string(), z.array(z.string()).min(1)])
    .optional()
    .describe(
      "Column or columns whose equal values stay in one split (customer, patient). Default: the key of the flow, else the whole row.",
    ),
  stratify: z
    .union([z.string(), z.array(z.string()).min(1)])
    .optional()
    .describe("Column or columns whose values are spread over the splits evenly."),
  column: z.string().optional().describe("`by: time`: the column of the time."),
  boundaries: z
    .strictObject({ validation: z.string().optional(), test: z.string().optional() })
    .optional()
    .describe("`by: time`: first moment of validation and of test; earlier rows are train."),
  seed: z.number().int().default(0).describe("Another seed gives another assignment. Default 0."),
  into: z.string().default("split").describe("Name of the column that holds the split. Default `split`."),
  leakage: z
    .enum(["warn", "fail", "off"])
    .default("fail")
    .describe("What to do when a group, an exact duplicate or what `near` finds is in two splits. Default `fail`."),
  near: z
    .array(nearSchema)
    .optional()
    .describe(
      "Near-duplicates to look for before a version is made, too: `{ text }`, `{ numbers }`, `{ hash }`. Default: none.",
    ),
});
export type SplitSpec = z.output<typeof splitSchema>;

export const publishSchema = z.strictObject({
  connection: z.string().describe("Name of a configured connection: a sink."),
  key: z
    .array(z.string())
    .min(1)
    .optional()
    .describe("Columns that identify a row: what the copy is looked up by. Default: the key of the flow."),
  mode: z
    .enum(["replace", "merge"])
    .default("replace")
    .describe(
      "`replace`: the copy is the version. `merge`: its rows take the place of those with the same key, and the others stay. Default `replace`.",
    ),
  target: z
    .string()
    .min(1)
    .optional()
    .describe("Table, key prefix or collection of the copy. Default: the name of the dataset."),
});
export type PublishSpec = z.output<typeof publishSchema>;
const durationText = z.string().regex(/^\d+(\.\d+)?\s*[smhdw]$/, "is a duration such as `0.5s` or `10s`");
/** How a flow goes on that never ends. */
const watchSchema = z.strictObject({
  every: durationText.default("5s").describe("Least time between two versions. Default 5s."),
  rows: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("A version is made sooner when so many records wait. Default: no."),
  bytes: z.string().optional().describe("A version is made sooner when so much waits: `64MB`. Default: no."),
  compact: z
    .boolean()
    .default(true)
    .describe(
      "Small files are put together, and what is not needed any more is removed, as versions are made. Default true.",
    ),
});
export type WatchSpec = z.output<typeof watchSchema>;

/** Written into the Croissant description of exports. */
const aboutSchema = z.strictObject({
  description: z.string().optional().describe("What the dataset is, in a sentence or more."),
  license: z.string().optional().describe("Address of the licence, or its SPDX name: `CC-BY-4.0`."),
  citation: z.string().optional().describe("How to cite it, best as BibTeX."),
  url: z.string().optional().describe("Page that tells of it."),
  creators: z.array(z.string()).min(1).optional().describe("Who made it."),
});

export const flowSchema = z.strictObject({
  from: fromSchema.describe("What to read."),
  into: nameSchema.optional().describe("Dataset to write. Default: the name of the flow."),
  mode: z
    .enum(["append", "replace", "merge"])
    .default("append")
    .describe(
      "`append` adds rows, `replace` swaps all, `merge` updates by `key`: of rows with one key the one with the highest `from.cursor` stays, and rows with a null in their key are rejected. Default `append`.",
    ),
  key: z.array(z.string()).min(1).optional().describe("Columns that identify a row. Required for `merge`."),
  transform: z
    .string()
    .optional()
    .describe(
      "A SELECT over `input`, in DuckDB's SQL. `input` holds all rows of the run: what is new with `append` and `merge`. Other datasets go by their names.",
    ),
  schema: z
    .enum(["evolve", "freeze", "reject"])
    .default("evolve")
    .describe(
      "When the columns change: `evolve` the dataset, `freeze` it and leave new columns out, or `reject` the run. Default `evolve`.",
    ),
  checks: z.array(checkSchema).default([]).describe("Checks, all measured in one scan before the version is made."),
  enrich: z
    .array(enrichSchema)
    .optional()
    .describe(
      "Columns that models and programs add to the rows that `transform` gives, one after the other: text in images, transcripts, labels.",
    ),
  split: splitSchema.optional().describe("Assign each row to train, validation or test."),
  publish: z
    .array(publishSchema)
    .optional()
    .describe("Copies in databases, brought up to date after each run. One that fails is made up for by the next run."),
  watch: watchSchema.optional().describe("When `millrace run --watch` makes versions."),
  about: aboutSchema.optional().describe("What goes into the description of its exports and only its owner knows."),
});
export type Flow = z.output<typeof flowSchema>;

/** Options that must fit each other; returns sentences that name both and the value found. Empty: fine. */
export function flowProblems(flow: Flow): { path: (string | number)[]; message: string }[] {
  const problems: { path: (string | number)[]; message: string }[] = [];
  const { from, split } = flow;
  if (from.features !== undefined) {
    for (const other of Object.keys(from)) {
      if (other === "features") continue;
      problems.push({ path: ["from", other], message: `\`from.features\` and \`from.${other}\` exclude each other` });
    }
    if (flow.mode === "append") {
      problems.push({
        path: ["mode"],
        message: "`from.features` joins all entities each time, so `mode` must be `replace`, or `merge` with a `key`",
      });
    }
  } else if (from.connection === undefined && from.path === undefined) {
    problems.push({ path: ["from"], message: "`from` needs `connection` with `stream` or `query`, or `path`" });
  }
  if (from.path !== undefined && (from.stream !== undefined || from.query !== undefined)) {
    const other = from.stream === undefined ? "query" : "stream";
    problems.push({ path: ["from", other], message: `\`from.path\` and \`from.${other}\` exclude each other` });
  }
  if (from.stream !== undefined && from.query !== undefined) {
    problems.push({ path: ["from", "query"], message: "`from.stream` and `from.query` exclude each other" });
  }
  if (flow.mode === "merge" && flow.key === undefined) {
    problems.push({
      path: ["mode"],
      message: "`mode` is `merge`, but `key` does not say which columns identify a row",
    });
  }
  if (split?.by === "random") {
    const shares = [split.train, split.validation, split.test].filter((share) => share !== undefined);
    const total = shares.reduce((sum, share) => sum + share, 0);
    if (Math.abs(total - 1) > 1e-9) {
      problems.push({
        path: ["split"],
        message: `\`train\`, \`validation\` and \`test\` of \`split\` add up to ${total}, not to 1`,
      });
    }
  }
  if (split?.by === "time" && (split.column === undefined || split.boundaries === undefined)) {
    problems.push({
      path: ["split"],
      message: "`split.by` is `time`, so `split.column` and `split.boundaries` are needed",
    });
  }
  return problems;
}

import * as z from "zod";

export const jsonOptions = z.strictObject({
  structure: z
    .enum(["auto", "array", "concatenated"])
    .default("auto")
    .describe("Of a JSON document: one `array` of records, or values one after the other. Default: found out."),
  records: z
    .enum(["auto", "objects", "values"])
    .default("auto")
    .describe("`objects`: keys are columns. `values`: each value is one column `json`. Default: found out."),
  types: z
    .record(z.string(), z.string())
    .optional()
    .describe("Type by top-level key (`long`, `decimal(18,2)`, `string`, …). Default: inferred from the sample."),
  dateformat: z.string().optional().describe("Notation of dates, as strptime has it. Default ISO 8601."),
  timestampformat: z.string().optional().describe("Notation of timestamps, as strptime has it. Default ISO 8601."),
  depth: z
    .number()
    .int()
    .positive()
    .max(100)
    // Types of any depth end the engine: with an error from a thousand levels on, with the whole process from some ten thousand.
    .default(32)
    .describe("Levels that become structs and lists; what lies deeper stays JSON text. At most 100. Default 32."),
  max_object_bytes: z
    .number()
    .int()
    .positive()
    .default(64 * 1024 * 1024)
    .describe("A larger object is an error (json) or rejected (ndjson). Default 64 MiB."),
  sample_rows: z
    .number()
    .int()
    .default(20_480)
    .describe(
      "Records to infer columns and types from; -1: all, which reads the file twice. Keys that first appear later are not read. Default 20,480.",
    ),
  encoding: z
    .string()
    .default("utf-8")
    .describe(
      "Encoding of the text, a label of the WHATWG standard. UTF-16 with a byte order mark is recognised. Default `utf-8`.",
    ),
  compression: z.enum(["auto", "none", "gzip", "zstd"]).default("auto").describe("Default: what name and content say."),
});
export type JsonOptions = z.output<typeof jsonOptions>;

import * as z from "zod";

const character = z.string().max(1);

/** Options that CSV and TSV share. What is left open is found out from the file. */
export const delimitedOptions = {
  quote: character.optional().describe('Character around values. Empty: none. Default: found out, else `"`.'),
  escape: character
    .optional()
    .describe("Character before a quote inside quotes. Default: found out, else the quote itself."),
  header: z.boolean().optional().describe("Whether the first line names the columns. Default: found out."),
  names: z
    .array(z.string())
    .optional()
    .describe("Names of the columns in the order of the file. Default: those of the header."),
  types: z
    .record(z.string(), z.string())
    .optional()
    .describe("Type by column (`long`, `decimal(18,2)`, `string`, …). Default: inferred from the sample."),
  nulls: z
    .array(z.string())
    .optional()
    .describe('Unquoted texts that mean null. Default: only the empty text; `""` in quotes is an empty string.'),
  quoted_nulls: z
    .boolean()
    .default(false)
    .describe("Whether the texts of `nulls` mean null within quotes too. Default false."),
  encoding: z
    .string()
    .default("utf-8")
    .describe(
      "Encoding of the text, a label of the WHATWG standard: `utf-16le`, `latin1`. UTF-16 with a byte order mark is recognised. Default `utf-8`.",
    ),
  skip: z.number().int().nonnegative().optional().describe("Lines to leave out at the start. Default: found out."),
  comment: character.optional().describe("Lines that begin with it are left out. Default: found out."),
  dateformat: z.string().optional().describe("Notation of dates, as strptime has it: `%d.%m.%Y`. Default: found out."),
  timestampformat: z.string().optional().describe("Notation of timestamps, as strptime has it. Default: found out."),
  decimal_separator: z.enum([".", ","]).optional().describe("Default `.`."),
  max_line_bytes: z
    .number()
    .int()
    .positive()
    .default(4 * 1024 * 1024)
    .describe("A longer record is rejected. Costs 16 times as much memory. Default 4 MiB."),
  sample_rows: z
    .number()
    .int()
    .default(20_480)
    .describe("Rows to infer dialect and types from; -1: all, which reads the file twice. Default 20,480."),
  wide_integers: z
    .array(z.string())
    .optional()
    .describe(
      "Integer columns with values of more than 15 digits, which take a slower reading. Default: found out from the sample; where such a value comes later, the file is read a second time.",
    ),
  compression: z.enum(["auto", "none", "gzip", "zstd"]).default("auto").describe("Default: what name and content say."),
};

const delimiterOption = z
  .string()
  .min(1)
  .max(4)
  .optional()
  .describe("What separates values. Default: found out among `,` `;` `|` and tab.");

export const csvOptions = z.strictObject({ delimiter: delimiterOption, ...delimitedOptions });
export const tsvOptions = z.strictObject(delimitedOptions);
export type DelimitedOptions = z.output<typeof csvOptions>;

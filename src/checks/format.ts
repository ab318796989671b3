import * as z from "zod";
import { defineCheck, sqlName } from "../core/index.ts";
import { columnShape, hasOneOfColumns, oneOfColumns, requireKind } from "./shared/columns.ts";
import { textFormats } from "./shared/formats.ts";
import { valueCheck } from "./shared/values.ts";

const options = z
  .strictObject({
    ...columnShape,
    format: z
      .enum(Object.keys(textFormats) as [string, ...string[]])
      .describe(
        `What the text must be: ${Object.keys(textFormats).join(", ")}. Addresses are judged by their form, not by asking anybody.`,
      ),
  })
  .refine(hasOneOfColumns, oneOfColumns);
type Options = z.output<typeof options>;

export default defineCheck({
  name: "format",
  title: "Format",
  summary: "Text is an e-mail address, a URL, a date, JSON, a UUID or another well-known form.",
  options,
  needs: [],
  capabilities: { rows: true },
  examples: [{ title: "E-mail addresses", yaml: "check: format\ncolumn: email\nformat: email\nmax_share: 0.001\n" }],
  load: async () =>
    valueCheck<Options>({
      check: "format",
      failing(column, { format }) {
        requireKind("format", column, ["text"], "a typed column is well-formed by itself; `format` is for text");
        return textFormats[format]!.fails(sqlName(column.name));
      },
      problem: (_column, { format }) => `is not ${textFormats[format]!.noun}`,
      holds: ({ format }) => `is ${textFormats[format]!.noun}`,
    }),
});

import * as z from "zod";
import { defineFormat } from "../../core/index.ts";

export const excelOptions = z.strictObject({
  sheet: z
    .union([z.string(), z.number().int().positive()])
    .optional()
    .describe("Name or number (from 1) of the sheet. Default: the first."),
  header: z.boolean().default(true).describe("Whether the first row names the columns. Default true."),
  first_row: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("Number of the row where the table begins. Default: the first that is not empty."),
  errors: z
    .enum(["reject", "null"])
    .default("reject")
    .describe(
      "Rows with a cell that is an error such as `#DIV/0!`: `reject` them, or take the cell for null. Default `reject`.",
    ),
});

export default defineFormat({
  name: "excel",
  title: "Microsoft Excel",
  summary:
    "One sheet of an .xlsx or .xlsm workbook: shared and inline text, numbers, dates, booleans; read in a child process.",
  options: excelOptions,
  extensions: ["xlsx", "xlsm"],
  mediaTypes: ["application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"],
  needs: [],
  capabilities: { read: true, write: false, rejects: true },
  examples: [
    { title: "A table below a title", yaml: "from:\n  path: report.xlsx\n  options: { sheet: Sales, first_row: 4 }" },
  ],
  load: () => import("./driver.ts"),
});

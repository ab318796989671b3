import * as z from "zod";
import { defineFormat } from "../../core/index.ts";

export const parquetOptions = z.strictObject({
  names: z.array(z.string()).optional().describe("Columns that the files have. Default: what their footers say."),
  variants: z
    .array(z.string())
    .optional()
    .describe("Columns to read as JSON text, because they are variants. Default: found out."),
  text: z
    .array(z.string())
    .optional()
    .describe(
      "Columns to read as text, because their type has no counterpart: intervals, geometries. Default: found out.",
    ),
  binary_as_string: z
    .boolean()
    .default(false)
    .describe("Whether bytes without a logical type are UTF-8 text, as some old writers mean it. Default false."),
});

export default defineFormat({
  name: "parquet",
  title: "Apache Parquet",
  summary: "Columnar files, read by the engine itself with all encodings and compressions.",
  options: parquetOptions,
  extensions: ["parquet", "pq", "parq"],
  mediaTypes: ["application/vnd.apache.parquet"],
  needs: [],
  capabilities: { read: true, write: true, rejects: false },
  examples: [{ title: "A folder of files", yaml: "from:\n  path: data/**/*.parquet" }],
  load: () => import("./driver.ts"),
});

import { defineFormat } from "../../core/index.ts";
import { tsvOptions } from "../delimited-options.ts";

export default defineFormat({
  name: "tsv",
  title: "TSV",
  summary: "Text with tabs between values; otherwise like CSV.",
  options: tsvOptions,
  extensions: ["tsv", "tab"],
  mediaTypes: ["text/tab-separated-values"],
  needs: [],
  capabilities: { read: true, write: true, rejects: true },
  examples: [
    {
      title: "Files without a header",
      yaml: "from:\n  path: data/*.tsv\n  options: { header: false, names: [id, rate] }",
    },
  ],
  load: () => import("./driver.ts"),
});

import { defineFormat } from "../../core/index.ts";
import { csvOptions } from "../delimited-options.ts";

export default defineFormat({
  name: "csv",
  title: "CSV",
  summary:
    "Delimited text with dialect detection; records that do not fit are told apart from good ones, with file and line.",
  options: csvOptions,
  extensions: ["csv", "txt", "psv"],
  mediaTypes: ["text/csv", "application/csv"],
  needs: [],
  capabilities: { read: true, write: true, rejects: true },
  examples: [
    {
      title: "Semicolons, decimal commas and German dates",
      yaml: `from:
  path: data/*.csv
  format: csv
  options: { delimiter: ";", decimal_separator: ",", dateformat: "%d.%m.%Y" }`,
    },
  ],
  load: () => import("./driver.ts"),
});

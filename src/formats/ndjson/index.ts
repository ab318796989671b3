import { defineFormat } from "../../core/index.ts";
import { jsonOptions } from "../json-options.ts";

export default defineFormat({
  name: "ndjson",
  title: "NDJSON",
  summary:
    "One JSON value a line (JSON Lines); lines that do not parse or do not fit are told apart from good ones, with file and line.",
  options: jsonOptions,
  extensions: ["ndjson", "jsonl", "geojsonl"],
  mediaTypes: ["application/x-ndjson", "application/jsonl"],
  needs: [],
  capabilities: { read: true, write: true, rejects: true },
  examples: [{ title: "Compressed logs", yaml: "from:\n  path: logs/**/*.ndjson.gz" }],
  load: () => import("./driver.ts"),
});

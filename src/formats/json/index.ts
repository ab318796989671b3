import { defineFormat } from "../../core/index.ts";
import { jsonOptions } from "../json-options.ts";

export default defineFormat({
  name: "json",
  title: "JSON",
  summary:
    "A JSON document: an array of records, one record, or several in a row; records that do not fit their columns are told apart.",
  options: jsonOptions,
  extensions: ["json", "geojson"],
  mediaTypes: ["application/json", "application/geo+json"],
  needs: [],
  capabilities: { read: true, write: true, rejects: true },
  examples: [
    { title: "An exact price", yaml: 'from:\n  path: orders.json\n  options: { types: { price: "decimal(18,2)" } }' },
  ],
  load: () => import("./driver.ts"),
});

import { defineSource } from "../../core/index.ts";
import { options } from "./options.ts";

export default defineSource({
  name: "app-logs",
  title: "Logs of apps",
  summary:
    "Logs of apps and devices, sent by HTTP as NDJSON or OpenTelemetry's OTLP, also long after they were written and by clocks that are wrong.",
  options,
  needs: ["`millrace collect`, which takes the batches in"],
  capabilities: {
    discover: true,
    incremental: true,
    query: false,
    replayable: true,
    snapshot: false,
    deletes: false,
    measure: false,
  },
  examples: [
    {
      title: "Two apps",
      yaml: [
        "connections:",
        "  logs:",
        "    source: app-logs",
        "    keys: { android: {}, ios: {} }",
        "flows:",
        '  logs: { from: { connection: logs, stream: "*" } }',
        "",
      ].join("\n"),
    },
    {
      title: "Devices that count their records in a member of their own",
      yaml: "connections:\n  meters:\n    source: app-logs\n    device: serial\n    sequence: counter\n    remember: 90d\n",
    },
  ],
  load: async () => import("./driver.ts"),
  collector: async () => import("./collector.ts"),
});

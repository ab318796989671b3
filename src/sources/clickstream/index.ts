import { defineSource } from "../../core/index.ts";
import { options } from "./options.ts";

export default defineSource({
  name: "clickstream",
  title: "Clickstream",
  summary:
    "Events of web pages, apps and servers, sent by HTTP as Segment, Snowplow and Google Analytics 4 have it, each durable before it is acknowledged.",
  options,
  needs: ["`millrace collect`, which takes the events in"],
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
      title: "A web page and a server",
      yaml: [
        "connections:",
        "  clicks:",
        "    source: clickstream",
        "    keys:",
        "      web: { origins: [https://example.com] }",
        '      server: { key: "${env:CLICKS_KEY}" }',
        "flows:",
        '  clicks: { from: { connection: clicks, stream: "*" } }',
        "",
      ].join("\n"),
    },
    {
      title: "People who did not agree are not told apart, and crawlers are left out",
      yaml: [
        "connections:",
        "  clicks:",
        "    source: clickstream",
        "    keys: { web: { origins: [https://example.com] } }",
        "    bots: drop",
        "    consent: { category: Analytics }",
        "",
      ].join("\n"),
    },
  ],
  load: async () => import("./driver.ts"),
  collector: async () => import("./collector.ts"),
});

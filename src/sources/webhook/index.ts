import { defineSource } from "../../core/index.ts";
import { options } from "./options.ts";

export default defineSource({
  name: "webhook",
  title: "Webhooks",
  summary:
    "Deliveries of Stripe, Shopify, Typeform, GitHub and others, verified by their signature and durable before they are acknowledged.",
  options,
  needs: ["`millrace collect`, which takes the deliveries in"],
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
      title: "Payments and pushes",
      yaml: [
        "connections:",
        "  hooks:",
        "    source: webhook",
        "    senders:",
        '      stripe: { scheme: stripe, secret: "${env:STRIPE_WEBHOOK_SECRET}" }',
        '      code: { scheme: github, secret: "${env:GITHUB_WEBHOOK_SECRET}" }',
        "flows:",
        "  payments: { from: { connection: hooks, stream: stripe } }",
        "",
      ].join("\n"),
    },
    {
      title: "A scheme of its own: Slack's",
      yaml: [
        "connections:",
        "  hooks:",
        "    source: webhook",
        "    senders:",
        "      slack:",
        "        scheme: custom",
        '        secret: "${env:SLACK_SIGNING_SECRET}"',
        "        header: X-Slack-Signature",
        "        prefix: v0=",
        '        signed: "v0:{timestamp}:{body}"',
        "        timestamp_header: X-Slack-Request-Timestamp",
        "",
      ].join("\n"),
    },
  ],
  load: async () => import("./driver.ts"),
  collector: async () => import("./collector.ts"),
});

import { defineSource } from "../../core/index.ts";
import { options } from "./options.ts";

export default defineSource({
  name: "form",
  title: "Forms and surveys",
  summary:
    "Answers of people to questions of the configuration (NPS, CSAT, reviews, free text, choices), on a page of its own without scripts.",
  options,
  needs: ["`millrace collect`, which shows the form and takes the answers in"],
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
      title: "A net promoter score and why",
      yaml: [
        "connections:",
        "  nps:",
        "    source: form",
        "    title: How are we doing?",
        "    questions:",
        "      recommend: { kind: nps, text: How likely are you to recommend us?, required: true, low: not at all, high: very }",
        "      why: { kind: text, text: What is the reason? }",
        "flows:",
        '  nps: { from: { connection: nps, stream: "*" } }',
        "",
      ].join("\n"),
    },
    {
      title: "A review, from two places",
      yaml: [
        "connections:",
        "  reviews:",
        "    source: form",
        "    title: Your order",
        "    channels: [email, receipt]",
        "    questions:",
        "      stars: { kind: rating, text: How was it?, required: true }",
        "      liked: { kind: choice, text: What did you like?, choices: [taste, price, delivery], multiple: true }",
        "      review: { kind: text, text: Tell others, max_length: 5000 }",
        "",
      ].join("\n"),
    },
  ],
  load: async () => import("./driver.ts"),
  collector: async () => import("./collector.ts"),
});

import * as z from "zod";
import { defineFormat } from "../../core/index.ts";

export const chatOptions = z.strictObject({
  pseudonyms: z
    .string()
    .min(16)
    .optional()
    .meta({ secret: true })
    .describe(
      "A secret of 16 characters or more: people appear under names that are made from it and from who they are, the same in every export. Names that somebody wrote into a text stay; set `assets: { keep: false }` too.",
    ),
  time_zone: z
    .string()
    .default("UTC")
    .describe("Zone of times that an export has without one, as WhatsApp does: `Europe/Berlin`. Default UTC."),
  date_order: z
    .enum(["auto", "day-first", "month-first"])
    .default("auto")
    .describe("How WhatsApp wrote dates such as 03/04/25. Default: what the whole file says."),
});
export type ChatOptions = z.output<typeof chatOptions>;

export default defineFormat({
  name: "chat",
  title: "Chat exports",
  summary:
    "Exports of Slack, WhatsApp, Discord, Telegram, Teams and Messenger as messages of one shape: conversation, thread, author, time, text, attachments, reactions.",
  options: chatOptions,
  extensions: ["zip", "json", "txt"],
  mediaTypes: ["application/zip", "application/json", "text/plain"],
  needs: [],
  capabilities: { read: true, write: false, rejects: true, assets: true },
  examples: [
    { title: "An export of Slack", yaml: "flows:\n  slack:\n    from: { path: slack-export.zip, format: chat }" },
    {
      title: "Without the names",
      yaml: 'flows:\n  support:\n    from:\n      path: exports/*.txt\n      format: chat\n      options: { pseudonyms: "${env:CHAT_SECRET}", time_zone: Europe/Berlin }\n      assets: { keep: false }',
    },
  ],
  load: () => import("./driver.ts"),
});

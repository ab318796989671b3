import { assetColumns, type Column } from "../../core/index.ts";

/** A message, besides what is known of the export that it was in. */
export const messageColumns: readonly Column[] = [
  { name: "platform", type: "string", doc: "`slack`, `whatsapp`, `discord`, `telegram`, `teams`, `messenger`." },
  { name: "conversation", type: "string", doc: "Name of the channel, group or chat." },
  { name: "conversation_id", type: "string" },
  { name: "message_id", type: "string", doc: "As the platform names it; else made of its place in the export." },
  { name: "thread_id", type: "string", doc: "The message that its thread began with; null outside of threads." },
  { name: "reply_to", type: "string", doc: "The message that it answers." },
  { name: "sent_at", type: "timestamptz" },
  { name: "edited_at", type: "timestamptz" },
  { name: "author", type: "string" },
  { name: "author_id", type: "string" },
  { name: "kind", type: "string", doc: "`message`; `system` for what the platform says; `deleted`." },
  { name: "is_bot", type: "boolean" },
  { name: "text", type: "string", doc: "Without markup; people and channels by name." },
  {
    name: "attachments",
    type: {
      type: "list",
      element: {
        type: "struct",
        fields: [
          { name: "name", type: "string" },
          { name: "media_type", type: "string" },
          { name: "size", type: "long" },
          { name: "url", type: "string" },
        ],
      },
    },
  },
  {
    name: "reactions",
    type: {
      type: "list",
      element: {
        type: "struct",
        fields: [
          { name: "name", type: "string" },
          { name: "count", type: "int" },
        ],
      },
    },
  },
];

export const columns: readonly Column[] = [...assetColumns, ...messageColumns];

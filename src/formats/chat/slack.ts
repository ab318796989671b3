import { posix } from "node:path";
import { fieldsOf, isJson, listOf, numberOf, textOf, type Json, type Message } from "./message.ts";

/** The parts of an export by their paths. */
export interface Parts {
  names: string[];
  /** Throws `parse` for what is no JSON. */
  json(name: string): Promise<unknown>;
}

const isDay = (name: string): boolean => /^\d{4}-\d\d-\d\d\.json$/.test(posix.basename(name));

/** True for `users.json` beside folders of days. */
export function isSlack(names: readonly string[]): boolean {
  return names.some((name) => posix.basename(name) === "users.json") && names.some(isDay);
}

/** `<@U1>`, `<#C1|general>`, `<https://x|label>`, `<!here>` and entities: https://docs.slack.dev/messaging/formatting-message-text */
function plain(text: string, people: ReadonlyMap<string, string>): string {
  return text
    .replaceAll(/<([@#!]?)([^>|]*)(?:\|([^>]*))?>/g, (_, sign: string, target: string, label: string | undefined) => {
      if (sign === "@") return `@${people.get(target) ?? label ?? target}`;
      if (sign === "#") return `#${label ?? target}`;
      if (sign === "!") return `@${label ?? target.split("^")[0]}`;
      return label === undefined || label === target ? target : `${label} (${target})`;
    })
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");
}

const seconds = (value: unknown): number | undefined => {
  const number = numberOf(value);
  return number === undefined ? undefined : Math.round(number * 1000);
};

/**
 * The id of a message is its `ts`, which is a string for a reason: as a number it loses digits. With `rename`, people whom somebody
 * mentions appear under what it makes of their ids.
 */
export async function* readSlack(parts: Parts, rename?: (id: string) => string): AsyncGenerator<Message> {
  const people = new Map<string, string>();
  const named = (file: string): string | undefined => parts.names.find((name) => posix.basename(name) === file);
  const users = named("users.json");
  for (const user of listOf(users === undefined ? [] : await parts.json(users))) {
    const profile = fieldsOf(user["profile"]);
    const name =
      textOf(profile["display_name"]) ??
      textOf(profile["real_name"]) ??
      textOf(user["real_name"]) ??
      textOf(user["name"]);
    const id = textOf(user["id"]);
    if (id !== undefined && name !== undefined) people.set(id, rename?.(id) ?? name);
  }
  const channels = new Map<string, string>();
  for (const file of ["channels.json", "groups.json", "dms.json", "mpims.json"]) {
    const list = named(file);
    for (const channel of listOf(list === undefined ? [] : await parts.json(list))) {
      const id = textOf(channel["id"]);
      // A direct message has no name: its folder is called by its id.
      if (id !== undefined) channels.set(textOf(channel["name"]) ?? id, id);
    }
  }
  for (const name of parts.names.filter(isDay).sort()) {
    const conversation = posix.basename(posix.dirname(name));
    for (const message of listOf(await parts.json(name))) {
      yield messageOf(message, conversation, channels.get(conversation), people);
    }
  }
}

function messageOf(
  message: Json,
  conversation: string,
  conversationId: string | undefined,
  people: ReadonlyMap<string, string>,
): Message {
  const id = textOf(message["ts"]) ?? "";
  const thread = textOf(message["thread_ts"]);
  const subtype = textOf(message["subtype"]);
  const author = textOf(message["user"]) ?? textOf(message["bot_id"]);
  const isBot = message["bot_id"] !== undefined || subtype === "bot_message";
  const profile = fieldsOf(message["user_profile"]);
  const aside =
    subtype !== undefined &&
    ![
      "bot_message",
      "file_share",
      "file_comment",
      "me_message",
      "thread_broadcast",
      "file_mention",
      "reply_broadcast",
    ].includes(subtype);
  const legacy = isJson(message["file"]) ? [message["file"]] : [];
  return {
    platform: "slack",
    conversation,
    conversationId,
    id,
    threadId: thread,
    replyTo: thread !== undefined && thread !== id ? thread : undefined,
    sentAt: seconds(id),
    editedAt: seconds(fieldsOf(message["edited"])["ts"]),
    author:
      (author === undefined ? undefined : people.get(author)) ??
      textOf(profile["display_name"]) ??
      textOf(message["username"]) ??
      author,
    authorId: author,
    kind: subtype === "tombstone" || subtype === "message_deleted" ? "deleted" : aside ? "system" : "message",
    isBot,
    text: plain(textOf(message["text"]) ?? "", people),
    attachments: [...listOf(message["files"]), ...legacy].map((file) => ({
      name: textOf(file["name"]) ?? textOf(file["title"]),
      mediaType: textOf(file["mimetype"]),
      size: numberOf(file["size"]),
      url: textOf(file["url_private"]) ?? textOf(file["permalink"]),
    })),
    reactions: listOf(message["reactions"]).map((reaction) => ({
      name: textOf(reaction["name"]) ?? "",
      count: numberOf(reaction["count"]) ?? listOf(reaction["users"]).length,
    })),
  };
}

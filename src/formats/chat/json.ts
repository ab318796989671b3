import { textOfHtml } from "../html-text.ts";
import { fieldsOf, isJson, listOf, numberOf, textOf, timeOf, type Json, type Message } from "./message.ts";

/** The messages of a document of one of the platforms; undefined when it is of none. */
export function messagesOfJson(document: unknown, name: string): Iterable<Message> | undefined {
  if (isJson(document)) {
    if (Array.isArray(document["value"]) || document["@odata.context"] !== undefined)
      return teams(listOf(document["value"]));
    if (isJson(document["channel"]) && Array.isArray(document["messages"])) return discord(document);
    if (isJson(document["chats"]))
      return listOf(fieldsOf(document["chats"])["list"]).flatMap((chat) => [...telegram(chat)]);
    if (Array.isArray(document["participants"]) && Array.isArray(document["messages"]))
      return messenger(document, name);
    if (Array.isArray(document["messages"])) return telegram(document);
    return undefined;
  }
  const [first] = listOf(document);
  if (first === undefined) return undefined;
  if (first["message.id"] !== undefined) return channelDump(listOf(document), name);
  if (first["ID"] !== undefined && first["Contents"] !== undefined) return discordPackage(listOf(document), name);
  if (first["createdDateTime"] !== undefined && isJson(first["body"])) return teams(listOf(document));
  return undefined;
}

/** Desktop export of a chat: https://core.telegram.org/import-export */
function* telegram(chat: Json): Generator<Message> {
  const text = (value: unknown): string =>
    typeof value === "string"
      ? value
      : Array.isArray(value)
        ? value.map((one) => (typeof one === "string" ? one : (textOf(fieldsOf(one)["text"]) ?? ""))).join("")
        : "";
  const at = (message: Json, field: string): number | undefined => {
    const unix = numberOf(message[`${field}_unixtime`]);
    return unix === undefined ? timeOf(message[field]) : unix * 1000;
  };
  for (const message of listOf(chat["messages"])) {
    const file = textOf(message["file"]) ?? textOf(message["photo"]);
    yield {
      platform: "telegram",
      conversation: textOf(chat["name"]),
      conversationId: textOf(chat["id"]),
      id: textOf(message["id"]) ?? "",
      replyTo: textOf(message["reply_to_message_id"]),
      sentAt: at(message, "date"),
      editedAt: at(message, "edited"),
      author: textOf(message["from"]) ?? textOf(message["actor"]),
      authorId: textOf(message["from_id"]) ?? textOf(message["actor_id"]),
      kind: message["type"] === "service" ? "system" : "message",
      text: text(message["text"]) || (message["type"] === "service" ? (textOf(message["action"]) ?? "") : ""),
      attachments:
        file === undefined
          ? []
          : [
              {
                name: textOf(message["file_name"]) ?? file,
                mediaType: textOf(message["mime_type"]),
                size: numberOf(message["file_size"] ?? message["photo_file_size"]),
                url: file,
              },
            ],
      reactions: listOf(message["reactions"]).map((reaction) => ({
        name: textOf(reaction["emoji"]) ?? "",
        count: numberOf(reaction["count"]) ?? 0,
      })),
    };
  }
}

/** What scripts over Telegram's API write of a channel. */
function* channelDump(messages: readonly Json[], name: string): Generator<Message> {
  for (const message of messages) {
    yield {
      platform: "telegram",
      conversation: name,
      id: textOf(message["message.id"]) ?? "",
      replyTo: textOf(message["reply_to_id"]),
      sentAt: timeOf(message["date"]),
      authorId: textOf(message["sender_id"]),
      kind: "message",
      text: textOf(message["text"]) ?? "",
    };
  }
}

/** JSON of DiscordChatExporter. */
function* discord(document: Json): Generator<Message> {
  const channel = fieldsOf(document["channel"]);
  const guild = textOf(fieldsOf(document["guild"])["name"]);
  const channelName = textOf(channel["name"]);
  const conversation = guild === undefined || guild === "Direct Messages" ? channelName : `${guild}/${channelName}`;
  for (const message of listOf(document["messages"])) {
    const author = fieldsOf(message["author"]);
    const type = textOf(message["type"]);
    yield {
      platform: "discord",
      conversation,
      conversationId: textOf(channel["id"]),
      id: textOf(message["id"]) ?? "",
      replyTo: textOf(fieldsOf(message["reference"])["messageId"]),
      sentAt: timeOf(message["timestamp"]),
      editedAt: timeOf(message["timestampEdited"]),
      author: textOf(author["nickname"]) ?? textOf(author["name"]),
      authorId: textOf(author["id"]),
      kind: type === undefined || type === "Default" || type === "Reply" ? "message" : "system",
      isBot: author["isBot"] === true,
      text: textOf(message["content"]) ?? "",
      attachments: listOf(message["attachments"]).map((file) => ({
        name: textOf(file["fileName"]),
        size: numberOf(file["fileSizeBytes"]),
        url: textOf(file["url"]),
      })),
      reactions: listOf(message["reactions"]).map((reaction) => ({
        name: textOf(fieldsOf(reaction["emoji"])["name"]) ?? "",
        count: numberOf(reaction["count"]) ?? 0,
      })),
    };
  }
}

/** The first 42 bits of an id of Discord are milliseconds since 2015: https://discord.com/developers/docs/reference#snowflakes */
function snowflakeTime(id: string | undefined): number | undefined {
  return id !== undefined && /^\d{15,20}$/.test(id) ? Number((BigInt(id) >> 22n) + 1_420_070_400_000n) : undefined;
}

/** The package that Discord gives people of their own messages. */
function* discordPackage(messages: readonly Json[], name: string): Generator<Message> {
  for (const message of messages) {
    const id = textOf(message["ID"]);
    yield {
      platform: "discord",
      conversation: name,
      conversationId: /(?:^|\/)c?(\d{15,20})\//.exec(name)?.[1],
      id: id ?? "",
      sentAt: snowflakeTime(id) ?? timeOf(textOf(message["Timestamp"])?.replace(" ", "T")),
      kind: "message",
      text: textOf(message["Contents"]) ?? "",
      attachments: (textOf(message["Attachments"]) ?? "")
        .split(/\s+/)
        .filter((url) => url !== "")
        .map((url) => ({ url })),
    };
  }
}

/** `chatMessage` of Microsoft Graph: https://learn.microsoft.com/graph/api/resources/chatmessage */
function* teams(messages: readonly Json[]): Generator<Message> {
  for (const message of messages) {
    const from = fieldsOf(message["from"]);
    const application = isJson(from["application"]);
    const user = fieldsOf(from["user"] ?? from["application"]);
    const body = fieldsOf(message["body"]);
    const content = textOf(body["content"]) ?? "";
    const channel = fieldsOf(message["channelIdentity"]);
    const reply = textOf(message["replyToId"]);
    yield {
      platform: "teams",
      conversation: textOf(message["subject"]),
      conversationId: textOf(message["chatId"]) ?? textOf(channel["channelId"]),
      id: textOf(message["id"]) ?? "",
      threadId: reply,
      replyTo: reply,
      sentAt: timeOf(message["createdDateTime"]),
      editedAt: timeOf(message["lastEditedDateTime"]),
      author: textOf(user["displayName"]),
      authorId: textOf(user["id"]),
      kind:
        textOf(message["deletedDateTime"]) !== undefined
          ? "deleted"
          : message["messageType"] === "message" || message["messageType"] === undefined
            ? "message"
            : "system",
      isBot: application,
      text: body["contentType"] === "html" ? textOfHtml(content).text : content,
      attachments: listOf(message["attachments"]).map((file) => ({
        name: textOf(file["name"]),
        mediaType: textOf(file["contentType"]),
        url: textOf(file["contentUrl"]),
      })),
      reactions: listOf(message["reactions"]).map((reaction) => ({
        name: textOf(reaction["reactionType"]) ?? "",
        count: 1,
      })),
    };
  }
}

/** Its exports have each byte of UTF-8 as a character of its own. */
function unmangled(text: string): string {
  if (!/[\u0080-\u00ff]/.test(text) || /[\u0100-\uffff]/.test(text)) return text;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(text, "latin1"));
  } catch {
    return text;
  }
}

/** Messenger and Instagram. A message has no id: its time and place in the file make one. */
function* messenger(document: Json, name: string): Generator<Message> {
  const text = (value: unknown): string | undefined => {
    const found = textOf(value);
    return found === undefined ? undefined : unmangled(found);
  };
  for (const [index, message] of listOf(document["messages"]).entries()) {
    const files = ["photos", "videos", "audio_files", "files", "gifs"].flatMap((kind) => listOf(message[kind]));
    yield {
      platform: "messenger",
      conversation: text(document["title"]) ?? name,
      conversationId: textOf(document["thread_path"]),
      id: `${textOf(message["timestamp_ms"]) ?? ""}-${index}`,
      sentAt: numberOf(message["timestamp_ms"]),
      author: text(message["sender_name"]),
      kind: message["is_unsent"] === true ? "deleted" : "message",
      text: text(message["content"]) ?? "",
      attachments: files.map((file) => ({ url: textOf(file["uri"]) })),
      reactions: listOf(message["reactions"]).map((reaction) => ({ name: text(reaction["reaction"]) ?? "", count: 1 })),
    };
  }
}

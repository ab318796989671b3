import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { openPromise, type Entry } from "yauzl";
import { messageOf, MillraceError, type Converted, type FileRef } from "../../core/index.ts";
import { createEntryGuard } from "../../sandbox/zip.ts";
import { AssetRows, type AssetConvertOptions } from "../asset-rows.ts";
import { decodeText } from "../plain-text.ts";
import { headerOf, timestampText } from "../values.ts";
import { columns, messageColumns } from "./columns.ts";
import type { ChatOptions } from "./index.ts";
import { messagesOfJson } from "./json.ts";
import type { Message } from "./message.ts";
import { isSlack, readSlack } from "./slack.ts";
import { readWhatsapp } from "./whatsapp.ts";

type Options = AssetConvertOptions & Partial<ChatOptions>;

const maximumEntries = 100_000;
/** One day of a channel is far smaller. */
const maximumPartBytes = 512 * 1024 ** 2;
const maximumRatio = 1000;
const freeBytes = 16 * 1024 ** 2;

function parse(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MillraceError("parse", `\`${name}\` is no JSON (${messageOf(cause)})`, { cause });
  }
}

function fromText(text: string, name: string, options: Options): Iterable<Message> {
  // A stamp of WhatsApp begins with a bracket too.
  if (!/^\s*(\{|\[\s*[[{\]])/.test(text)) {
    const { time_zone = "UTC", date_order = "auto" } = options;
    const conversation = basename(name)
      .replace(/\.txt$/i, "")
      .replace(/^WhatsApp Chat (?:with|mit|-)\s*/i, "");
    return readWhatsapp(text, conversation, { time_zone, date_order });
  }
  const messages = messagesOfJson(parse(text, name), name);
  if (messages === undefined) throw new MillraceError("parse", `\`${name}\` is no export of a chat that is known`);
  return messages;
}

async function* fromArchive(path: string, options: Options): AsyncGenerator<Message> {
  const archive = await openPromise(path, { autoClose: false });
  try {
    const entries = new Map<string, Entry>();
    const guard = createEntryGuard(maximumEntries);
    for await (const entry of archive.eachEntry()) {
      guard(entry);
      if (!entry.fileName.endsWith("/") && !entry.fileName.startsWith("__MACOSX/")) entries.set(entry.fileName, entry);
    }
    const text = async (name: string): Promise<string> => {
      const entry = entries.get(name)!;
      if ((entry.generalPurposeBitFlag & 1) === 1) throw new MillraceError("unsupported", "it is encrypted");
      const allowed = Math.min(maximumPartBytes, Math.max(freeBytes, entry.compressedSize * maximumRatio));
      const chunks: Buffer[] = [];
      let total = 0;
      for await (const chunk of (await archive.openReadStreamPromise(entry)) as AsyncIterable<Buffer>) {
        total += chunk.length;
        if (total > allowed)
          throw new MillraceError(
            "limit",
            `\`${name}\` unpacks to more than ${allowed} bytes, like a decompression bomb`,
          );
        chunks.push(chunk);
      }
      return decodeText(Buffer.concat(chunks));
    };
    const names = [...entries.keys()];
    if (isSlack(names)) {
      const { pseudonyms: secret } = options;
      const rename = secret === undefined ? undefined : (id: string): string => pseudonym(secret, `slack:${id}`);
      yield* readSlack({ names, json: async (name) => parse(await text(name), name) }, rename);
      return;
    }
    // WhatsApp packs `_chat.txt` with its media, Discord a folder for each channel.
    const wanted = names
      .filter((name) => /(^|\/)(_chat\.txt|WhatsApp Chat[^/]*\.txt|messages?(_\d+)?\.json|result\.json)$/i.test(name))
      .sort();
    if (wanted.length === 0)
      throw new MillraceError("parse", "it is an archive, but of no export of a chat that is known");
    for (const name of wanted) {
      const conversation = /_chat\.txt$/i.test(name) ? basename(options.asset.uri).replace(/\.zip$/i, "") : name;
      yield* fromText(await text(name), conversation, options);
    }
  } finally {
    archive.close();
  }
}

/** Somebody under a name that only who knows the secret can make. */
function pseudonym(secret: string, who: string): string {
  return `user-${createHmac("sha256", secret).update(who).digest("hex").slice(0, 12)}`;
}

const time = (value: number | undefined): string | null =>
  value === undefined || Math.abs(value) > 8.64e15 ? null : timestampText(BigInt(Math.trunc(value)) * 1000n, true);

/** The messages of an export, one row each. */
export default async function* convert(file: FileRef, options: Options): AsyncIterable<Converted> {
  yield headerOf([...(options.columns ?? columns)]);
  const { pseudonyms: secret } = options;
  const rows = new AssetRows(file, options, messageColumns);
  const messages =
    options.asset.mediaType === "application/zip"
      ? fromArchive(file.path, options)
      : fromText(decodeText(readFileSync(file.path)), basename(options.asset.uri), options);
  for await (const message of messages) {
    const who = message.authorId ?? message.author;
    const hidden =
      secret === undefined || who === undefined ? undefined : pseudonym(secret, `${message.platform}:${who}`);
    rows.add([
      message.platform,
      message.conversation ?? null,
      message.conversationId ?? null,
      message.id,
      message.threadId ?? null,
      message.replyTo ?? null,
      time(message.sentAt),
      time(message.editedAt),
      hidden ?? message.author ?? null,
      secret === undefined ? (message.authorId ?? null) : null,
      message.kind,
      message.isBot ?? false,
      message.text,
      (message.attachments ?? []).map(
        ({ name, mediaType, size, url }) =>
          new Map<string, unknown>([
            ["name", name ?? null],
            ["media_type", mediaType ?? null],
            ["size", size ?? null],
            ["url", url ?? null],
          ]),
      ),
      (message.reactions ?? []).map(
        ({ name, count }) =>
          new Map<string, unknown>([
            ["name", name],
            ["count", count],
          ]),
      ),
    ]);
    const text = rows.take();
    if (text !== undefined) yield text;
  }
  const rest = rows.take(true);
  if (rest !== undefined) yield rest;
  yield { rows: rows.rows };
}

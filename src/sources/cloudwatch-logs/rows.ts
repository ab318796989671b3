import type { Column } from "../../core/index.ts";
import { Members } from "../messages/members.ts";
import type { MessageBatch } from "../messages/types.ts";
import type { LogEvent } from "./service.ts";

/** Where a message comes from. */
export const metaColumns: readonly Column[] = [
  { name: "_group", type: "string", doc: "Name of the log group." },
  { name: "_stream", type: "string", doc: "Name of the log stream; in exports its `/` are `-`." },
  { name: "_event_id", type: "string", doc: "The id that CloudWatch Logs has given the event; null in exports." },
  { name: "_timestamp", type: "timestamptz", doc: "When it happened, by whoever logged it." },
  { name: "_ingested", type: "timestamptz", doc: "When CloudWatch Logs took it in; null in exports." },
];

/** Where messages are text. */
export const messageColumn: Column = {
  name: "message",
  type: "string",
  doc: "The message, unless it is a JSON object.",
};

/** The JSON object that a message is, or one that holds it as text. */
export function valueOf(message: string, isParsed: boolean, members: Members): Uint8Array {
  if (isParsed && /^\s*\{/.test(message)) {
    const bytes = Buffer.from(message);
    if (members.scan(bytes) === undefined) return bytes;
  }
  return Buffer.from(JSON.stringify({ [messageColumn.name]: message.toWellFormed() }));
}

/** Events as messages. */
export async function* messagesIn(
  group: string,
  pages: AsyncIterable<LogEvent[]>,
  isParsed: boolean,
): AsyncGenerator<MessageBatch> {
  const members = new Members();
  const name = JSON.stringify(group);
  const timeOf = (time: number | null): string => (time === null ? "null" : `"${new Date(time).toISOString()}"`);
  for await (const events of pages) {
    yield {
      meta: events.map(
        ({ stream, id, at, ingested }) =>
          `"_group":${name},"_stream":${JSON.stringify(stream)},"_event_id":${JSON.stringify(id)},"_timestamp":${timeOf(at)},"_ingested":${timeOf(ingested)}`,
      ),
      values: events.map(({ message }) => valueOf(message, isParsed, members)),
      origin: (index) => {
        const { stream, id, at } = events[index]!;
        return `${group}/${stream}/${id ?? new Date(at).toISOString()}`;
      },
    };
  }
}

import { MillraceError } from "../../core/index.ts";
import type { ChatOptions } from "./index.ts";
import type { Message } from "./message.ts";

/** `[31.12.24, 23:59:59] Name: text` of iOS and `12/31/24, 11:59 PM - Name: text` of Android. */
const stamped =
  /^[\u200e\u200f\ufeff]*\[?(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})[.,]?\s+(\d{1,2})[:.](\d\d)(?:[:.](\d\d))?[\s_\u202f\u00a0]*([ap]\.?\s?m\.?)?(?:\]\s*|\s+[-–]\s+)([^]*)$/iu;

interface Stamp {
  parts: [number, number, number];
  separator: string;
  hour: number;
  minute: number;
  second: number;
  rest: string;
}

function stampOf(line: string): Stamp | undefined {
  const match = stamped.exec(line);
  if (match === null) return undefined;
  const [, a, separator, b, c, hour, minute, second, half, rest] = match;
  const twelve = Number(hour) % 12;
  const full = half === undefined ? Number(hour) : /^p/i.test(half) ? twelve + 12 : twelve;
  if (full > 23 || Number(minute) > 59) return undefined;
  return {
    parts: [Number(a), Number(b), Number(c)],
    separator: separator!,
    hour: full,
    minute: Number(minute),
    second: Number(second ?? 0),
    rest: rest!,
  };
}

/** Whether the month comes first in the dates with a separator: one that has no other reading decides, else who writes with it. */
function monthFirst(stamps: readonly Stamp[], separator: string, order: ChatOptions["date_order"]): boolean {
  if (order !== "auto") return order === "month-first";
  const own = stamps.filter((stamp) => stamp.separator === separator && stamp.parts[0] < 1000);
  if (own.some(({ parts }) => parts[1] > 12)) return true;
  if (own.some(({ parts }) => parts[0] > 12)) return false;
  return separator === "/" && !own.some(({ hour }) => hour > 12);
}

/** Milliseconds by which a zone is ahead of UTC at a moment. */
function offsetAt(time: number, zone: Intl.DateTimeFormat): number {
  const parts = Object.fromEntries(zone.formatToParts(time).map(({ type, value }) => [type, Number(value)]));
  const local = Date.UTC(
    parts["year"]!,
    parts["month"]! - 1,
    parts["day"],
    parts["hour"],
    parts["minute"],
    parts["second"],
  );
  return local - Math.floor(time / 1000) * 1000;
}

const media =
  /^[\u200e]*(<Media omitted>|<Medien ausgeschlossen>|.*(?:image|video|audio|sticker|GIF|document) omitted|<attached: (.+)>|(.+) \(file attached\))$/iu;
const removed = /^[\u200e]*(This message was deleted|You deleted this message|Diese Nachricht wurde gelöscht)\.?$/iu;
const edited = /\s*[\u200e]?<This message was edited>$/iu;

/** The messages of `_chat.txt`. A line without a stamp goes on with the message before it. Throws `parse` when there is no stamp at all. */
export function* readWhatsapp(
  text: string,
  conversation: string,
  options: Pick<ChatOptions, "time_zone" | "date_order">,
): Generator<Message> {
  const found: { stamp: Stamp; lines: string[] }[] = [];
  for (const line of text.split(/\r?\n/)) {
    const stamp = stampOf(line);
    if (stamp !== undefined) found.push({ stamp, lines: [stamp.rest] });
    else found.at(-1)?.lines.push(line);
  }
  if (found.length === 0)
    throw new MillraceError("parse", "it is no export of a chat that is known: no line begins with a date and a time");
  const zone = new Intl.DateTimeFormat("en-US-u-ca-gregory-hc-h23", {
    timeZone: options.time_zone,
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
  const stamps = found.map(({ stamp }) => stamp);
  const orders = new Map(
    [".", "/", "-"].map((separator) => [separator, monthFirst(stamps, separator, options.date_order)]),
  );
  for (const [index, { stamp, lines }] of found.entries()) {
    const [a, b, c] = stamp.parts;
    const [year, month, day] = a >= 1000 ? [a, b, c] : orders.get(stamp.separator) ? [c, a, b] : [c, b, a];
    const wall = Date.UTC(year < 100 ? 2000 + year : year, month - 1, day, stamp.hour, stamp.minute, stamp.second);
    const body = lines.join("\n").trimEnd();
    // A name has no colon; what the platform says has none either, or no name before it.
    const match = /^(?:~\s?)?([^:\n]{1,100}): ?([^]*)$/u.exec(body.replace(/^[\u200e\u200f]+/, ""));
    const said = (match?.[2] ?? body).replace(/^[\u200e\u200f]+/, "");
    const file = media.exec(said);
    yield {
      platform: "whatsapp",
      conversation,
      id: String(index + 1),
      sentAt: month > 12 || day > 31 ? undefined : wall - offsetAt(wall - offsetAt(wall, zone), zone),
      author: match?.[1]!.trim(),
      kind: match === null ? "system" : removed.test(said) ? "deleted" : "message",
      text: file === null ? said.replace(edited, "") : "",
      attachments: file === null ? [] : [{ name: file[2] ?? file[3] }],
    };
  }
}

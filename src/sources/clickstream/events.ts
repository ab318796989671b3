import type { Column } from "../../core/index.ts";
import {
  correctedTime,
  membersAt,
  originColumns,
  quoted,
  rawAt,
  textOfMicros,
  truncatedAddress,
  type CollectedRecord,
  type CollectedRow,
  type Span,
} from "../collected/index.ts";
import { isBot } from "./bots.ts";
import type { Options } from "./options.ts";

/** One event, whichever protocol it came by. Members without a value are null; `…Json` are texts of JSON. */
export interface Event {
  protocol: "segment" | "snowplow" | "ga4";
  /** Undefined: the protocol gives none. */
  id: string | undefined;
  type: string;
  name?: string | undefined;
  userId?: string | undefined;
  anonymousId?: string | undefined;
  /** By the clock of the device, microseconds since the epoch. */
  happened?: number | undefined;
  sent?: number | undefined;
  userAgent?: string | undefined;
  contextJson?: string | undefined;
  propertiesJson?: string | undefined;
  /** An object of categories and what was said to each. */
  consentJson?: string | undefined;
  restJson?: string | undefined;
}

export const columns: readonly Column[] = [
  { name: "event_id", type: "string", doc: "Of the sender; `<row>-<index>` where the protocol has none." },
  {
    name: "type",
    type: "string",
    doc: "track, page, screen, identify, group, alias; of Snowplow also page_ping and transaction.",
  },
  { name: "name", type: "string", doc: "Of the event, the page or the screen." },
  { name: "user_id", type: "string" },
  { name: "anonymous_id", type: "string", doc: "Of the device or the browser." },
  {
    name: "time",
    type: "timestamptz",
    doc: "When it happened by our clock: received − (sent − original), and not after it was received.",
  },
  { name: "received_at", type: "timestamptz", doc: "When it was durable here." },
  { name: "sent_at", type: "timestamptz", doc: "By the clock of the device." },
  { name: "original_time", type: "timestamptz", doc: "When it happened by the clock of the device." },
  { name: "context", type: "string", doc: "JSON." },
  { name: "properties", type: "string", doc: "JSON; of identify and group the traits." },
  { name: "consent", type: "string", doc: "JSON: what was agreed to, by category." },
  { name: "gpc", type: "boolean", doc: "The browser sent `Sec-GPC: 1`: do not sell or share." },
  { name: "ip", type: "string", doc: "As the option `ip` keeps it." },
  { name: "user_agent", type: "string" },
  { name: "bot", type: "boolean", doc: "The user agent is that of a program." },
  { name: "protocol", type: "string", doc: "segment, snowplow or ga4." },
  { name: "_rest", type: "string", doc: "JSON of what has no column." },
  ...originColumns,
];

const yes = new Set(["true", '"true"', '"granted"', '"GRANTED"', '"yes"', "1"]);

/** The record of an event. */
export function recordOf(event: Event, row: CollectedRow, index: number, options: Options): CollectedRecord {
  const { meta, received } = row;
  const userAgent = event.userAgent ?? (meta["ua"] as string | undefined);
  const bot = isBot(userAgent);
  const gpc = meta["gpc"] === true;
  const agreed = options.consent === undefined || hasAgreed(event.consentJson, options.consent.category, gpc);
  const isLeftOut = (bot && options.bots === "drop") || (!agreed && options.consent?.without === "drop");
  const sentAt = textOfMicros(event.sent);
  const time = correctedTime(received, event.happened, sentAt === null ? undefined : event.sent);
  const values = [
    quoted(event.id ?? `${row.number}-${index}`),
    quoted(event.type),
    quoted(event.name),
    quoted(agreed ? event.userId : null),
    quoted(agreed ? event.anonymousId : null),
    quoted(textOfMicros(time) ?? textOfMicros(received)),
    quoted(textOfMicros(received)),
    quoted(sentAt),
    quoted(textOfMicros(event.happened)),
    quoted(agreed ? event.contextJson : null),
    quoted(event.propertiesJson),
    quoted(event.consentJson),
    String(gpc),
    quoted(agreed ? (meta["ip"] as string | null | undefined) : null),
    quoted(agreed ? userAgent : null),
    String(bot),
    quoted(event.protocol),
    quoted(agreed ? event.restJson : null),
  ];
  return { values, id: event.id, isLeftOut };
}

function hasAgreed(consentJson: string | undefined, category: string, gpc: boolean): boolean {
  if (gpc || consentJson === undefined) return false;
  const said = rawAt(consentJson, membersAt(consentJson, { start: 0, end: consentJson.length }).get(category));
  return said !== undefined && yes.has(said);
}

/** The object as it came, but an address in its member `ip` only as the option keeps it. */
export function withKeptAddress(text: string, span: Span, keep: Options["ip"]): string {
  const raw = text.slice(span.start, span.end);
  if (keep === "full") return raw;
  const ip = membersAt(raw, { start: 0, end: raw.length }).get("ip");
  if (ip === undefined) return raw;
  const value = raw.slice(ip.start, ip.end);
  const address = keep === "none" || !value.startsWith('"') ? null : truncatedAddress(JSON.parse(value) as string);
  return `${raw.slice(0, ip.start)}${JSON.stringify(address)}${raw.slice(ip.end)}`;
}

import {
  elementsAt,
  isObjectAt,
  membersAt,
  microsOfText,
  objectAt,
  rawAt,
  rejected,
  restOf,
  textAt,
  type CollectedRecord,
  type CollectedRow,
  type Span,
} from "../collected/index.ts";
import { recordOf, withKeptAddress, type Event } from "./events.ts";
import type { Options } from "./options.ts";

/**
 * Segment's HTTP API (https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/, https://segment.com/docs/connections/spec/common/).
 * One event of a batch may have 32 KB.
 */
export const eventBytes = 32 * 1024;
export const batchBytes = 500 * 1024;
export const types = ["track", "identify", "page", "screen", "group", "alias"];
/** What Analytics.js in a browser calls them: `/v1/t`. Its batches go to `/v1/b`. */
export const shortPaths: ReadonlyMap<string, string> = new Map(types.map((type) => [type.charAt(0), type]));

const taken =
  "type event name userId anonymousId messageId timestamp originalTimestamp sentAt context properties traits writeKey".split(
    " ",
  );

/** `path` says the type of a single event. */
export function* segmentRecords(
  text: string,
  root: Span,
  row: CollectedRow,
  options: Options,
): Generator<CollectedRecord> {
  const path = String(row.meta["path"]);
  const name = path.slice(path.lastIndexOf("/") + 1);
  const kind = shortPaths.get(name) ?? name;
  const whole = membersAt(text, root);
  if (types.includes(kind)) {
    yield eventOf(text, root, kind, undefined, row, 0, options);
    return;
  }
  const events = elementsAt(text, whole.get("batch"));
  if (events === undefined) {
    yield rejected("the request has no list `batch`", text);
    return;
  }
  for (const [index, span] of events.entries()) yield eventOf(text, span, undefined, whole, row, index, options);
}

function eventOf(
  text: string,
  span: Span,
  givenType: string | undefined,
  batch: ReadonlyMap<string, Span> | undefined,
  row: CollectedRow,
  index: number,
  options: Options,
): CollectedRecord {
  if (!isObjectAt(text, span)) return rejected("the event is no object", text.slice(span.start, span.end));
  const members = membersAt(text, span);
  const id = textAt(text, members.get("messageId"));
  const refuse = (reason: string): CollectedRecord => rejected(reason, text.slice(span.start, span.end), id);
  // Characters are at most bytes: only a text that comes near is measured.
  if ((span.end - span.start) * 3 > eventBytes && Buffer.byteLength(text.slice(span.start, span.end)) > eventBytes) {
    return refuse(`the event has more than ${eventBytes} bytes`);
  }
  const type = givenType ?? textAt(text, members.get("type"));
  if (type === undefined || !types.includes(type)) return refuse("the event has no known `type`");
  const [userId, anonymousId] = [textAt(text, members.get("userId")), textAt(text, members.get("anonymousId"))];
  if (userId === undefined && anonymousId === undefined)
    return refuse("the event has neither `userId` nor `anonymousId`");
  const name = textAt(text, members.get(type === "track" ? "event" : "name"));
  if (type === "track" && name === undefined) return refuse("the event has no name in `event`");

  const context = objectAt(text, members.get("context")) ?? objectAt(text, batch?.get("context"));
  const inContext = membersAt(text, context);
  const consent = membersAt(text, inContext.get("consent")).get("categoryPreferences");
  const time = textAt(text, members.get("timestamp")) ?? textAt(text, members.get("originalTimestamp"));
  const sent = textAt(text, members.get("sentAt") ?? batch?.get("sentAt"));
  const properties = type === "identify" || type === "group" ? "traits" : "properties";
  const event: Event = {
    protocol: "segment",
    id,
    type,
    name,
    userId,
    anonymousId,
    happened: time === undefined ? undefined : microsOfText(time),
    sent: sent === undefined ? undefined : microsOfText(sent),
    userAgent: textAt(text, inContext.get("userAgent")),
    contextJson: context === undefined ? undefined : withKeptAddress(text, context, options.ip),
    propertiesJson: rawAt(text, members.get(properties)),
    consentJson: rawAt(text, objectAt(text, consent)),
    restJson: restOf(text, members, properties === "traits" ? withoutTraits : withoutProperties),
  };
  return recordOf(event, row, index, options);
}

const withoutTraits = new Set(taken.filter((name) => name !== "properties"));
const withoutProperties = new Set(taken.filter((name) => name !== "traits"));

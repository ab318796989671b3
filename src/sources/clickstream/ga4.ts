import {
  elementsAt,
  isObjectAt,
  membersAt,
  objectAt,
  rawAt,
  rejected,
  restOf,
  textAt,
  type CollectedRecord,
  type CollectedRow,
  type Span,
} from "../collected/index.ts";
import { recordOf, type Event } from "./events.ts";
import type { Options } from "./options.ts";

/** The Measurement Protocol of Google Analytics 4 (https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference). */
export const requestBytes = 130 * 1024;
export const maximumEvents = 25;

const taken = new Set([
  "client_id",
  "app_instance_id",
  "user_id",
  "timestamp_micros",
  "consent",
  "events",
  "ip_override",
  "user_agent",
  "api_secret",
]);
const takenOfEvent = new Set(["name", "params", "timestamp_micros"]);
const typeNames: Record<string, string> = { page_view: "page", screen_view: "screen" };

export function* ga4Records(text: string, root: Span, row: CollectedRow, options: Options): Generator<CollectedRecord> {
  const whole = membersAt(text, root);
  const events = elementsAt(text, whole.get("events"));
  if (events === undefined) {
    yield rejected("the request has no list `events`", text);
    return;
  }
  const clientId = textAt(text, whole.get("client_id")) ?? textAt(text, whole.get("app_instance_id"));
  const context = contextOf(text, whole, row);
  for (const [index, span] of events.entries()) {
    const refuse = (reason: string): CollectedRecord => rejected(reason, text.slice(span.start, span.end));
    const members = membersAt(text, span);
    const name = textAt(text, members.get("name"));
    if (index >= maximumEvents) yield refuse(`a request has at most ${maximumEvents} events`);
    else if (!isObjectAt(text, span) || name === undefined) yield refuse("the event has no `name`");
    else if (clientId === undefined) yield refuse("the request has neither `client_id` nor `app_instance_id`");
    else {
      const event: Event = {
        protocol: "ga4",
        id: undefined,
        type: Object.hasOwn(typeNames, name) ? typeNames[name]! : "track",
        name,
        userId: textAt(text, whole.get("user_id")),
        anonymousId: clientId,
        happened: micros(textAt(text, members.get("timestamp_micros")) ?? textAt(text, whole.get("timestamp_micros"))),
        userAgent: textAt(text, whole.get("user_agent")),
        contextJson: context,
        propertiesJson: rawAt(text, members.get("params")),
        consentJson: rawAt(text, objectAt(text, whole.get("consent"))),
        restJson: restOf(text, members, takenOfEvent),
      };
      yield recordOf(event, row, index, options);
    }
  }
}

/** What is said once for all events, and the stream that they are measured for. The address that a sender claims is not kept. */
function contextOf(text: string, whole: ReadonlyMap<string, Span>, { meta }: CollectedRow): string | undefined {
  const measured = ["measurement_id", "firebase_app_id"].flatMap((name) =>
    typeof meta[name] === "string" ? [`"${name}":${JSON.stringify(meta[name])}`] : [],
  );
  const rest = restOf(text, whole, taken);
  const members = [...measured, ...(rest === undefined ? [] : [rest.slice(1, -1)])];
  return members.length === 0 ? undefined : `{${members.join(",")}}`;
}

function micros(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,17}$/.test(text) ? Number(text) : undefined;
}

export interface ValidationMessage {
  fieldPath: string;
  description: string;
  validationCode: string;
}

const reserved =
  /^(ad_activeview|ad_click|ad_exposure|ad_impression|ad_query|adunit_exposure|app_clear_data|app_install|app_update|app_remove|error|first_open|first_visit|in_app_purchase|notification_dismiss|notification_foreground|notification_open|notification_receive|os_update|screen_view|session_start|user_engagement)$/;
const nameForm = /^[A-Za-z]\w*$/;

/** What is wrong with a request, in the words of the debug endpoint. Nothing of the request itself is in it. */
export function validationMessages(body: Buffer): ValidationMessage[] {
  const messages: ValidationMessage[] = [];
  const say = (fieldPath: string, validationCode: string, description: string): void => {
    if (messages.length < 50) messages.push({ fieldPath, description, validationCode });
  };
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    value = undefined;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    say("", "VALUE_INVALID", "Unable to parse the body as a JSON object.");
    return messages;
  }
  const request = new Map(Object.entries(value));
  const client = request.get("client_id") ?? request.get("app_instance_id");
  if (typeof client !== "string" || client === "")
    say("client_id", "VALUE_REQUIRED", "Measurement requires a client_id.");
  const events: unknown = request.get("events");
  if (!Array.isArray(events)) {
    say("events", "VALUE_REQUIRED", "Measurement requires a list of events.");
    return messages;
  }
  if (events.length > maximumEvents)
    say("events", "EXCEEDED_MAX_ENTITIES", `At most ${maximumEvents} events are allowed.`);
  for (const [index, event] of events.slice(0, maximumEvents).entries()) {
    const path = `events[${index}]`;
    const members = new Map(Object.entries(typeof event === "object" && event !== null ? event : {}));
    const name: unknown = members.get("name");
    if (typeof name !== "string" || name === "") say(`${path}.name`, "VALUE_REQUIRED", "An event requires a name.");
    else if (name.length > 40 || !nameForm.test(name)) {
      say(
        `${path}.name`,
        "NAME_INVALID",
        "A name begins with a letter, has letters, digits and underscores, and at most 40 of them.",
      );
    } else if (reserved.test(name)) say(`${path}.name`, "NAME_RESERVED", "The name of the event is reserved.");
    const params: unknown = members.get("params");
    const entries = Object.entries(typeof params === "object" && params !== null ? params : {});
    if (entries.length > 25) say(`${path}.params`, "EXCEEDED_MAX_ENTITIES", "At most 25 parameters are allowed.");
    if (entries.some(([key]) => key.length > 40 || !nameForm.test(key))) {
      say(
        `${path}.params`,
        "NAME_INVALID",
        "A name of a parameter is too long or has characters that are not allowed.",
      );
    }
    if (entries.some(([, given]) => typeof given === "string" && given.length > 100)) {
      say(`${path}.params`, "VALUE_INVALID", "A value of a parameter has more than 100 characters.");
    }
  }
  return messages;
}

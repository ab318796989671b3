import { isUtf8 } from "node:buffer";
import { isMillraceError, parseDuration, type Column } from "../../core/index.ts";
import {
  checkedJson,
  membersAt,
  microsOfText,
  originColumns,
  quoted,
  rejected,
  textAt,
  textOfMicros,
  type CollectedKind,
  type CollectedRow,
  type Span,
} from "../collected/index.ts";
import type { Options, Sender } from "./options.ts";

const columns: readonly Column[] = [
  { name: "event_id", type: "string", doc: "Of the sender; the number of the request where it has none." },
  { name: "type", type: "string", doc: "Of the event, as the sender calls it." },
  { name: "time", type: "timestamptz", doc: "When it happened, as the sender says; else when it was received." },
  { name: "received_at", type: "timestamptz" },
  { name: "body", type: "string", doc: "As it came." },
  { name: "headers", type: "string", doc: "JSON of those that say what it is." },
  ...originColumns,
];

interface Facts {
  id?: string | undefined;
  type?: string | undefined;
  /** Microseconds since the epoch. */
  time?: number | undefined;
}
type Headers = Readonly<Record<string, string>>;

export function webhookKind(options: Options): CollectedKind {
  return {
    columns,
    senders: Object.keys(options.senders),
    remembersMs: parseDuration(options.remember)! * 1000,
    *records(row) {
      const text = bodyOf(row);
      if (text === undefined) {
        yield rejected("the body is not UTF-8", row.body.toString());
        return;
      }
      const headers = (row.meta["headers"] ?? {}) as Headers;
      const sender = Object.hasOwn(options.senders, row.sender) ? options.senders[row.sender]! : undefined;
      let facts: Facts;
      try {
        facts = factsOf(sender, text, headers);
      } catch (error) {
        if (!isMillraceError(error)) throw error;
        yield rejected(`the body cannot be read: ${error.message}`, text);
        return;
      }
      const values = [
        quoted(facts.id ?? String(row.number)),
        quoted(facts.type),
        quoted(textOfMicros(facts.time) ?? textOfMicros(row.received)),
        quoted(textOfMicros(row.received)),
        quoted(text),
        quoted(JSON.stringify(headers)),
      ];
      yield { values, id: facts.id };
    },
  };
}

/** GitHub may send its JSON as a field of a form. */
function bodyOf({ body, meta }: CollectedRow): string | undefined {
  if (!isUtf8(body)) return undefined;
  const text = body.toString();
  if (meta["type"] !== "application/x-www-form-urlencoded") return text;
  return new URLSearchParams(text).get("payload") ?? text;
}

function factsOf(sender: Sender | undefined, text: string, headers: Headers): Facts {
  switch (sender?.scheme) {
    case "stripe": {
      const members = membersAt(text, checkedJson(text));
      const created = textAt(text, members.get("created"));
      return {
        id: textAt(text, members.get("id")),
        type: textAt(text, members.get("type")),
        time: created !== undefined && /^\d{1,11}$/.test(created) ? Number(created) * 1e6 : undefined,
      };
    }
    case "typeform": {
      const members = membersAt(text, checkedJson(text));
      const answer = membersAt(text, members.get("form_response"));
      return {
        id: textAt(text, members.get("event_id")),
        type: textAt(text, members.get("event_type")),
        time: momentAt(text, answer.get("submitted_at")),
      };
    }
    case "shopify": {
      checkedJson(text);
      const time = headers["x-shopify-triggered-at"];
      return {
        id: headers["x-shopify-event-id"] ?? headers["x-shopify-webhook-id"],
        type: headers["x-shopify-topic"],
        time: time === undefined ? undefined : microsOfText(time),
      };
    }
    case "github": {
      const action = textAt(text, membersAt(text, checkedJson(text)).get("action"));
      const event = headers["x-github-event"];
      return { id: headers["x-github-delivery"], type: action === undefined ? event : `${event}.${action}` };
    }
    case "custom": {
      const named = (name: string | undefined): string | undefined =>
        name === undefined ? undefined : headers[name.toLowerCase()];
      return { id: named(sender.id_header), type: named(sender.type_header) };
    }
    case "none":
    case undefined:
      return {};
  }
}

function momentAt(text: string, span: Span | undefined): number | undefined {
  const value = textAt(text, span);
  return value === undefined ? undefined : microsOfText(value);
}

import {
  checkedJson,
  elementsAt,
  isObjectAt,
  membersAt,
  rawAt,
  rejected,
  textAt,
  type CollectedRecord,
  type CollectedRow,
  type Span,
} from "../collected/index.ts";
import { recordOf, type Event } from "./events.ts";
import type { Options } from "./options.ts";

/**
 * Snowplow's tracker protocol (https://docs.snowplow.io/docs/fundamentals/canonical-event/understanding-the-snowplow-tracker-protocol/):
 * names of two or three letters with texts, self-describing JSON in some of them, as it is or in base64url.
 */
export const requestBytes = 500 * 1024;

type Fields = ReadonlyMap<string, string>;

const typeNames: Record<string, string> = {
  pv: "page",
  pp: "page_ping",
  ue: "track",
  se: "track",
  tr: "transaction",
  ti: "transaction_item",
  ad: "ad_impression",
};
/** What becomes properties, by type: the parameter, and how it is called there. */
const propertyNames: Record<string, Record<string, string>> = {
  pv: { url: "url", page: "title", refr: "referrer" },
  pp: { url: "url", page: "title", pp_mix: "min_x", pp_max: "max_x", pp_miy: "min_y", pp_may: "max_y" },
  se: { se_ca: "category", se_ac: "action", se_la: "label", se_pr: "property", se_va: "value" },
  tr: {
    tr_id: "order_id",
    tr_af: "affiliation",
    tr_tt: "total",
    tr_tx: "tax",
    tr_sh: "shipping",
    tr_ci: "city",
    tr_st: "state",
    tr_co: "country",
    tr_cu: "currency",
  },
  ti: {
    ti_id: "order_id",
    ti_sk: "sku",
    ti_nm: "name",
    ti_ca: "category",
    ti_pr: "price",
    ti_qu: "quantity",
    ti_cu: "currency",
  },
};
const taken = new Set([
  "e",
  "eid",
  "uid",
  "duid",
  "nuid",
  "tnuid",
  "dtm",
  "stm",
  "ttm",
  "ua",
  "ip",
  "ue_pr",
  "ue_px",
  "co",
  "cx",
  "key",
]);

export function* snowplowRecords(text: string, row: CollectedRow, options: Options): Generator<CollectedRecord> {
  if (row.meta["path"] === "/i") {
    yield eventOf(new Map(new URLSearchParams(text)), text, row, 0, options);
    return;
  }
  const data = elementsAt(text, membersAt(text, checkedJson(text)).get("data"));
  if (data === undefined) {
    yield rejected("the request is no `payload_data` with a list `data`", text);
    return;
  }
  for (const [index, span] of data.entries()) {
    const raw = text.slice(span.start, span.end);
    if (!isObjectAt(text, span)) yield rejected("the event is no object", raw);
    else yield eventOf(fieldsOf(text, span), raw, row, index, options);
  }
}

function fieldsOf(text: string, span: Span): Fields {
  const fields = new Map<string, string>();
  for (const [name, value] of membersAt(text, span)) {
    const given = textAt(text, value);
    if (given !== undefined) fields.set(name, given);
  }
  return fields;
}

function eventOf(fields: Fields, raw: string, row: CollectedRow, index: number, options: Options): CollectedRecord {
  const kind = fields.get("e");
  const type = kind !== undefined && Object.hasOwn(typeNames, kind) ? typeNames[kind] : undefined;
  if (type === undefined) return rejected("the event has no known type `e`", raw, fields.get("eid"));
  let described: { name: string | undefined; json: string } | undefined;
  let contexts: string | undefined;
  try {
    if (kind === "ue") described = selfDescribing(jsonOf(fields, "ue_pr", "ue_px"));
    const given = jsonOf(fields, "co", "cx");
    if (given !== undefined) contexts = rawAt(given, membersAt(given, checkedJson(given)).get("data"));
  } catch {
    return rejected("self-describing JSON of the event cannot be read", raw, fields.get("eid"));
  }
  if (kind === "ue" && described === undefined)
    return rejected("the event has neither `ue_pr` nor `ue_px`", raw, fields.get("eid"));
  const names = propertyNames[kind!] ?? {};
  const anonymous = row.meta["anonymous"] === true;
  const event: Event = {
    protocol: "snowplow",
    id: fields.get("eid"),
    type,
    name:
      described?.name ??
      (kind === "se" ? fields.get("se_ac") : kind === "pv" || kind === "pp" ? fields.get("page") : undefined),
    userId: fields.get("uid"),
    anonymousId:
      fields.get("duid") ?? fields.get("nuid") ?? (anonymous ? undefined : (row.meta["nuid"] as string | undefined)),
    happened: micros(fields.get("ttm") ?? fields.get("dtm")),
    // The true time is the time, whatever the clock of the device says.
    sent: fields.has("ttm") ? undefined : micros(fields.get("stm")),
    userAgent: fields.get("ua"),
    contextJson: contextOf(fields, names, contexts),
    propertiesJson: described?.json ?? propertiesOf(fields, names),
  };
  return recordOf(event, row, index, options);
}

/** Milliseconds since the epoch, as text. */
function micros(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) * 1000 : undefined;
}

/** The JSON of a parameter, of which there is a plain form and one in base64url. */
function jsonOf(fields: Fields, plain: string, encoded: string): string | undefined {
  const given = fields.get(plain);
  if (given !== undefined) return given;
  const packed = fields.get(encoded);
  if (packed === undefined) return undefined;
  return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(packed, "base64url"));
}

/** `{schema: …/unstruct_event/…, data: {schema: iglu:vendor/name/jsonschema/1-0-0, data: {…}}}` */
function selfDescribing(json: string | undefined): { name: string | undefined; json: string } | undefined {
  if (json === undefined) return undefined;
  const inner = membersAt(json, membersAt(json, checkedJson(json)).get("data"));
  const schema = textAt(json, inner.get("schema")) ?? "";
  const data = rawAt(json, inner.get("data"));
  return data === undefined ? undefined : { name: /^iglu:[^/]+\/([^/]+)\//.exec(schema)?.[1] ?? schema, json: data };
}

function propertiesOf(fields: Fields, names: Record<string, string>): string | undefined {
  const members = Object.entries(names).flatMap(([from, to]) => {
    const value = fields.get(from);
    return value === undefined ? [] : [`${JSON.stringify(to)}:${JSON.stringify(value)}`];
  });
  return members.length === 0 ? undefined : `{${members.join(",")}}`;
}

/** Everything that is neither a column nor a property, by the names of the protocol; and the contexts. */
function contextOf(fields: Fields, names: Record<string, string>, contexts: string | undefined): string | undefined {
  const members = contexts === undefined ? [] : [`"contexts":${contexts}`];
  for (const [name, value] of fields) {
    if (!taken.has(name) && !Object.hasOwn(names, name))
      members.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`);
  }
  return members.length === 0 ? undefined : `{${members.join(",")}}`;
}

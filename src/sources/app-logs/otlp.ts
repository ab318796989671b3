import {
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
import { microsOf, recordOf } from "./log.ts";
import type { Options } from "./options.ts";

type Members = ReadonlyMap<string, Span>;

/**
 * `ExportLogsServiceRequest` as JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding,
 * https://github.com/open-telemetry/opentelemetry-proto/blob/v1.3.2/opentelemetry/proto/logs/v1/logs.proto). Ids are hexadecimal there.
 */
export function* otlpRecords(
  text: string,
  root: Span,
  row: CollectedRow,
  options: Options,
): Generator<CollectedRecord> {
  const groups = elementsAt(text, membersAt(text, root).get("resourceLogs"));
  if (groups === undefined) {
    yield rejected("the request has no list `resourceLogs`", text);
    return;
  }
  for (const group of groups) {
    const inGroup = membersAt(text, group);
    const resource = attributesOf(text, membersAt(text, inGroup.get("resource")));
    for (const scope of elementsAt(text, inGroup.get("scopeLogs") ?? inGroup.get("instrumentationLibraryLogs")) ?? []) {
      const inScope = membersAt(text, scope);
      const scopeName = textAt(text, membersAt(text, inScope.get("scope")).get("name"));
      for (const span of elementsAt(text, inScope.get("logRecords")) ?? []) {
        if (isObjectAt(text, span)) yield recordAt(text, membersAt(text, span), resource, scopeName, row, options);
        else yield rejected("the record is no object", text.slice(span.start, span.end));
      }
    }
  }
}

function recordAt(
  text: string,
  members: Members,
  resource: ReadonlyMap<string, string>,
  scopeName: string | undefined,
  row: CollectedRow,
  options: Options,
): CollectedRecord {
  const attributes = attributesOf(text, members);
  const eventName = textAt(text, members.get("eventName"));
  if (eventName !== undefined) attributes.set("event.name", JSON.stringify(eventName));
  if (scopeName !== undefined) attributes.set("scope.name", JSON.stringify(scopeName));
  const plain = (from: ReadonlyMap<string, string>, name: string): string | undefined => {
    const json = from.get(name);
    return json === undefined ? undefined : textAt(json, { start: 0, end: json.length });
  };
  const either = (...names: string[]): string | undefined => {
    for (const name of names) {
      const found = plain(attributes, name) ?? plain(resource, name);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  const severityNumber = Number(textAt(text, members.get("severityNumber")) ?? 0);
  const body = valueJson(text, members.get("body"));
  return recordOf(
    {
      happened:
        microsOfNanos(textAt(text, members.get("timeUnixNano"))) ??
        microsOfNanos(textAt(text, members.get("observedTimeUnixNano"))),
      sent: microsOf(row.meta["sent"] as string | undefined),
      severity: textAt(text, members.get("severityText")),
      severityNumber:
        Number.isInteger(severityNumber) && severityNumber >= 1 && severityNumber <= 24 ? severityNumber : undefined,
      message: body?.startsWith('"') === true ? (JSON.parse(body) as string) : body,
      device: either(options.device, "device_id", "device.id", "service.instance.id"),
      sequence: either(options.sequence) ?? either("log.record.uid"),
      service: plain(resource, "service.name"),
      traceId: textAt(text, members.get("traceId"))?.toLowerCase(),
      spanId: textAt(text, members.get("spanId"))?.toLowerCase(),
      attributesJson: objectOf(attributes),
      resourceJson: objectOf(resource),
    },
    row,
  );
}

function microsOfNanos(nanos: string | undefined): number | undefined {
  return nanos === undefined || nanos === "0" || !/^\d{1,19}$/.test(nanos) ? undefined : Number(BigInt(nanos) / 1000n);
}

/** `attributes: [{key, value: {stringValue: …}}]`: the JSON of the values, by name. */
function attributesOf(text: string, members: Members): Map<string, string> {
  return pairsOf(text, members.get("attributes"));
}

function pairsOf(text: string, list: Span | undefined): Map<string, string> {
  const values = new Map<string, string>();
  for (const span of elementsAt(text, list) ?? []) {
    const pair = membersAt(text, span);
    const name = textAt(text, pair.get("key"));
    const value = valueJson(text, pair.get("value"));
    if (name !== undefined && value !== undefined) values.set(name, value);
  }
  return values;
}

/** The JSON of an `AnyValue`; undefined for an empty one. How deep it can be is bounded before. */
function valueJson(text: string, span: Span | undefined): string | undefined {
  const [first] = membersAt(text, span);
  if (first === undefined) return undefined;
  const [kind, value] = first;
  switch (kind) {
    case "intValue": {
      // A text, because JSON has no 64-bit integers of its own.
      const number = textAt(text, value);
      return number !== undefined && /^-?\d+$/.test(number) ? number : JSON.stringify(number ?? null);
    }
    case "arrayValue": {
      const elements = elementsAt(text, membersAt(text, value).get("values")) ?? [];
      return `[${elements.map((each) => valueJson(text, each) ?? "null").join(",")}]`;
    }
    case "kvlistValue":
      return objectOf(pairsOf(text, membersAt(text, value).get("values"))) ?? "{}";
    default:
      return rawAt(text, value);
  }
}

function objectOf(values: ReadonlyMap<string, string>): string | undefined {
  if (values.size === 0) return undefined;
  return `{${[...values].map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
}

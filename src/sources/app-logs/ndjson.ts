import { isMillraceError } from "../../core/index.ts";
import {
  checkedJson,
  elementsAt,
  isObjectAt,
  membersAt,
  rawAt,
  rejected,
  restOf,
  textAt,
  type CollectedRecord,
  type CollectedRow,
  type Span,
} from "../collected/index.ts";
import { microsOf, recordOf } from "./log.ts";
import type { Options } from "./options.ts";

/** Names that loggers give the same thing, the first that is there counts. */
const names = {
  happened: ["timestamp", "time", "ts", "@timestamp"],
  sent: ["sent_at", "sentAt"],
  severity: ["severity", "level", "severity_text", "severityText"],
  message: ["message", "msg", "body"],
  device: ["device_id", "deviceId", "device.id"],
  sequence: ["seq", "sequence"],
  service: ["service", "service.name", "app"],
  traceId: ["trace_id", "traceId"],
  spanId: ["span_id", "spanId"],
};
/** Levels of pino and bunyan are numbers. */
const levels: Record<string, string> = { 10: "trace", 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal" };

/** A line a record; or a JSON array of records, or one record. */
export function* ndjsonRecords(text: string, row: CollectedRow, options: Options): Generator<CollectedRecord> {
  if (/^\s*\[/.test(text)) {
    for (const span of elementsAt(text, checkedJson(text)) ?? []) yield recordAt(text, span, row, options);
    return;
  }
  const whole = row.meta["type"] === "application/json" ? wholeOf(text) : undefined;
  if (whole !== undefined) {
    yield recordAt(text, whole, row, options);
    return;
  }
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    try {
      yield recordAt(line, checkedJson(line), row, options);
    } catch (error) {
      if (!isMillraceError(error)) throw error;
      yield rejected(`the line cannot be read: ${error.message}`, line);
    }
  }
}

/** One record may be written over several lines. */
function wholeOf(text: string): Span | undefined {
  try {
    return checkedJson(text);
  } catch (error) {
    if (!isMillraceError(error)) throw error;
    return undefined;
  }
}

function recordAt(text: string, span: Span, row: CollectedRow, options: Options): CollectedRecord {
  if (!isObjectAt(text, span)) return rejected("the record is no object", text.slice(span.start, span.end));
  const members = membersAt(text, span);
  const taken = new Set<string>();
  const find = (list: readonly string[]): string | undefined => {
    for (const name of list) {
      const value = textAt(text, members.get(name));
      if (value === undefined) continue;
      taken.add(name);
      return value;
    }
    return undefined;
  };
  const happened = find(names.happened);
  const sent = find(names.sent) ?? (row.meta["sent"] as string | undefined);
  const level = find(names.severity);
  let message = find(names.message);
  if (message === undefined) {
    // A message may be a structure.
    const name = names.message.find((each) => rawAt(text, members.get(each)) !== undefined);
    if (name !== undefined) {
      message = rawAt(text, members.get(name));
      taken.add(name);
    }
  }
  const log = {
    happened: microsOf(happened),
    sent: microsOf(sent),
    severity: level !== undefined && Object.hasOwn(levels, level) ? levels[level] : level,
    message,
    device: find([options.device, ...names.device]) ?? (row.meta["device"] as string | undefined),
    sequence: find([options.sequence, ...names.sequence]),
    service: find(names.service),
    traceId: find(names.traceId),
    spanId: find(names.spanId),
  };
  return recordOf({ ...log, attributesJson: restOf(text, members, taken) }, row);
}

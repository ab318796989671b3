import type { Column } from "../../core/index.ts";
import {
  correctedTime,
  microsOfText,
  originColumns,
  quoted,
  textOfMicros,
  type CollectedRecord,
  type CollectedRow,
} from "../collected/index.ts";

/** One log record, whichever way it came. `…Json` are texts of JSON, times microseconds since the epoch by the clock of the device. */
export interface Log {
  happened?: number | undefined;
  sent?: number | undefined;
  severity?: string | undefined;
  severityNumber?: number | undefined;
  message?: string | undefined;
  device?: string | undefined;
  sequence?: string | undefined;
  service?: string | undefined;
  traceId?: string | undefined;
  spanId?: string | undefined;
  attributesJson?: string | undefined;
  resourceJson?: string | undefined;
}

export const columns: readonly Column[] = [
  {
    name: "time",
    type: "timestamptz",
    doc: "When it happened by our clock: received − (sent − original), and not after it was received.",
  },
  { name: "received_at", type: "timestamptz" },
  { name: "sent_at", type: "timestamptz", doc: "By the clock of the device." },
  { name: "original_time", type: "timestamptz", doc: "When it happened by the clock of the device." },
  { name: "severity", type: "string", doc: "As the sender calls it." },
  {
    name: "severity_number",
    type: "int",
    doc: "OpenTelemetry's: trace 1–4, debug 5–8, info 9–12, warn 13–16, error 17–20, fatal 21–24.",
  },
  { name: "message", type: "string", doc: "With its line breaks." },
  { name: "device_id", type: "string" },
  { name: "sequence", type: "string", doc: "Number of the record on its device." },
  { name: "service", type: "string" },
  { name: "trace_id", type: "string", doc: "Hexadecimal." },
  { name: "span_id", type: "string", doc: "Hexadecimal." },
  { name: "attributes", type: "string", doc: "JSON of what has no column." },
  { name: "resource", type: "string", doc: "JSON of what it is said for all records of an app." },
  { name: "ip", type: "string", doc: "As the option `ip` keeps it." },
  ...originColumns,
];

/** https://opentelemetry.io/docs/specs/otel/logs/data-model/#severity-fields, and what other loggers say. */
const severities: readonly [RegExp, number][] = [
  [/^(trace|verbose|finest)/i, 1],
  [/^(debug|fine)/i, 5],
  [/^(info|notice|log)/i, 9],
  [/^warn/i, 13],
  [/^(err|severe)/i, 17],
  [/^(fatal|crit|emerg|alert|panic)/i, 21],
];

export function recordOf(log: Log, row: CollectedRow): CollectedRecord {
  const { received, meta } = row;
  const sentAt = textOfMicros(log.sent);
  const time = correctedTime(received, log.happened, sentAt === null ? undefined : log.sent);
  const { severity } = log;
  const known = severity === undefined ? undefined : severities.find(([pattern]) => pattern.test(severity))?.[1];
  const number = log.severityNumber ?? known;
  const values = [
    quoted(textOfMicros(time) ?? textOfMicros(received)),
    quoted(textOfMicros(received)),
    quoted(sentAt),
    quoted(textOfMicros(log.happened)),
    quoted(severity),
    number === undefined ? "null" : String(number),
    quoted(log.message),
    quoted(log.device),
    quoted(log.sequence),
    quoted(log.service),
    quoted(log.traceId),
    quoted(log.spanId),
    quoted(log.attributesJson),
    quoted(log.resourceJson),
    quoted(meta["ip"] as string | null | undefined),
  ];
  const id = log.device === undefined || log.sequence === undefined ? undefined : `${log.device}\0${log.sequence}`;
  return { values, id };
}

/**
 * A moment as loggers write it: ISO 8601, or seconds, milliseconds, microseconds or nanoseconds since the epoch, told apart by their size. In
 * microseconds; undefined for what is none of these.
 */
export function microsOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,19}(\.\d+)?$/.test(text)) return microsOfText(text);
  const [whole = ""] = text.split(".");
  if (whole.length <= 11) return Math.round(Number(text) * 1e6);
  if (whole.length <= 14) return Math.round(Number(text) * 1e3);
  return whole.length <= 17 ? Number(whole) : Number(BigInt(whole) / 1000n);
}

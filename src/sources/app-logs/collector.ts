import type { Collected, CollectedRequest, Collector, CollectorContext } from "../../core/index.ts";
import { header, inboxFolder, keptAddress, keysOf, looksLikeJson, notJson, reply } from "../collected/index.ts";
import type { Options } from "./options.ts";

const taken = reply(200, "application/json", '{"success":true}');
/** `ExportLogsServiceResponse` without a partial success, as JSON and as Protocol Buffers: of those the empty one has no byte. */
const otlpTaken = { json: reply(200, "application/json", "{}"), protobuf: reply(200, "application/x-protobuf", "") };

/** Takes batches of NDJSON at `POST /logs`, and of OTLP/HTTP at `POST /v1/logs`. */
export function collector(options: Options, context: CollectorContext): Collector {
  const metaOf = ({ headers, address }: CollectedRequest, type: string, more: Record<string, unknown>): string => {
    const [sent, device] = [header(headers["x-sent-at"], 50), header(headers["x-device-id"], 200)];
    return JSON.stringify({
      type,
      ip: keptAddress(address, options.ip),
      ...(sent === null ? {} : { sent }),
      ...(device === null ? {} : { device }),
      ...more,
    });
  };
  const typeOf = ({ headers }: CollectedRequest): string =>
    (header(headers["content-type"]) ?? "").split(";")[0]!.trim().toLowerCase();
  const limits = { methods: ["POST"] as const, access: "key" as const, maxBytes: options.max_bytes };
  return {
    keys: keysOf(options.keys),
    inbox: { folder: inboxFolder(options, context), maxBytes: options.inbox_max_bytes },
    openRequestsPerSecond: 0,
    routes: [
      {
        ...limits,
        path: "/logs",
        types: ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/json", "text/plain"],
        receive(request): Collected {
          const isJson = looksLikeJson(request.body) || looksLikeJson(request.body, 0x5b, 0x5d);
          return isJson
            ? { reply: taken, keep: { meta: metaOf(request, typeOf(request), {}), body: request.body } }
            : { reply: notJson };
        },
      },
      {
        ...limits,
        path: "/v1/logs",
        types: ["application/json", "application/x-protobuf"],
        receive(request): Collected {
          const type = typeOf(request);
          const isJson = type === "application/json";
          if (isJson && !looksLikeJson(request.body)) return { reply: notJson };
          return {
            reply: isJson ? otlpTaken.json : otlpTaken.protobuf,
            keep: { meta: metaOf(request, type, { otlp: true }), body: request.body },
          };
        },
      },
    ],
    snippet: (url, key = "KEY") =>
      [
        `NDJSON:         curl -H "X-Millrace-Key: ${key}" -H "content-type: application/x-ndjson" --data-binary @app.log ${url}/logs`,
        `OpenTelemetry:  OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=${url}/v1/logs OTEL_EXPORTER_OTLP_HEADERS="x-millrace-key=${key}"`,
      ].join("\n"),
  };
}

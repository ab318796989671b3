import protobuf from "protobufjs/light.js";

/**
 * `ExportLogsServiceRequest` of OTLP, as far as logs need it
 * (https://github.com/open-telemetry/opentelemetry-proto/blob/v1.3.2/opentelemetry/proto/logs/v1/logs.proto and common/v1/common.proto).
 * Unknown fields are passed over, as Protocol Buffers have it.
 */
const repeated = "repeated" as const;
const schema = {
  nested: {
    Request: { fields: { resourceLogs: { rule: repeated, type: "ResourceLogs", id: 1 } } },
    ResourceLogs: {
      fields: { resource: { type: "Resource", id: 1 }, scopeLogs: { rule: repeated, type: "ScopeLogs", id: 2 } },
    },
    Resource: { fields: { attributes: { rule: repeated, type: "KeyValue", id: 1 } } },
    ScopeLogs: {
      fields: { scope: { type: "Scope", id: 1 }, logRecords: { rule: repeated, type: "LogRecord", id: 2 } },
    },
    Scope: { fields: { name: { type: "string", id: 1 }, version: { type: "string", id: 2 } } },
    LogRecord: {
      fields: {
        timeUnixNano: { type: "fixed64", id: 1 },
        severityNumber: { type: "int32", id: 2 },
        severityText: { type: "string", id: 3 },
        body: { type: "AnyValue", id: 5 },
        attributes: { rule: repeated, type: "KeyValue", id: 6 },
        traceId: { type: "bytes", id: 9 },
        spanId: { type: "bytes", id: 10 },
        observedTimeUnixNano: { type: "fixed64", id: 11 },
        eventName: { type: "string", id: 12 },
      },
    },
    KeyValue: { fields: { key: { type: "string", id: 1 }, value: { type: "AnyValue", id: 2 } } },
    AnyValue: {
      oneofs: {
        value: {
          oneof: ["stringValue", "boolValue", "intValue", "doubleValue", "arrayValue", "kvlistValue", "bytesValue"],
        },
      },
      fields: {
        stringValue: { type: "string", id: 1 },
        boolValue: { type: "bool", id: 2 },
        intValue: { type: "int64", id: 3 },
        doubleValue: { type: "double", id: 4 },
        arrayValue: { type: "ArrayValue", id: 5 },
        kvlistValue: { type: "KeyValueList", id: 6 },
        bytesValue: { type: "bytes", id: 7 },
      },
    },
    ArrayValue: { fields: { values: { rule: repeated, type: "AnyValue", id: 1 } } },
    KeyValueList: { fields: { values: { rule: repeated, type: "KeyValue", id: 1 } } },
  },
};

const request = protobuf.Root.fromJSON(schema).lookupType("Request");

/**
 * The request as the JSON that OTLP has for it, with ids in hexadecimal. Throws whatever the decoder throws for bytes that are none, and
 * `RangeError` for what is nested too deep.
 */
export function otlpJson(body: Uint8Array): string {
  const decoded = request.toObject(request.decode(body), { longs: String, bytes: Array, json: false });
  return JSON.stringify(decoded, (name, value: unknown) => {
    if (name !== "traceId" && name !== "spanId" && name !== "bytesValue") return value;
    const bytes = Buffer.from(value as number[]);
    return bytes.toString(name === "bytesValue" ? "base64" : "hex");
  });
}

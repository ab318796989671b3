import protobuf from "protobufjs/light.js";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import definition from "../../src/sources/app-logs/index.ts";
import { collecting, type Collecting } from "../support/collecting.ts";

type Row = Record<string, unknown>;
const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());
const logs = async (options: Row = {}): Promise<Collecting> =>
  stack.use(await collecting(definition as never, options));
const json = (text: unknown): unknown => JSON.parse(String(text));
const moment = (text: unknown): number => Date.parse(String(text).replace(" ", "T").replace(/\+00$/, "Z"));
const ndjson = (server: Collecting, lines: string[], headers: Record<string, string> = {}): Promise<Response> =>
  server.post("/logs", lines.join("\n"), { headers: { "content-type": "application/x-ndjson", ...headers } });

describe("NDJSON", () => {
  test("records of many loggers, with bad lines set aside", async () => {
    const server = await logs();
    const trace = "Error: no\n    at f (a.js:1:2)\n    at g (b.js:3:4)";
    await ndjson(server, [
      JSON.stringify({
        timestamp: "2026-11-24T01:02:03.123456Z",
        level: "ERROR",
        message: trace,
        device_id: "d1",
        seq: 1,
        user: { id: 7 },
        big: 0,
      }).replace('"big":0', '"big":12345678901234567890'),
      "",
      JSON.stringify({
        time: 1_763_942_400_123,
        level: 30,
        msg: "pino \u001b[31mred\u001b[0m",
        service: "api",
        trace_id: "ab",
      }),
      "{broken",
      JSON.stringify({ ts: 1_763_942_400.5, message: { structured: true } }),
      "[1]",
      '{"__proto__":{"x":1},"message":"m"}',
    ]);
    await server.post("/logs", [{ message: "in an array" }, 7]);
    await server.post("/logs", '{\n  "message": "pretty"\n}');
    const rows = await server.rows();
    expect(rows.map(({ message }) => message)).toEqual([
      trace,
      "pino \u001b[31mred\u001b[0m",
      '{"structured":true}',
      "m",
      "in an array",
      "pretty",
    ]);
    expect(rows[0]).toMatchObject({
      severity: "ERROR",
      severity_number: 17,
      device_id: "d1",
      sequence: "1",
      original_time: "2026-11-24 01:02:03.123456+00",
    });
    expect(rows[0]!["attributes"]).toBe('{"user":{"id":7},"big":12345678901234567890}');
    expect(rows[1]).toMatchObject({
      severity: "info",
      severity_number: 9,
      service: "api",
      trace_id: "ab",
      original_time: "2025-11-24 00:00:00.123+00",
    });
    expect(rows[2]).toMatchObject({ original_time: "2025-11-24 00:00:00.5+00" });
    expect(rows[3]!["attributes"]).toBe('{"__proto__":{"x":1}}');
    expect((await server.rejected()).map(({ origin, reason }) => `${origin}: ${reason}`)).toEqual([
      "in request 1, record 2: the line cannot be read: it is not JSON",
      "in request 1, record 4: the record is no object",
      "in request 2, record 1: the record is no object",
    ]);
  });

  test("a backlog of days, sent twice by a clock that is years behind, is there once and in its time", async () => {
    const server = await logs();
    const day = 86_400_000;
    const clock = Date.UTC(2001, 0, 10);
    const batch = (from: number, to: number): string[] =>
      Array.from({ length: to - from }, (_, index) =>
        JSON.stringify({ device_id: "meter", seq: from + index, time: clock - (9 - from - index) * day, message: "x" }),
      );
    const headers = { "x-sent-at": String(clock) };
    await ndjson(server, batch(0, 6), headers);
    await ndjson(server, batch(0, 6), headers);
    await ndjson(server, batch(4, 10), headers);
    await ndjson(
      server,
      batch(4, 10).map((line) => line.replace("meter", "other")),
      { ...headers, "x-device-id": "ignored" },
    );
    const rows = await server.rows("select * from \"all\" where device_id = 'meter' order by sequence::int");
    expect(rows.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 10 }, (_, index) => String(index)));
    for (const [index, row] of rows.entries())
      expect(Math.abs(moment(row["received_at"]) - (9 - index) * day - moment(row["time"]))).toBeLessThan(2);
    expect(await server.rows()).toHaveLength(16);
  });
});

describe("OTLP/HTTP", () => {
  const attribute = (key: string, value: Row): Row => ({ key, value });
  const request = {
    resourceLogs: [
      {
        resource: {
          attributes: [
            attribute("service.name", { stringValue: "shop" }),
            attribute("device.id", { stringValue: "d1" }),
          ],
        },
        scopeLogs: [
          {
            scope: { name: "app.cart" },
            logRecords: [
              {
                timeUnixNano: "1763942400123456789",
                severityNumber: 17,
                severityText: "Error",
                body: { stringValue: "no \u{1f600}" },
                attributes: [
                  attribute("seq", { intValue: "9007199254740993" }),
                  attribute("ratio", { doubleValue: 0.5 }),
                  attribute("ok", { boolValue: true }),
                  attribute("list", { arrayValue: { values: [{ stringValue: "a" }, { intValue: "-2" }] } }),
                  attribute("map", { kvlistValue: { values: [attribute("x", { stringValue: "y" })] } }),
                ],
                traceId: "5b8efff798038103d269b633813fc60c",
                spanId: "eee19b7ec3c1b174",
                eventName: "cart.failed",
              },
              {
                body: { kvlistValue: { values: [attribute("k", { intValue: "1" })] } },
                observedTimeUnixNano: "1763942401000000000",
              },
            ],
          },
        ],
      },
    ],
  };

  const expectRows = (rows: Row[]): void => {
    expect(rows).toHaveLength(2);
    expect(rows[0]).toMatchObject({
      message: "no \u{1f600}",
      severity: "Error",
      severity_number: 17,
      device_id: "d1",
      sequence: "9007199254740993",
      service: "shop",
      trace_id: "5b8efff798038103d269b633813fc60c",
      span_id: "eee19b7ec3c1b174",
      original_time: "2025-11-24 00:00:00.123456+00",
    });
    expect(rows[0]!["attributes"]).toBe(
      '{"seq":9007199254740993,"ratio":0.5,"ok":true,"list":["a",-2],"map":{"x":"y"},"event.name":"cart.failed","scope.name":"app.cart"}',
    );
    expect(json(rows[1]!["message"])).toEqual({ k: 1 });
    expect(rows[1]).toMatchObject({ original_time: "2025-11-24 00:00:01+00", severity_number: null });
  };

  test("as JSON", async () => {
    const server = await logs();
    const answer = await server.post("/v1/logs", gzipSync(JSON.stringify(request)), {
      headers: { "content-encoding": "gzip" },
    });
    expect([answer.status, await answer.json()]).toEqual([200, {}]);
    expectRows(await server.rows());
  });

  test("as Protocol Buffers, with fields that are not known; hostile ones are set aside", async () => {
    const server = await logs();
    const bytes = encoded(request);
    const send = (body: Uint8Array): Promise<Response> =>
      server.post("/v1/logs", body, { headers: { "content-type": "application/x-protobuf" } });
    const answer = await send(bytes);
    expect([answer.status, answer.headers.get("content-type"), (await answer.arrayBuffer()).byteLength]).toEqual([
      200,
      "application/x-protobuf",
      0,
    ]);
    expectRows(await server.rows());
    const hostile = [
      Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
      bytes.subarray(0, bytes.length - 3),
      deep(5_000),
      Buffer.from("{}"),
    ];
    for (const body of hostile) expect((await send(body)).status).toBe(200);
    expect(await server.rows()).toHaveLength(2);
    const reasons = (await server.rejected()).map(({ reason }) => reason);
    expect(reasons).toHaveLength(4);
    for (const reason of reasons)
      expect(reason).toMatch(/^the batch (is no `ExportLogsServiceRequest`|cannot be read: the JSON is nested)/);
  });
});

/** As another program writes them: the fields by their numbers, with some that this schema does not have. */
function encoded(request: Row): Uint8Array {
  const text = JSON.stringify(request);
  const root = protobuf.Root.fromJSON(otlpSchema);
  const type = root.lookupType("Request");
  return type
    .encode(
      type.fromObject(
        JSON.parse(text, (name, value: unknown) =>
          name === "traceId" || name === "spanId" ? Buffer.from(String(value), "hex") : value,
        ) as Row,
      ),
    )
    .finish();
}

/** A list in a list in a list. */
function deep(levels: number): Uint8Array {
  let value: Buffer = Buffer.from([0x0a, 0x01, 0x61]);
  const wrap = (field: number, inner: Buffer): Buffer =>
    Buffer.concat([Buffer.from([(field << 3) | 2]), varint(inner.length), inner]);
  for (let level = 0; level < levels; level++) value = wrap(5, wrap(1, value));
  return wrap(1, wrap(2, wrap(2, wrap(5, value))));
}
function varint(value: number): Buffer {
  const bytes = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return Buffer.from([...bytes, value]);
}

const repeated = "repeated" as const;
const otlpSchema = {
  nested: {
    Request: { fields: { resourceLogs: { rule: repeated, type: "ResourceLogs", id: 1 } } },
    ResourceLogs: {
      fields: {
        resource: { type: "Resource", id: 1 },
        scopeLogs: { rule: repeated, type: "ScopeLogs", id: 2 },
        schemaUrl: { type: "string", id: 3 },
      },
    },
    Resource: {
      fields: {
        attributes: { rule: repeated, type: "KeyValue", id: 1 },
        droppedAttributesCount: { type: "uint32", id: 2 },
      },
    },
    ScopeLogs: {
      fields: { scope: { type: "Scope", id: 1 }, logRecords: { rule: repeated, type: "LogRecord", id: 2 } },
    },
    Scope: { fields: { name: { type: "string", id: 1 } } },
    LogRecord: {
      fields: {
        timeUnixNano: { type: "fixed64", id: 1 },
        severityNumber: { type: "int32", id: 2 },
        severityText: { type: "string", id: 3 },
        body: { type: "AnyValue", id: 5 },
        attributes: { rule: repeated, type: "KeyValue", id: 6 },
        droppedAttributesCount: { type: "uint32", id: 7 },
        flags: { type: "fixed32", id: 8 },
        traceId: { type: "bytes", id: 9 },
        spanId: { type: "bytes", id: 10 },
        observedTimeUnixNano: { type: "fixed64", id: 11 },
        eventName: { type: "string", id: 12 },
      },
    },
    KeyValue: { fields: { key: { type: "string", id: 1 }, value: { type: "AnyValue", id: 2 } } },
    AnyValue: {
      oneofs: {
        value: { oneof: ["stringValue", "boolValue", "intValue", "doubleValue", "arrayValue", "kvlistValue"] },
      },
      fields: {
        stringValue: { type: "string", id: 1 },
        boolValue: { type: "bool", id: 2 },
        intValue: { type: "int64", id: 3 },
        doubleValue: { type: "double", id: 4 },
        arrayValue: { type: "ArrayValue", id: 5 },
        kvlistValue: { type: "KeyValueList", id: 6 },
      },
    },
    ArrayValue: { fields: { values: { rule: repeated, type: "AnyValue", id: 1 } } },
    KeyValueList: { fields: { values: { rule: repeated, type: "KeyValue", id: 1 } } },
  },
};

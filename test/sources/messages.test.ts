import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import avro from "avsc";
import { encode } from "cborg";
import protobuf from "protobufjs";
import { expect, test } from "vitest";
import * as z from "zod";
import { defineSource, type Column, type Source } from "../../src/core/index.ts";
import { flowSchema } from "../../src/pipeline/flow.ts";
import { openLake, type Lake, type RunReport } from "../../src/pipeline/index.ts";
import { registry } from "../../src/registry.ts";
import { messageShape, openMessages, type MessageBatch } from "../../src/sources/messages/index.ts";
import { inScratch } from "../faults/sweep.ts";

type Value = string | Uint8Array | null;

/** A topic in memory: all that is in `topic` after the offset of the cursor, in batches of three. */
async function lakeOf(folder: string, topic: Value[], options: Record<string, unknown> = {}): Promise<Lake> {
  const shape = z.strictObject(messageShape);
  const meta: Column[] = [
    { name: "_offset", type: "long" },
    { name: "_key", type: "string" },
  ];
  const bytesOf = (value: Value): Uint8Array | null => (typeof value === "string" ? Buffer.from(value) : value);
  const definition = defineSource({
    name: "topic",
    title: "Topic",
    summary: "Messages of a test.",
    options: shape,
    needs: [],
    capabilities: {
      discover: false,
      incremental: true,
      query: false,
      replayable: true,
      snapshot: false,
      deletes: false,
      measure: false,
    },
    examples: [],
    load: async () => ({
      async open(own, context): Promise<Source> {
        const messages = await openMessages(own, context, { meta });
        return {
          check: async () => undefined,
          async *streams() {},
          async plan(_request, { after }) {
            const from = Number(after?.["offset"] ?? 0);
            const known = (after?.["columns"] ?? []) as unknown as Column[];
            const columns = await messages.columns(topic.slice(from).map(bytesOf), known);
            const parts =
              topic.length > from ? [{ id: "one", spec: { from, to: topic.length, columns: columns as never } }] : [];
            return { columns, key: [], parts, cursor: { offset: topic.length, columns: columns as never } };
          },
          async read({ spec }) {
            const { from, to, columns } = spec as unknown as { from: number; to: number; columns: Column[] };
            async function* batches(): AsyncGenerator<MessageBatch> {
              for (let at = from; at < to; at += 3) {
                const values = topic.slice(at, Math.min(to, at + 3)).map(bytesOf);
                yield {
                  values,
                  meta: values.map((_, index) => `"_offset":${at + index},"_key":"k${at + index}"`),
                  origin: (index) => `topic offset ${at + index}`,
                };
              }
            }
            return messages.payload(batches(), { all: columns });
          },
          [Symbol.asyncDispose]: async () => undefined,
        };
      },
    }),
  });
  mkdirSync(folder, { recursive: true });
  return openLake(
    {
      folder,
      store: { store: "fs", path: join(folder, "lake") },
      connections: { bus: { kind: "source", type: "topic", options } },
      flows: { events: flowSchema.parse({ from: { connection: "bus", stream: "all" } }) },
    },
    { ...registry, sources: { ...registry.sources, topic: { title: "", summary: "", load: async () => definition } } },
  );
}

const typesOf = async (lake: Lake): Promise<Record<string, unknown>> =>
  Object.fromEntries((await lake.dataset("events")).dataset.columns().map(({ name, type }) => [name, type]));
const rowsOf = async (lake: Lake, columns = "*"): Promise<Record<string, unknown>[]> =>
  (await lake.query(`SELECT ${columns} FROM events ORDER BY _offset`, { maximumRows: 10_000 })).rows;
const rejectedOf = async (lake: Lake): Promise<Record<string, unknown>[]> =>
  (await lake.query("SELECT reason, origin, record FROM events__rejected ORDER BY origin")).rows;
async function run(lake: Lake): Promise<RunReport> {
  const report = await lake.run("events");
  expect(report.read).toBe(report.written + report.rejected + report.filtered);
  return report;
}

test("JSON objects become rows as they are, whatever their spacing; numbers stay exact; a tombstone has its meta columns", () =>
  inScratch(async (folder) => {
    const topic = [
      '{"id":9007199254740993,"name":"Ada \\"L\\" }","at":"2026-11-24T04:05:06.123456Z","tags":["a","b"],"more":{"deep":{"x":[1,{"y":2}]}},"amount":1.5}',
      ' \n{ "id" : 2,\r\n "name":null, "tags": [], "more" : {"other":true} , "amount": 2 }\n',
      null,
      "{}",
      '{"na\\u006de":"escaped key","id":3}',
    ];
    await using lake = await lakeOf(folder, topic);
    expect(await run(lake)).toMatchObject({ written: 5, rejected: 0 });
    expect(await typesOf(lake)).toEqual({
      _offset: "long",
      _key: "string",
      id: "long",
      name: "string",
      at: "timestamp",
      tags: { type: "list", element: "string", elementId: expect.any(Number) as number },
      more: "string",
      amount: "double",
      _rest: "string",
    });
    const rows = await rowsOf(lake, 'id, name, "at"::VARCHAR AS moment, tags, more, amount, _key, _rest');
    expect(rows[0]).toMatchObject({
      id: 9007199254740993n,
      name: 'Ada "L" }',
      moment: "2026-11-24 04:05:06.123456",
      more: '{"deep":{"x":[1,{"y":2}]}}',
      _key: "k0",
      _rest: null,
    });
    expect(rows[1]).toMatchObject({ id: 2n, name: null, more: '{"other":true}', amount: 2 });
    expect(rows[2]).toMatchObject({ id: null, _key: "k2" });
    expect(rows[4]).toMatchObject({ id: 3n, name: "escaped key" });
  }));

test("what no column has is kept in `_rest`, becomes a column of later messages, and cannot overwrite a meta column", () =>
  inScratch(async (folder) => {
    const topic: Value[] = ['{"id":1}', '{"id":2,"_offset":77,"_rest":"mine","":0,"ID":9}'];
    await using lake = await lakeOf(folder, topic);
    await run(lake);
    expect((await rowsOf(lake)).map(({ id, _offset, _rest }) => [id, _offset, _rest])).toEqual([
      [1n, 0n, null],
      [2n, 1n, '{"_offset":77,"_rest":"mine","":0,"ID":9}'],
    ]);
    topic.push('{"id":3,"colour":"red","size":{"w":1}}', '{"id":"four"}', '{"id":4.5}');
    const report = await run(lake);
    expect(report).toMatchObject({ written: 1, rejected: 2 });
    expect((await rowsOf(lake)).at(-1)).toMatchObject({ id: 3n, colour: "red", size: '{"w":1}', _rest: null });
    expect(await typesOf(lake)).toMatchObject({ id: "long", colour: "string", size: "string" });
    expect((await rejectedOf(lake)).map(({ reason }) => reason)).toContain("`id` is 4.5, which is no whole number");
  }));

test("poison is told of with its place, and its neighbours stay", () =>
  inScratch(async (folder) => {
    const topic: Value[] = [
      '{"id":1}',
      "not json",
      '{"id":2',
      '["an array"]',
      '{"id":3}{"id":4}',
      `{"id":${"[".repeat(100_000)}`,
      Buffer.from([0x7b, 0x22, 0x69, 0x64, 0x22, 0x3a, 0x22, 0xff, 0xfe, 0x22, 0x7d]),
      '{"id":5,"id":6}',
      '{"id":tru}',
      "",
      '{"id":7}',
      `{"id":8,"text":"${"x".repeat(5_000_000)}"}`,
      '{"id":9,"text":"two\nlines"}',
    ];
    await using lake = await lakeOf(folder, topic);
    const report = await run(lake);
    expect((await rowsOf(lake, "id")).map(({ id }) => id)).toEqual([1n, 7n, 8n]);
    expect(report).toMatchObject({ written: 3, rejected: 10 });
    const reasons = await rejectedOf(lake);
    expect(
      reasons
        .filter(({ origin }) => String(origin).startsWith("topic offset"))
        .map(({ origin, reason }) => [origin, reason]),
    ).toEqual([
      ["topic offset 1", "the value is not a JSON object"],
      ["topic offset 12", "the JSON object is cut off, or has a control character in a string"],
      ["topic offset 2", "the JSON object is cut off, or has a control character in a string"],
      ["topic offset 3", "the value is not a JSON object"],
      ["topic offset 4", "something follows the JSON object"],
      ["topic offset 5", "the value is nested more than 100 deep"],
      ["topic offset 7", "the member `id` is there twice"],
      ["topic offset 9", "the value is not a JSON object"],
    ]);
    // The others the engine refuses; their meta columns are in their record.
    expect(reasons.filter(({ record }) => /"_offset":[68]\b/.test(String(record)))).toHaveLength(2);
    expect(reasons.filter(({ reason }) => reason === "the value is not UTF-8")).toHaveLength(1);
  }));

test("declared types are kept to", () =>
  inScratch(async (folder) => {
    const topic = ['{"price":"12.30","code":"00123","at":"2026-01-02"}', '{"price":"7.5"}'];
    await using lake = await lakeOf(folder, topic, {
      columns: { price: "decimal(18,2)", code: "string", at: "string" },
    });
    await run(lake);
    expect(await typesOf(lake)).toMatchObject({ price: "decimal(18,2)", code: "string", at: "string" });
    expect((await rowsOf(lake, 'price::VARCHAR AS price, code, "at"'))[0]).toEqual({
      price: "12.30",
      code: "00123",
      at: "2026-01-02",
    });
  }));

test("Avro, Protocol Buffers, CBOR, text and bytes", () =>
  inScratch(async (folder) => {
    const schema = {
      type: "record",
      name: "Order",
      fields: [
        { name: "id", type: "long" },
        { name: "price", type: { type: "bytes", logicalType: "decimal", precision: 9, scale: 2 } },
        { name: "at", type: { type: "long", logicalType: "timestamp-micros" } },
        { name: "note", type: ["null", "string"], default: null },
        { name: "blob", type: "bytes" },
        {
          name: "lines",
          type: { type: "array", items: { type: "record", name: "Line", fields: [{ name: "sku", type: "string" }] } },
        },
      ],
    };
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "order.avsc"), JSON.stringify(schema));
    const type = avro.Type.forSchema(schema as never);
    const order = type.toBuffer({
      id: 41,
      price: Buffer.from([0x30, 0x39]),
      at: 1_700_000_000_123_456,
      note: "ü",
      blob: Buffer.from([0, 255]),
      lines: [{ sku: "a" }],
    });
    {
      await using lake = await lakeOf(
        join(folder, "avro"),
        [order, order.subarray(0, 5), Buffer.concat([order, Buffer.from([1])])],
        {
          value: "avro",
          schema: "../order.avsc",
        },
      );
      expect(await run(lake)).toMatchObject({ written: 1, rejected: 2 });
      expect(
        (await rowsOf(lake, 'id, price::VARCHAR AS price, "at"::VARCHAR AS moment, note, hex(blob) AS blob, lines'))[0],
      ).toMatchObject({
        id: 41n,
        price: "123.45",
        moment: expect.stringContaining("22:13:20.123456") as string,
        note: "ü",
        blob: "00FF",
      });
    }
    {
      mkdirSync(join(folder, "shop"));
      writeFileSync(
        join(folder, "shop", "money.proto"),
        'syntax = "proto3"; package shop; message Money { int64 units = 1; string code = 2; }',
      );
      const proto =
        'syntax = "proto3"; package shop; import "shop/money.proto"; import "google/protobuf/timestamp.proto"; enum State { OPEN = 0; DONE = 1; } message Other { string a = 1; } message Order { int64 id = 1; uint64 big = 2; State state = 3; bytes blob = 4; repeated int32 sizes = 5; Money total = 6; map<string, string> labels = 7; google.protobuf.Timestamp at = 8; }';
      writeFileSync(join(folder, "order.proto"), proto);
      const root = protobuf.parse(
        'syntax = "proto3"; package shop; message Money { int64 units = 1; string code = 2; } message Order { int64 id = 1; uint64 big = 2; int32 state = 3; bytes blob = 4; repeated int32 sizes = 5; Money total = 6; map<string, string> labels = 7; }',
      ).root;
      const message = root.lookupType("shop.Order");
      const bytes = message
        .encode(
          message.fromObject({
            id: "-9007199254740993",
            big: "18446744073709551615",
            state: 1,
            blob: Buffer.from([1, 2]),
            sizes: [1, 2],
            total: { units: 5, code: "EUR" },
            labels: { a: "b" },
          }),
        )
        .finish();
      await using lake = await lakeOf(join(folder, "protobuf"), [bytes, Buffer.from([0xff, 0xff])], {
        value: "protobuf",
        schema: "../order.proto",
        message: "shop.Order",
      });
      expect(await run(lake)).toMatchObject({ written: 1, rejected: 1 });
      expect(
        (
          await rowsOf(
            lake,
            "id, big::VARCHAR AS big, state, hex(blob) AS blob, sizes::VARCHAR AS sizes, total, labels",
          )
        )[0],
      ).toEqual({
        id: -9007199254740993n,
        big: "18446744073709551615",
        state: "DONE",
        blob: "0102",
        sizes: "[1, 2]",
        total: '{"units":5,"code":"EUR"}',
        labels: '{"a":"b"}',
      });
    }
    {
      const value = encode({ id: 1n << 60n, name: "x", data: new Uint8Array([7]), list: [1, 2], nested: { a: null } });
      await using lake = await lakeOf(join(folder, "cbor"), [value, value.subarray(0, 4), encode([1])], {
        value: "cbor",
      });
      expect(await run(lake)).toMatchObject({ written: 1, rejected: 2 });
      expect((await rowsOf(lake, "id, name, data, nested"))[0]).toEqual({
        id: 1n << 60n,
        name: "x",
        data: "Bw==",
        nested: '{"a":null}',
      });
    }
    {
      await using lake = await lakeOf(join(folder, "text"), ['a line\nand "another"', Buffer.from([0xff]), ""], {
        value: "text",
      });
      expect(await run(lake)).toMatchObject({ written: 2, rejected: 1 });
      expect((await rowsOf(lake, "value")).map(({ value }) => value)).toEqual(['a line\nand "another"', ""]);
    }
    await using lake = await lakeOf(join(folder, "raw"), [Buffer.from([0, 255, 10]), "x"], { value: "raw" });
    await run(lake);
    expect((await rowsOf(lake, "hex(value) AS value")).map(({ value }) => value)).toEqual(["00FF0A", "78"]);
  }));

test("a schema that is missing or wrong is said so", () =>
  inScratch(async (folder) => {
    for (const [options, text] of [
      [{ value: "avro" }, "needs `schema`"],
      [{ value: "avro", schema: "none.avsc" }, "cannot be read"],
      [{ value: "protobuf", schema: "bad.proto" }, "Protocol Buffers"],
      [{ value: "protobuf", schema: "good.proto", message: "b.C" }, "no message `b.C`"],
    ] as const) {
      writeFileSync(join(folder, "bad.proto"), "message {");
      writeFileSync(join(folder, "good.proto"), 'syntax = "proto3"; package a; message B { int32 x = 1; }');
      await using lake = await lakeOf(folder, ["x"], options);
      await expect(lake.run("events")).rejects.toMatchObject({
        code: "config",
        message: expect.stringContaining(text) as string,
      });
    }
  }));

import { createHash } from "node:crypto";
import protobuf from "protobufjs/minimal.js";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Cursor } from "../../src/core/index.ts";
import definition from "../../src/sources/kinesis/index.ts";
import { requireAwsModel, type AwsModel } from "../services/aws-model.ts";
import { startAwsGate, type AwsGate } from "../services/aws-gate.ts";
import { startKinesis, type Kinesis } from "../services/kinesis.ts";
import { openPlace } from "../support/flows.ts";
import { openReader, type Read, type Row, type SourceReader } from "../support/read-source.ts";

let kinesis: Kinesis;
let gate: AwsGate;
let reader: SourceReader;
let model: AwsModel;
beforeAll(async () => {
  kinesis = await startKinesis();
  gate = await startAwsGate(kinesis.endpoint);
  model = await requireAwsModel("kinesis");
  reader = await openReader(definition as never, () => ({ ...kinesis.options, endpoint: gate.endpoint }));
});
afterEach(() => {
  // The server takes more than AWS does.
  for (const { operation, body } of gate.calls) model.assertInput(operation, body);
  gate.calls = [];
  gate.before = () => undefined;
  gate.after = () => undefined;
  gate.headers = () => undefined;
});
afterAll(async () => {
  await gate[Symbol.asyncDispose]();
  await kinesis[Symbol.asyncDispose]();
  await reader[Symbol.asyncDispose]();
});

const jsonOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
/** Rows with ids from `from` up to `to`, over 20 partition keys. */
const rowsOf = (from: number, to: number): { PartitionKey: string; Data: Buffer }[] =>
  Array.from({ length: to - from }, (_, index) => ({
    PartitionKey: `key-${(from + index) % 20}`,
    Data: jsonOf({ id: from + index, key: (from + index) % 20 }),
  }));

const idsOf = ({ rows }: Read): number[] => rows.map(({ id }) => id as number).toSorted((left, right) => left - right);
const upTo = (to: number, from = 0): number[] => Array.from({ length: to - from }, (_, index) => from + index);

test("over splits and merges, before and between runs, each record is read once, and those of a parent before those of its children", async () => {
  await kinesis.create("resharded", 2);
  await using place = await openPlace();
  const connections = { aws: { ...kinesis.options, endpoint: gate.endpoint } };
  await place.configure({ clicks: { from: { connection: "aws", stream: "resharded" } } }, { connections });
  await kinesis.put("resharded", rowsOf(0, 100));
  await kinesis.split("resharded", "shardId-000000000000");
  await kinesis.put("resharded", rowsOf(100, 200));
  expect(await place.run("clicks")).toMatchObject({ written: 200, rejected: 0 });
  await kinesis.merge("resharded", "shardId-000000000002", "shardId-000000000003");
  await kinesis.put("resharded", rowsOf(200, 300));
  await kinesis.split("resharded", "shardId-000000000004");
  await kinesis.put("resharded", rowsOf(300, 400));
  expect(await place.run("clicks")).toMatchObject({ written: 200, rejected: 0 });
  expect(await place.run("clicks")).toMatchObject({ written: 0 });
  expect(
    await place.rows(
      "SELECT count(*)::int AS n, count(DISTINCT id)::int AS ids, count(DISTINCT _shard)::int AS shards FROM clicks",
    ),
  ).toEqual([{ n: 400, ids: 400, shards: 7 }]);
});

test("a shard is planned when its parents have been read to their ends, also where a run may take little", async () => {
  await kinesis.create("bounded");
  await kinesis.put("bounded", rowsOf(0, 50));
  await kinesis.split("bounded", "shardId-000000000000");
  await kinesis.put("bounded", rowsOf(50, 100));
  const first = await reader.readOn("bounded", undefined, { max_records: 30 });
  // The first 50 lie in the parent, in their order.
  expect([first.rows.map(({ id }) => id), first.plan.more]).toEqual([upTo(30), true]);
  const second = await reader.readOn("bounded", first.cursor, { max_records: 30 });
  expect(idsOf(second).slice(0, 20)).toEqual(upTo(50, 30));
  const third = await reader.readOn("bounded", second.cursor);
  expect([
    idsOf(second)
      .concat(idsOf(third))
      .toSorted((left, right) => left - right),
    third.plan.more,
  ]).toEqual([upTo(100, 30), undefined]);
  expect((await reader.readOn("bounded", third.cursor)).rows).toEqual([]);
});

/** Records as the producer library packs them. */
function packed(records: { key: string; data: Uint8Array }[]): Buffer {
  const writer = protobuf.Writer.create();
  const keys = [...new Set(records.map(({ key }) => key))];
  for (const key of keys) writer.uint32(10).string(key);
  for (const { key, data } of records) {
    writer.uint32(26).fork().uint32(8).uint64(keys.indexOf(key)).uint32(26).bytes(data).ldelim();
  }
  const message = Buffer.from(writer.finish());
  return Buffer.concat([Buffer.from("f3899ac2", "hex"), message, createHash("md5").update(message).digest()]);
}

test("records that a producer has packed are unpacked; what only looks like such is what it is; poison is set aside", async () => {
  await kinesis.create("packed");
  const three = packed([
    { key: "a", data: jsonOf({ id: 1 }) },
    { key: "b", data: jsonOf({ id: 2 }) },
    { key: "a", data: jsonOf({ id: 3, more: { deep: [1] } }) },
  ]);
  const damaged = Buffer.from(three);
  damaged[10]! ^= 1;
  const lost = Buffer.from(
    protobuf.Writer.create().uint32(26).fork().uint32(8).uint64(7).uint32(26).bytes(jsonOf({})).ldelim().finish(),
  );
  const unknownKey = Buffer.concat([Buffer.from("f3899ac2", "hex"), lost, createHash("md5").update(lost).digest()]);
  const put = (Data: Uint8Array) => ({ PartitionKey: "outer", Data });
  await kinesis.put("packed", [
    put(three),
    put(jsonOf({ id: 4 })),
    put(damaged),
    put(unknownKey),
    put(Buffer.from('{"id": 5,\n "id": 6}')),
    put(Buffer.from('{"id": 2.5, "_shard": "mine"}')),
    put(Buffer.from("[1]")),
  ]);
  const { rows, rejected } = await reader.readOn("packed");
  expect(rows.map(({ _shard, _sequence, _timestamp, ...row }) => row)).toEqual([
    { id: 1, _subsequence: 0, _partition_key: "a" },
    { id: 2, _subsequence: 1, _partition_key: "b" },
    { id: 3, more: { deep: [1] }, _subsequence: 2, _partition_key: "a" },
    { id: 4, _subsequence: 0, _partition_key: "outer" },
    { id: 2.5, _rest: { _shard: "mine" }, _subsequence: 0, _partition_key: "outer" },
  ]);
  expect(rejected.map(({ reason }) => reason).toSorted()).toEqual([
    "a packed record names the partition key 7 of 0",
    "the member `id` is there twice",
    "the value is not a JSON object",
    "the value is not a JSON object",
  ]);
  for (const { origin } of rejected) expect(origin).toMatch(/^packed\/shardId-000000000000\/\d{56}/);
});

test("limits, expired iterators, lost answers and dropped connections change nothing", async () => {
  await kinesis.create("troubled", 2);
  await kinesis.put("troubled", rowsOf(0, 300));
  const faults = [
    { status: 400, type: "ProvisionedThroughputExceededException" },
    { status: 400, type: "ExpiredIteratorException" },
    "lose",
    "drop",
    { status: 500, type: "InternalFailure" },
  ] as const;
  const left = [...faults];
  let count = 0;
  gate.before = ({ operation }) => {
    // One after the other, each at a call of its own, and the call after it goes through.
    const [fault] = left;
    if (fault === undefined || operation !== "GetRecords" || count++ % 2 === 0) return undefined;
    left.shift();
    return fault;
  };
  let after: Cursor | undefined;
  const ids: number[] = [];
  for (let more = true; more;) {
    const read = await reader.readOn("troubled", after, { max_records: 50 });
    ids.push(...idsOf(read));
    after = read.cursor;
    more = read.plan.more === true;
  }
  expect(left).toEqual([]);
  expect(ids.toSorted((one, other) => one - other)).toEqual(upTo(300));
});

test("a part is read again by another process, in pieces and after the stream has gone on; what is gone by then is told of", async () => {
  await kinesis.create("again", 2);
  await kinesis.put("again", rowsOf(0, 200));
  const [first, second] = [await reader.open(), await reader.open()];
  const plan = await first.plan({ stream: "again", partBytes: 1000 }, {});
  expect(plan.parts.length).toBeGreaterThan(3);
  await first[Symbol.asyncDispose]();
  await kinesis.put("again", rowsOf(200, 220));
  expect((await reader.rowsOf(second, "again", plan)).rows).toHaveLength(200);
  gate.after = ({ operation }, answer) => {
    if (operation === "GetRecords") (answer["Records"] as unknown[]).shift();
  };
  await expect(reader.rowsOf(second, "again", plan)).rejects.toMatchObject({
    code: "not-found",
    message: expect.stringContaining("are gone"),
  });
  await second[Symbol.asyncDispose]();
});

/** The stream forgets: the answers are those of a time when its oldest records have gone. */
function forget(records: number, hours: number): void {
  let gone: string[] = [];
  gate.headers = (headers) => {
    headers["date"] = new Date(Date.now() + hours * 3_600_000).toUTCString();
  };
  gate.after = ({ operation }, answer) => {
    if (operation !== "GetRecords") return;
    const all = answer["Records"] as { SequenceNumber: string }[];
    gone = gone.length > 0 ? gone : all.slice(0, records).map(({ SequenceNumber }) => SequenceNumber);
    answer["Records"] = all.filter(({ SequenceNumber }) => !gone.includes(SequenceNumber));
  };
}

test("what the stream has forgotten before it was read ends the run, or is noted, and is never passed over in silence", async () => {
  await kinesis.create("forgetful");
  await kinesis.put("forgetful", rowsOf(0, 10));
  const first = await reader.readOn("forgetful");
  await kinesis.put("forgetful", rowsOf(10, 20));
  // Within the retention nothing is missing; beyond it nothing is while the last record that was read is still there.
  for (const hours of [20, 30]) {
    forget(0, hours);
    expect(idsOf(await reader.readOn("forgetful", first.cursor))).toEqual(upTo(20, 10));
  }
  forget(4, 30);
  await expect(reader.readOn("forgetful", first.cursor)).rejects.toMatchObject({
    code: "not-found",
    hint: expect.stringContaining("on_gap: continue"),
  });
  forget(4, 30);
  const { rows, rejected } = await reader.readOn("forgetful", first.cursor, { on_gap: "continue" });
  expect(rows.map(({ id }) => id)).toEqual(upTo(20, 13));
  expect(rejected).toMatchObject([{ origin: expect.stringMatching(/^forgetful\/shardId-000000000000\/\d{56}$/) }]);

  // A shard that is gone, and a stream that is another now.
  forget(0, 0);
  const states = first.cursor["shards"] as Record<string, Row>;
  const vanished = { ...first.cursor, shards: { ...states, "shardId-000000000099": { after: "1" } } } as Cursor;
  await expect(reader.readOn("forgetful", vanished)).rejects.toMatchObject({
    message: expect.stringContaining("is gone"),
  });
  const another = { ...first.cursor, created: 1 };
  await expect(reader.readOn("forgetful", another)).rejects.toMatchObject({
    message: expect.stringContaining("made anew"),
  });
  expect(idsOf(await reader.readOn("forgetful", another, { on_gap: "continue" }))).toEqual(upTo(20));

  // Silence for half of the retention is noted, so that it is not taken for forgetting later.
  const last = await reader.readOn("forgetful", first.cursor);
  forget(0, 13);
  await using source = await reader.open();
  const plan = await source.plan({ stream: "forgetful" }, { after: last.cursor });
  expect(plan.parts).toHaveLength(1);
  expect((await reader.readOn("forgetful", plan.cursor)).rows).toEqual([]);
});

test("a run begins with what comes from now on, or at a time; children of shards from before begin there too", async () => {
  await kinesis.create("later");
  await kinesis.put("later", rowsOf(0, 10));
  await kinesis.split("later", "shardId-000000000000");
  await kinesis.put("later", rowsOf(10, 20));
  // Times of the header have whole seconds: later than all that is there.
  forget(0, 0);
  gate.headers = () => undefined;
  const start = new Date(Date.now() + 1).toISOString();
  await new Promise((resolve) => setTimeout(resolve, 5));
  const first = await reader.readOn("later", undefined, { start });
  expect(first.rows).toEqual([]);
  await kinesis.put("later", rowsOf(20, 30));
  const second = await reader.readOn("later", first.cursor, { start });
  expect(idsOf(second)).toEqual(upTo(30, 20));

  // Also where the first run does not come to all shards.
  await kinesis.create("later-2", 4);
  await kinesis.put("later-2", rowsOf(0, 40));
  const since = new Date(Date.now() + 1).toISOString();
  await new Promise((resolve) => setTimeout(resolve, 5));
  await kinesis.put("later-2", rowsOf(40, 80));
  const ids: number[] = [];
  let after: Cursor | undefined;
  for (let more = true; more;) {
    const read = await reader.readOn("later-2", after, { start: since, max_records: 5 });
    ids.push(...idsOf(read));
    after = read.cursor;
    more = read.plan.more === true;
  }
  expect(ids.toSorted((left, right) => left - right)).toEqual(upTo(80, 40));
});

// This server tells its subscribers something once a second: these wait side by side, each with a gate of its own.
test.concurrent("enhanced fan-out pushes what there is and what comes, and is subscribed to again where that fails", async () => {
  await using own = await startAwsGate(kinesis.endpoint);
  const count = (name: string): number => own.calls.filter(({ operation }) => operation === name).length;
  await kinesis.create("pushed");
  await kinesis.put("pushed", rowsOf(0, 50));
  await using source = await reader.open({ endpoint: own.endpoint, consumer: "millrace" });
  own.before = ({ operation }) =>
    operation === "SubscribeToShard" && count(operation) === 1
      ? { status: 400, type: "ResourceInUseException" }
      : undefined;
  const first = await reader.readOn("pushed", undefined, {}, source);
  expect(idsOf(first)).toEqual(upTo(50));
  const waiting = source.wait!({ stream: "pushed" }, { after: first.cursor, milliseconds: 30_000 });
  await kinesis.put("pushed", rowsOf(50, 60));
  expect(await waiting).toBe(true);
  expect(idsOf(await reader.readOn("pushed", first.cursor, {}, source))).toEqual(upTo(60, 50));
  // The subscription was kept.
  expect([count("SubscribeToShard"), count("GetRecords")]).toEqual([2, 0]);

  own.before = ({ operation }) =>
    operation === "DescribeStreamConsumer" ? { status: 400, type: "UnknownOperationException" } : undefined;
  const warnings: string[] = [];
  const onWarning = ({ message }: Error): unknown => warnings.push(message);
  process.on("warning", onWarning);
  const asked = await reader.readOn("pushed", first.cursor, { endpoint: own.endpoint, consumer: "millrace" });
  expect([idsOf(asked), count("GetRecords")]).toEqual([upTo(60, 50), 1]);
  process.off("warning", onWarning);
  expect(warnings.join()).toContain("no enhanced fan-out");
});

test.concurrent("enhanced fan-out goes on with the children of a shard", async () => {
  await using own = await startAwsGate(kinesis.endpoint);
  await kinesis.create("pushed-on");
  await kinesis.put("pushed-on", rowsOf(0, 50));
  await kinesis.split("pushed-on", "shardId-000000000000");
  await kinesis.put("pushed-on", rowsOf(50, 60));
  const read = await reader.readOn("pushed-on", undefined, { endpoint: own.endpoint, consumer: "millrace" });
  expect(idsOf(read)).toEqual(upTo(60));
  // It does not tell subscribers of the end of a shard: only for that it is asked.
  const subscribed = own.calls
    .filter(({ operation }) => operation === "SubscribeToShard")
    .map(({ body }) => String(body["ShardId"]));
  expect(subscribed[0]).toBe("shardId-000000000000");
  expect(subscribed.toSorted()).toEqual(upTo(3).map((shard) => `shardId-00000000000${shard}`));
});

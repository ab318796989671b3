import { afterAll, beforeAll, expect, test } from "vitest";
import { startKafkaForTests, type Kafka } from "./kafka-support.ts";

let kafka: Kafka;
beforeAll(async () => {
  kafka = await startKafkaForTests();
}, 60_000);
afterAll(() => kafka[Symbol.asyncDispose]());

const event = (id: number): string => JSON.stringify({ id, text: `n° ${id} "quoted"` });

test("records of all compressions become rows, once each, and go on where the last version ends", async () => {
  await kafka.topic("shop.orders", 3);
  const methods = ["none", "gzip", "snappy", "lz4", "zstd"] as const;
  for (const [round, method] of methods.entries()) {
    const values = Array.from({ length: 300 }, (_, index) => round * 300 + index);
    await kafka.send(
      values.map((id) => ({ topic: "shop.orders", partition: id % 3, value: event(id) })),
      method,
    );
  }
  await using place = await kafka.place("shop.orders");
  expect(await place.run("events")).toMatchObject({ status: "published", read: 1500, written: 1500 });
  expect(
    await place.rows(
      "select count(*) as n, count(distinct id) as ids, count(distinct (_partition, _offset)) as places, min(id) as low, max(id) as high, max(text) as text from events",
    ),
  ).toEqual([{ n: 1500n, ids: 1500n, places: 1500n, low: 0n, high: 1499n, text: 'n° 999 "quoted"' }]);
  expect((await place.run("events")).status).toBe("unchanged");
  await kafka.send([{ topic: "shop.orders", partition: 1, value: event(1500) }]);
  expect(await place.run("events")).toMatchObject({ status: "published", written: 1 });
  expect(await place.rows("select _topic, _partition, _offset, _deleted from events where id = 1500")).toEqual([
    { _topic: "shop.orders", _partition: 1, _offset: 500n, _deleted: false },
  ]);
});

test("keys, headers, tombstones and poison", async () => {
  await kafka.topic("odd");
  await kafka.send([
    {
      topic: "odd",
      key: 'a "b" ü',
      value: event(1),
      headers: [
        ["trace", "t1"],
        ["bytes", Buffer.from([0xff, 0xfe])],
      ],
    },
    { topic: "odd", key: "gone" },
    { topic: "odd", value: "no json" },
    { topic: "odd", value: '{"id":2' },
    { topic: "odd", value: event(3) },
  ]);
  await using place = await kafka.place("odd");
  expect(await place.run("events")).toMatchObject({ read: 5, written: 3, rejected: 2 });
  expect(await place.rows("select _offset, _key, _headers, _deleted, id from events order by _offset")).toEqual([
    { _offset: 0n, _key: 'a "b" ü', _headers: '{"trace":"t1","bytes":{"base64":"//4="}}', _deleted: false, id: 1n },
    { _offset: 1n, _key: "gone", _headers: null, _deleted: true, id: null },
    { _offset: 4n, _key: null, _headers: null, _deleted: false, id: 3n },
  ]);
  const rejected = await place.rows("select origin, reason, record from events__rejected order by origin");
  expect(rejected).toEqual([
    { origin: "odd/0/2", reason: expect.stringContaining("not a JSON object"), record: "no json" },
    { origin: "odd/0/3", reason: expect.stringContaining("cut off"), record: '{"id":2' },
  ]);
});

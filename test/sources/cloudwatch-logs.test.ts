import { PutRetentionPolicyCommand } from "@aws-sdk/client-cloudwatch-logs";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Cursor } from "../../src/core/index.ts";
import definition from "../../src/sources/cloudwatch-logs/index.ts";
import { requireAwsModel, type AwsModel } from "../services/aws-model.ts";
import { startAwsGate, type AwsGate } from "../services/aws-gate.ts";
import { startLogs, type Logs } from "../services/logs.ts";
import { openPlace } from "../support/flows.ts";
import { openReader, type Read, type SourceReader } from "../support/read-source.ts";

const hourMs = 3_600_000;

let logs: Logs;
let gate: AwsGate;
let model: AwsModel;
let reader: SourceReader;
/** The first run looks back an hour, which is what most tests need. */
let start = "";
beforeAll(async () => {
  logs = await startLogs();
  gate = await startAwsGate(logs.endpoint);
  model = await requireAwsModel("logs");
  start = new Date(Date.now() - hourMs).toISOString();
  reader = await openReader(definition as never, () => ({ ...logs.options, endpoint: gate.endpoint, start }));
});
afterEach(() => {
  // The server takes more than AWS does.
  for (const { operation, body } of gate.calls) {
    if (!String(body["nextToken"]).startsWith("gate-")) model.assertInput(operation, body);
  }
  gate.calls = [];
  gate.before = () => undefined;
  gate.after = () => undefined;
});
afterAll(async () => {
  await reader[Symbol.asyncDispose]();
  await gate[Symbol.asyncDispose]();
  await logs[Symbol.asyncDispose]();
});

const messagesOf = ({ rows }: Pick<Read, "rows">): string[] => rows.map(({ message }) => message as string).toSorted();
const callsOf = (operation: string): number => gate.calls.filter((call) => call.operation === operation).length;

test("groups by name and by pattern; text, and JSON whose members become columns; a filter pattern", async () => {
  await logs.create("/shop/web", "i-1", "i-2");
  await logs.create("/shop/db", "main");
  await logs.create("/other", "main");
  await logs.put("/shop/web", "i-1", [
    '{"level":"error","ms":12}',
    "START RequestId: 1",
    "a [line]\nand another \u2028",
  ]);
  await logs.put("/shop/web", "i-2", ['{"level":"info","ms":1.5,"message":"fine"}']);
  await logs.put("/shop/db", "main", ["checkpoint error"]);
  await logs.put("/other", "main", ["nothing"]);
  await using place = await openPlace();
  const connection = { ...logs.options, endpoint: gate.endpoint, start, value: "json" };
  await place.configure(
    { shop: { from: { connection: "logs", stream: "/shop/*" } } },
    { connections: { logs: connection } },
  );
  expect(await place.run("shop")).toMatchObject({ written: 5, rejected: 0 });
  expect(await place.run("shop")).toMatchObject({ status: "unchanged" });
  const rows = await place.rows(
    "SELECT _group, _stream, level, ms::double AS ms, message, _event_id IS NOT NULL AND _ingested >= _timestamp AS known FROM shop ORDER BY ALL",
  );
  expect(rows).toEqual([
    { _group: "/shop/db", _stream: "main", level: null, ms: null, message: "checkpoint error", known: true },
    { _group: "/shop/web", _stream: "i-1", level: "error", ms: 12, message: null, known: true },
    { _group: "/shop/web", _stream: "i-1", level: null, ms: null, message: "START RequestId: 1", known: true },
    {
      _group: "/shop/web",
      _stream: "i-1",
      level: null,
      ms: null,
      message: "a [line]\nand another \u2028",
      known: true,
    },
    { _group: "/shop/web", _stream: "i-2", level: "info", ms: 1.5, message: "fine", known: true },
  ]);

  const errors = await reader.readOn("/shop/*", undefined, { filter: "error" });
  expect(messagesOf(errors)).toEqual(["checkpoint error", '{"level":"error","ms":12}']);
  expect(messagesOf(await reader.readOn("/shop/web", undefined, { streams: "i-2" }))).toHaveLength(1);
  await expect(reader.readOn("/nothing/*")).rejects.toMatchObject({ code: "not-found" });
});

test("events that come late are read once, whatever the order in which they come", async () => {
  await logs.create("late", "one");
  const now = Date.now();
  await logs.put("late", "one", ["a", "b"], now - 1_000);
  const first = await reader.readOn("late");
  expect(messagesOf(first)).toEqual(["a", "b"]);
  await logs.put("late", "one", ["late by a minute"], now - 60_000);
  await logs.put("late", "one", ["of the same millisecond"], now - 1_000);
  const second = await reader.readOn("late", first.cursor);
  expect(messagesOf(second)).toEqual(["late by a minute", "of the same millisecond"]);
  expect((await reader.readOn("late", second.cursor)).plan.parts).toEqual([]);
  // A run that goes on from an older position reads what the newer one has read, and no more.
  await logs.put("late", "one", ["c"]);
  const third = await reader.readOn("late", first.cursor);
  expect(messagesOf(third)).toEqual(["c", "late by a minute", "of the same millisecond"]);

  // Another process reads the same parts, also when more has come since.
  await using planner = await reader.open();
  const plan = await planner.plan({ stream: "late" }, { after: first.cursor });
  await logs.put("late", "one", ["d"], now - 1_000);
  await using other = await reader.open();
  expect(messagesOf(await reader.rowsOf(other, "late", plan))).toEqual(messagesOf(third));
  expect(messagesOf(await reader.readOn("late", plan.cursor))).toEqual(["d"]);
});

test("empty pages are no end, throttling and lost answers are made up for, and a token that comes back is told of", async () => {
  await logs.create("pages", "one");
  await logs.put(
    "pages",
    "one",
    Array.from({ length: 30 }, (_, index) => `event ${index}`),
  );
  const tokens = new Map<string, unknown>();
  let [empty, count] = [0, 0];
  gate.before = (call) => {
    if (call.operation !== "FilterLogEvents") return undefined;
    const token = call.body["nextToken"];
    call.body["limit"] = 4;
    if (tokens.has(token as string)) call.body["nextToken"] = tokens.get(token as string);
    if (call.body["nextToken"] === undefined) delete call.body["nextToken"];
    count++;
    if (count === 2) return { status: 400, type: "ThrottlingException" };
    return count === 4 ? "lose" : undefined;
  };
  gate.after = (call, answer) => {
    // Every other page is empty, and the one after it has what it would have had.
    if (call.operation !== "FilterLogEvents" || count % 2 === 1) return;
    empty++;
    const token = `gate-${empty}`;
    tokens.set(token, call.body["nextToken"]);
    Object.assign(answer, { events: [], nextToken: token });
  };
  const read = await reader.readOn("pages");
  expect(messagesOf(read)).toHaveLength(30);
  expect(new Set(messagesOf(read)).size).toBe(30);
  expect(empty).toBeGreaterThan(2);

  gate.before = () => undefined;
  gate.after = ({ operation }, answer) => {
    if (operation === "FilterLogEvents") Object.assign(answer, { events: [], nextToken: "again" });
  };
  await expect(reader.readOn("pages")).rejects.toMatchObject({ message: expect.stringContaining("again and again") });
});

test("what is old is divided by time, and read again the same; a retention that has passed ends the run, or is noted", async () => {
  await logs.create("old", "one");
  const now = Date.now();
  for (let hour = 0; hour < 6; hour += 2) await logs.put("old", "one", [`hour ${hour}`], now - hour * hourMs - 1_000);
  const from = new Date(now - 8 * hourMs).toISOString();
  const first = await reader.readOn("old", undefined, { start: from });
  expect(messagesOf(first)).toEqual(["hour 0", "hour 2", "hour 4"]);
  expect(first.plan.parts.length).toBe(3);
  await using other = await reader.open({ start: from });
  expect(messagesOf(await reader.rowsOf(other, "old", first.plan))).toEqual(messagesOf(first));
  expect((await reader.readOn("old", first.cursor)).rows).toEqual([]);

  await logs.client.send(new PutRetentionPolicyCommand({ logGroupName: "old", retentionInDays: 1 }));
  const groups = first.cursor["groups"] as Record<string, object>;
  const stale = { ...first.cursor, groups: { old: { ...groups["old"], to: now - 48 * hourMs } } } as unknown as Cursor;
  await expect(reader.readOn("old", stale)).rejects.toMatchObject({
    code: "not-found",
    hint: expect.stringContaining("on_gap: continue"),
  });
  const { rejected } = await reader.readOn("old", stale, { on_gap: "continue" });
  expect(rejected).toMatchObject([{ origin: "old", reason: expect.stringContaining("may be lost") }]);
});

test("what is old comes from an export to S3, which is made once, and the rest from the service", async () => {
  await logs.s3.bucket("exports");
  await logs.create("/archive", "web/1", "web-2");
  const now = Date.now();
  await logs.put("/archive", "web/1", ['{"id":1}', "a line\nand\n\nits end"], now - 5 * hourMs);
  await logs.put("/archive", "web-2", ['{"id":2}'], now - 4 * hourMs);
  await logs.put("/archive", "web-2", ['{"id":3}'], now - 60_000);
  const options = {
    start: "earliest",
    value: "json",
    backfill: { bucket: "exports", endpoint: logs.endpoint, settled_h: 2 },
  };
  // A run that was ended before it had committed.
  await reader.readOn("/archive", undefined, options);
  const first = await reader.readOn("/archive", undefined, options);
  expect(callsOf("CreateExportTask")).toBe(1);
  expect(first.rows.map(({ id, message }) => String(id ?? message)).toSorted()).toEqual([
    "1",
    "2",
    "3",
    "a line\nand\n\nits end",
  ]);
  expect(first.rows.filter(({ _event_id }) => _event_id === null)).toHaveLength(3);
  expect((await reader.readOn("/archive", first.cursor, options)).rows).toEqual([]);
  await expect(reader.open({ ...options, filter: "x" })).rejects.toMatchObject({ code: "config" });
});

test("the live tail only wakes who waits", async () => {
  await logs.create("tailed", "one");
  await logs.put("tailed", "one", ["a"]);
  await using source = await reader.open();
  const first = await reader.readOn("tailed", undefined, {}, source);
  expect(await source.wait!({ stream: "tailed" }, { after: first.cursor, milliseconds: 20_000 })).toBe(true);
  expect(callsOf("StartLiveTail")).toBe(1);
  await logs.put("tailed", "one", ["b"]);
  expect(messagesOf(await reader.readOn("tailed", first.cursor, {}, source))).toEqual(["b"]);
});

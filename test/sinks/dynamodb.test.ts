import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer, request as ask, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import { QueryCommand, ScanCommand, GetItemCommand, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Column, Sink, SinkDefinition, VersionRows } from "../../src/core/index.ts";
import definition from "../../src/sinks/dynamodb/index.ts";
import { sinkContract } from "../contracts/sink.ts";
import { versionOf, type TextRow } from "../contracts/support/versions.ts";
import { startDynamo, type DynamoServer } from "../services/dynamodb.ts";
import { startCuttingProxy } from "./cutting-proxy.ts";

const secret = "dynamo-c4nary-secret";
const credentials = { access_key_id: "AKIAEXAMPLE", secret_access_key: secret };

const asText = (line: string): Record<string, string | null> =>
  JSON.parse(line, (_, value: unknown, context?: { source?: string }) =>
    typeof value === "number" ? context!.source : typeof value === "boolean" ? String(value) : value,
  ) as Record<string, string | null>;

/** What another client sees, by the layout that is documented. */
async function rowsSeen(
  { client }: DynamoServer,
  TableName: string,
  target: string,
): Promise<Record<string, string | null>[] | undefined> {
  const pointer = { pk: { S: `t#${target}` }, sk: { S: "current" } };
  const { Item } = await client.send(new GetItemCommand({ TableName, Key: pointer, ConsistentRead: true }));
  if (Item === undefined) return undefined;
  const { generation, buckets } = JSON.parse(Item["publication"]!.S!) as { generation: string; buckets: number };
  const rows: Record<string, string | null>[] = [];
  for (let bucket = 0; bucket < buckets; bucket++) {
    let from: Record<string, { S: string }> | undefined;
    do {
      const page = await client.send(
        new QueryCommand({
          TableName,
          KeyConditionExpression: "pk = :pk",
          ExpressionAttributeValues: { ":pk": { S: `r#${target}#${generation}#${bucket}` } },
          ConsistentRead: true,
          ...(from === undefined ? {} : { ExclusiveStartKey: from }),
        }),
      );
      for (const item of page.Items ?? []) rows.push(asText(item["row"]!.S!));
      from = page.LastEvaluatedKey as typeof from;
    } while (from !== undefined);
  }
  return rows;
}

sinkContract({
  name: "dynamodb",
  definition: definition as unknown as SinkDefinition,
  cuts: true,
  async start() {
    const server = await startDynamo();
    await server.table("online");
    await server.table("other", ["id"]);
    const proxy = await startCuttingProxy(server.port);
    const options = { table: "online", endpoint: `http://127.0.0.1:${proxy.port}`, credentials };
    return {
      options,
      secrets: [secret],
      wrong: [
        { what: "no such table", options: { ...options, table: "absent" }, code: "not-found" },
        { what: "a table with other keys", options: { ...options, table: "other" }, code: "schema" },
        { what: "nobody listens", options: { ...options, endpoint: "http://127.0.0.1:1" }, code: "unreachable" },
      ],
      rows: (target) => rowsSeen(server, "online", target),
      cut: (requests) => proxy.cut(requests),
      async [Symbol.asyncDispose]() {
        await proxy[Symbol.asyncDispose]();
        await server[Symbol.asyncDispose]();
      },
    };
  },
});

/** A relay that takes on only the first of the items of each batch, as a table does that is busy; no double does. */
async function startBusy(
  port: number,
): Promise<{ endpoint: string; left: { writes: number; reads: number } } & AsyncDisposable> {
  const left = { writes: 0, reads: 0 };
  const bodyOf = async (message: IncomingMessage): Promise<Buffer> =>
    Buffer.concat((await message.toArray()) as Buffer[]);
  const server = createServer((incoming, outgoing) => {
    void (async () => {
      const action = String(incoming.headers["x-amz-target"]).split(".")[1];
      let body = await bodyOf(incoming);
      let unprocessed: object | undefined;
      if (action === "BatchWriteItem" || action === "BatchGetItem") {
        const { RequestItems: items } = JSON.parse(body.toString()) as { RequestItems: Record<string, unknown> };
        const [name, given] = Object.entries(items)[0]!;
        const all = (action === "BatchWriteItem" ? given : (given as { Keys: unknown[] }).Keys) as unknown[];
        const some = all.slice(0, Math.ceil(all.length / 2));
        const rest = all.slice(some.length);
        left[action === "BatchWriteItem" ? "writes" : "reads"] += rest.length;
        const wrap = (list: unknown[]): object => ({
          [name]: action === "BatchWriteItem" ? list : { ...(given as object), Keys: list },
        });
        body = Buffer.from(JSON.stringify({ RequestItems: wrap(some) }));
        if (rest.length > 0)
          unprocessed = { [action === "BatchWriteItem" ? "UnprocessedItems" : "UnprocessedKeys"]: wrap(rest) };
      }
      const headers = { ...incoming.headers, "content-length": String(body.length) };
      const relayed = ask({ port, host: "127.0.0.1", method: "POST", path: "/", headers });
      relayed.end(body);
      const [reply] = (await once(relayed, "response")) as [IncomingMessage];
      let answer = await bodyOf(reply);
      if (unprocessed !== undefined)
        answer = Buffer.from(JSON.stringify({ ...(JSON.parse(answer.toString()) as object), ...unprocessed }));
      outgoing.writeHead(reply.statusCode!, {
        "content-type": "application/x-amz-json-1.0",
        "content-length": answer.length,
      });
      outgoing.end(answer);
    })();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    left,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const columns: Column[] = [
  { name: "id", type: "long" },
  { name: "text", type: "string" },
];
const rowsOf = (version: number, count: number): TextRow[] =>
  Array.from({ length: count }, (_, id) => [String(id), `v${version} ${id}`]);
const made = (version: number, count = 300, more: Partial<VersionRows> = {}): VersionRows => ({
  ...versionOf({ version, columns, rows: rowsOf(version, count) }),
  ...more,
});
const request = { target: "t", mode: "replace", key: ["id"] } as const;

describe("copies in DynamoDB", () => {
  let server: DynamoServer;
  let sink: Sink;
  const open = async (more: Record<string, unknown> = {}): Promise<Sink> =>
    (await definition.load()).open(
      definition.options.parse({ table: "own", endpoint: server.endpoint, credentials, ...more }),
      { connection: "online", folder: "." },
    );
  beforeAll(async () => {
    server = await startDynamo();
    await server.table("own");
    sink = await open();
  });
  afterAll(async () => {
    await sink[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  const items = async (prefix: string): Promise<string[]> => {
    const found: string[] = [];
    let from: Record<string, never> | undefined;
    do {
      const page = await server.client.send(
        new ScanCommand({
          TableName: "own",
          ConsistentRead: true,
          ...(from === undefined ? {} : { ExclusiveStartKey: from }),
        }),
      );
      found.push(
        ...(page.Items ?? [])
          .map((item) => `${item["pk"]!.S} ${item["sk"]!.S}`)
          .filter((name) => name.startsWith(prefix)),
      );
      from = page.LastEvaluatedKey as typeof from;
    } while (from !== undefined);
    return found.toSorted();
  };

  test("items that a busy table leaves over are sent and asked for again", async () => {
    await using busy = await startBusy(server.port);
    await using slow = await open({ endpoint: busy.endpoint });
    expect(await slow.publish(made(1), { ...request, target: "busy" })).toEqual({ status: "published", rows: 300 });
    const keys = Array.from({ length: 300 }, (_, id) => [BigInt(id)]);
    const { rows } = await slow.get!({ target: "busy", keys });
    expect(rows.map((row) => row?.["text"])).toEqual(rowsOf(1, 300).map(([, text]) => text));
    // The fault fired.
    expect(busy.left.writes).toBeGreaterThan(100);
    expect(busy.left.reads).toBeGreaterThan(100);
  });

  test("the smoke command passes", async () => {
    const more = JSON.stringify({ endpoint: server.endpoint, credentials });
    const { stdout } = await promisify(execFile)(process.execPath, ["scripts/smoke.ts", "dynamodb", "own", more]);
    expect(stdout).toMatch(/version 1: 2000 rows[^]*version 2: 1500 rows[^]*version 3: 0 rows/);
    expect(stdout).not.toContain(secret);
  });

  test("the version before stays for readers, and goes once its time is over", async () => {
    await sink.publish(made(1), request);
    await sink.publish(made(2), request);
    expect((await items("r#t#1-")).length).toBe(300);
    await using hasty = await open({ keep_s: 1 });
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await hasty.publish(made(3), request);
    expect(await items("r#t#1-")).toEqual([]);
    expect((await items("r#t#2-")).length).toBe(300);
    expect((await items("t#t")).length).toBe(3);
  });

  test("after an erasure no version before is left", async () => {
    await sink.publish(made(3, 299, { erasures: 1 }), request);
    expect((await items("r#t#")).length).toBe(299);
    expect((await sink.get!({ target: "t", keys: [[299n], [1n]] })).rows).toEqual([
      undefined,
      { id: 1n, text: "v3 1" },
    ]);
  });

  test("what a writer that died has left is removed, and one that only slept cannot switch to it", async () => {
    let release: () => void = () => undefined;
    let reached: () => void = () => undefined;
    const waiting = new Promise<void>((resolve) => (reached = resolve));
    const until = new Promise<void>((resolve) => (release = resolve));
    const slow = versionOf({
      version: 6,
      columns,
      rows: rowsOf(6, 500),
      async before(chunk) {
        if (chunk !== 3) return;
        reached();
        await until;
      },
    });
    await using sleeper = await open();
    const outcome = sleeper.publish(slow, { ...request, target: "s" }).catch((error: unknown) => error);
    await waiting;
    const [record] = (await items("t#s")).map((name) => name.split(" "));
    const state = JSON.stringify({ buckets: 2, started: Date.now() - 2 * 24 * 3600_000 });
    await server.client.send(
      new PutItemCommand({
        TableName: "own",
        Item: { pk: { S: record![0]! }, sk: { S: record![1]! }, state: { S: state } },
      }),
    );
    await sink.publish(made(7), { ...request, target: "s" });
    expect(await items("r#s#6-")).toEqual([]);
    release();
    expect(await outcome).toMatchObject({ code: "conflict" });
    expect((await sink.get!({ target: "s", keys: [[1n]] })).version).toBe(7);
    expect(await items("r#s#6-")).toEqual([]);
  });

  test("keys that several rows have, keys and rows that are too long", async () => {
    const target = "wrong";
    const twice = versionOf({ version: 8, columns, rows: [...rowsOf(8, 60), ["3", "again"]] });
    await expect(sink.publish(twice, { ...request, target })).rejects.toMatchObject({
      code: "usage",
      message: expect.stringContaining('["3"]') as string,
    });
    const long = versionOf({ version: 8, columns, rows: [["1", "x".repeat(400_000)]] });
    await expect(sink.publish(long, { ...request, target })).rejects.toMatchObject({ code: "value" });
    const longKey = versionOf({ version: 8, columns, rows: [["1", "é".repeat(600)]] });
    await expect(sink.publish(longKey, { target, mode: "replace", key: ["text"] })).rejects.toMatchObject({
      code: "value",
    });
    expect(await items("r#wrong")).toEqual([]);
    await expect(sink.get!({ target, keys: [[1n]] })).rejects.toMatchObject({ code: "not-found" });
  });
});

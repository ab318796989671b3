import { Cluster, Redis } from "ioredis";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Column, Sink, SinkDefinition, VersionRows } from "../../src/core/index.ts";
import definition from "../../src/sinks/redis/index.ts";
import { sinkContract } from "../contracts/sink.ts";
import { versionOf, type TextRow } from "../contracts/support/versions.ts";
import { startRedis, startRedisCluster, type RedisServer } from "../services/redis.ts";
import { startCuttingProxy } from "./cutting-proxy.ts";

/** Numbers as the text that they are written with. */
const asText = (line: string): Record<string, string | null> =>
  Object.fromEntries(
    Object.entries(
      JSON.parse(line, (_, value: unknown, context?: { source?: string }) =>
        typeof value === "number" ? context!.source : typeof value === "boolean" ? String(value) : value,
      ) as Record<string, string | null>,
    ),
  );

/** What another client sees, by the layout that is documented. */
async function rowsSeen(client: Redis | Cluster, target: string): Promise<Record<string, string | null>[] | undefined> {
  const text = await client.get(`millrace:{${target}}:current`);
  if (text === null) return undefined;
  const { generation, buckets } = JSON.parse(text) as { generation: string; buckets: number };
  const rows: Record<string, string | null>[] = [];
  for (let bucket = 0; bucket < buckets; bucket++) {
    const fields = await client.hgetall(`millrace:${target}:${generation}:${bucket}`);
    for (const [field, line] of Object.entries(fields)) if (field !== "") rows.push(asText(line));
  }
  return rows;
}

const password = "s3cret-canary-of-redis";

sinkContract({
  name: "redis",
  definition: definition as unknown as SinkDefinition,
  cuts: true,
  async start() {
    const server = await startRedis();
    const rights = ["~millrace:*", "+@read", "+@write", "+@connection", "+eval"];
    await server.command("ACL", "SETUSER", "writer", "on", `>${password}`, ...rights);
    await server.command("ACL", "SETUSER", "reader", "on", `>${password}`, "~millrace:*", "+@read", "+@connection");
    const proxy = await startCuttingProxy(server.port);
    const client = new Redis({ port: server.port });
    const options = { host: "127.0.0.1", port: proxy.port, username: "writer", password };
    return {
      options,
      secrets: [password],
      wrong: [
        { what: "password", options: { ...options, password: "another-c4nary" }, code: "authentication" },
        { what: "a user that may only read", options: { ...options, username: "reader" }, code: "permission" },
        { what: "keys that are not ours", options: { ...options, prefix: "other:" }, code: "permission" },
        { what: "nobody listens", options: { ...options, port: 1 }, code: "unreachable" },
        { what: "a database that there is not", options: { ...options, database: 9999 }, code: "config" },
      ],
      rows: (target) => rowsSeen(client, target),
      cut: (requests) => proxy.cut(requests),
      async [Symbol.asyncDispose]() {
        client.disconnect();
        await proxy[Symbol.asyncDispose]();
        await server[Symbol.asyncDispose]();
      },
    };
  },
});

sinkContract({
  name: "redis cluster",
  definition: definition as unknown as SinkDefinition,
  async start() {
    const cluster = await startRedisCluster();
    const nodes = cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port }));
    const client = new Cluster(nodes);
    return {
      options: { nodes: nodes.slice(0, 1).map(({ host, port }) => `${host}:${port}`) },
      wrong: [
        {
          what: "one server of a cluster",
          options: { host: "127.0.0.1", port: nodes[0]!.port, prefix: "{a}x" },
          code: "config",
        },
      ],
      rows: (target) => rowsSeen(client, target),
      async [Symbol.asyncDispose]() {
        client.disconnect();
        await once(client, "end");
        await cluster[Symbol.asyncDispose]();
      },
    };
  },
});

const columns: Column[] = [
  { name: "id", type: "long" },
  { name: "text", type: "string" },
];
const rowsOf = (version: number, count: number): TextRow[] =>
  Array.from({ length: count }, (_, id) => [String(id), `v${version} ${id}`]);
const made = (version: number, count = 2000, more: Partial<VersionRows> = {}): VersionRows => ({
  ...versionOf({ version, columns, rows: rowsOf(version, count) }),
  ...more,
});
const request = { target: "t", mode: "replace", key: ["id"] } as const;

describe("copies in Redis", () => {
  let server: RedisServer;
  let client: Redis;
  let sink: Sink;
  const open = async (more: Record<string, unknown> = {}): Promise<Sink> =>
    (await definition.load()).open(definition.options.parse({ url: `redis://127.0.0.1:${server.port}/2`, ...more }), {
      connection: "online",
      folder: ".",
    });
  beforeAll(async () => {
    server = await startRedis();
    client = new Redis({ port: server.port, db: 2 });
    sink = await open({ keep_s: 50 });
  });
  afterAll(async () => {
    await sink[Symbol.asyncDispose]();
    client.disconnect();
    await server[Symbol.asyncDispose]();
  });
  const keys = async (): Promise<string[]> => (await client.keys("*")).toSorted();
  const current = async (target = "t"): Promise<{ generation: string; buckets: number }> =>
    JSON.parse((await client.get(`millrace:{${target}}:current`))!) as { generation: string; buckets: number };

  test("rows are spread over buckets; the version before expires, and nothing else is left", async () => {
    await sink.publish(made(1), request);
    const first = await current();
    expect(first.buckets).toBe(8);
    await sink.publish(made(2), request);
    const second = await current();
    for (let bucket = 0; bucket < 8; bucket++) {
      const left = await client.ttl(`millrace:t:${first.generation}:${bucket}`);
      expect(left).toBeGreaterThan(0);
      expect(left).toBeLessThanOrEqual(50);
      expect(await client.ttl(`millrace:t:${second.generation}:${bucket}`)).toBe(-1);
    }
    expect(await client.hkeys("millrace:{t}:generations")).toEqual([second.generation]);
    expect((await keys()).length).toBe(8 + 8 + 2);
  });

  test("after an erasure the version before is gone at once", async () => {
    const before = await current();
    await sink.publish(made(2, 1999, { erasures: 1 }), request);
    const now = await current();
    expect((await keys()).filter((key) => key.includes(before.generation))).toEqual([]);
    expect((await sink.get!({ target: "t", keys: [[1999n], [1998n]] })).rows).toEqual([
      undefined,
      { id: 1998n, text: "v2 1998" },
    ]);
    expect(now.generation).not.toBe(before.generation);
  });

  test("what a writer that died has left is removed by the next, and one that only slept cannot switch to it", async () => {
    await sink.publish(made(5), request);
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
    const outcome = sleeper.publish(slow, request).catch((error: unknown) => error);
    await waiting;
    // As if it had begun the day before yesterday.
    const begun = Object.entries(await client.hgetall("millrace:{t}:generations")).find(([name]) =>
      name.startsWith("6-"),
    )!;
    const old = { ...(JSON.parse(begun[1]) as object), started: Date.now() - 2 * 24 * 3600_000 };
    await client.hset("millrace:{t}:generations", begun[0], JSON.stringify(old));
    await sink.publish(made(7), request);
    expect((await keys()).filter((key) => key.includes(begun[0]))).toEqual([]);
    release();
    expect(await outcome).toMatchObject({ code: "conflict" });
    expect((await sink.get!({ target: "t", keys: [[1n]] })).version).toBe(7);
  });

  test("several rows with one key are refused, and so is none at all", async () => {
    const twice = versionOf({ version: 8, columns, rows: [...rowsOf(8, 10), ["3", "again"]] });
    await expect(sink.publish(twice, request)).rejects.toMatchObject({
      code: "usage",
      message: expect.stringContaining("1 rows") as string,
    });
    const absent = versionOf({ version: 8, columns: [{ name: "id", type: "long" }], rows: [["1"], [null]] });
    await expect(sink.publish(absent, request)).rejects.toMatchObject({ code: "usage", where: { column: "id" } });
    await expect(sink.publish(made(8), { ...request, key: [] })).rejects.toMatchObject({ code: "usage" });
    expect((await sink.get!({ target: "t", keys: [[3n]] })).version).toBe(7);
  });

  test("keys are one however they are written", async () => {
    const typed: Column[] = [
      { name: "d", type: "decimal(10,4)" },
      { name: "x", type: "double" },
      { name: "u", type: "uuid" },
    ];
    const rows: TextRow[] = [
      ["1.5000", "0.1", "6f9619ff-8b86-d011-b42d-00cf4fc964ff"],
      ["-0.0500", "1e20", "6f9619ff-8b86-d011-b42d-00cf4fc964aa"],
    ];
    await sink.publish(versionOf({ version: 1, columns: typed, rows }), {
      target: "k",
      mode: "replace",
      key: ["d", "x", "u"],
    });
    const wanted = [
      ["1.5", 0.1, "6F9619FF-8B86-D011-B42D-00CF4FC964FF"],
      ["-.05", 1e20, "6f9619ff-8b86-d011-b42d-00cf4fc964aa"],
      ["1.5", 0.2, "x"],
    ];
    const found = (await sink.get!({ target: "k", keys: wanted })).rows;
    expect(found.map((row) => row?.["d"])).toEqual(["1.5000", "-0.0500", undefined]);
  });

  test("rows that the server gave up are missed, and made up for by the next publish", async () => {
    await sink.publish(made(10), request);
    const { generation } = await current();
    await client.del(`millrace:t:${generation}:3`);
    const all = Array.from({ length: 2000 }, (_, id) => [BigInt(id)]);
    await expect(sink.get!({ target: "t", keys: all })).rejects.toMatchObject({
      code: "corrupt",
      hint: expect.stringContaining("noeviction") as string,
    });
    expect(await sink.publish(made(10), request)).toMatchObject({ status: "published" });
    expect((await sink.get!({ target: "t", keys: all })).rows.every((row) => row !== undefined)).toBe(true);
  });

  test("a full server refuses with its code, and the copy before stays", async () => {
    await using full = await startRedis("--maxmemory", "6mb", "--maxmemory-policy", "noeviction");
    await using other = await (
      await definition.load()
    ).open(definition.options.parse({ port: full.port }), { connection: "online", folder: "." });
    await other.publish(made(1, 100), request);
    const large = versionOf({
      version: 2,
      columns,
      rows: Array.from({ length: 2000 }, (_, id): TextRow => [String(id), "x".repeat(5000)]),
    });
    await expect(other.publish(large, request)).rejects.toMatchObject({ code: "full" });
    expect((await other.get!({ target: "t", keys: [[5n]] })).rows).toEqual([{ id: 5n, text: "v1 5" }]);
    // What it had written is gone, so that there is room again.
    expect((await full.command("KEYS", "millrace:t:2-*")).trim()).toBe("");
  });

  test("a server that comes back is used again, without its rows too", async () => {
    await sink.publish(made(20, 10), request);
    await client.flushall();
    await expect(sink.get!({ target: "t", keys: [[1n]] })).rejects.toMatchObject({ code: "not-found" });
    expect(await sink.publish(made(20, 10), request)).toMatchObject({ status: "published" });
    await client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    expect((await sink.get!({ target: "t", keys: [[1n]] })).rows).toHaveLength(1);
  });
});

import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Part, ReadRequest, Source } from "../../src/core/index.ts";
import { startMariadb, type Mariadb } from "../services/mariadb.ts";
import { errorOf, openMysql, openShop, readAll } from "./mysql-support.ts";

let server: Mariadb;

beforeAll(async () => {
  server = await startMariadb();
  await server.run(
    "CREATE TABLE many (id int PRIMARY KEY, t varchar(100) NOT NULL)",
    "INSERT INTO many SELECT seq, REPEAT(CHAR(65 + seq MOD 26), 60) FROM seq_1_to_50000",
    "ANALYZE TABLE many",
  );
});
afterAll(() => server.stop());

/** Reads a part as far as it goes. `onChunk` is called after each chunk; `rows` is what the payload counted in the end. */
async function drain(
  source: Source,
  part: Part,
  request: ReadRequest,
  onChunk?: (bytes: number) => Promise<unknown>,
): Promise<{ text: string; rows: number }> {
  const payload = await source.read(part, request, {});
  if (payload.form !== "bytes") throw new Error(payload.form);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of payload.chunks) {
    chunks.push(chunk);
    bytes += chunk.byteLength;
    await onChunk?.(bytes);
  }
  return { text: Buffer.concat(chunks).toString(), rows: payload.rows!() };
}

/** A relay to the server that can be cut after a number of bytes of its answers, or fall silent. */
async function startRelay(): Promise<{
  port: number;
  /** Bytes that went from the server to the client. */
  passed(): number;
  cutAfter(bytes: number): void;
  silence(afterBytes?: number): void;
  close(): Promise<void>;
}> {
  let [passed, limit, audible] = [0, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  const sockets = new Set<Socket>();
  const relay = createServer((client) => {
    const upstream = connect(server.port, server.host);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => [client, upstream].forEach((other) => other.destroy()));
    }
    client.on("data", (bytes) => upstream.write(bytes));
    upstream.on("data", (bytes) => {
      if (passed >= audible) return;
      const rest = limit - passed;
      const part = bytes.subarray(0, Math.max(0, rest));
      passed += part.length;
      if (!client.write(part)) {
        upstream.pause();
        client.once("drain", () => upstream.resume());
      }
      if (part.length < bytes.length) client.end();
    });
  });
  await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
  return {
    port: (relay.address() as AddressInfo).port,
    passed: () => passed,
    cutAfter: (bytes) => (limit = passed + bytes),
    silence: (afterBytes = 0) => (audible = passed + afterBytes),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => relay.close(resolve));
    },
  };
}

const throughRelay = (port: number, options: Record<string, unknown> = {}): Promise<Source> =>
  openMysql({
    host: "127.0.0.1",
    port,
    user: server.user,
    password: server.password,
    database: "shop",
    ssl: "disable",
    ...options,
  });

describe("a connection that is lost", () => {
  test("a part whose connection was ended is an error, and is read again over the other reader of the same moment", async () => {
    await using source = await openShop(server, { connections: 2 });
    const request = { stream: "many", partBytes: 1_000_000 };
    const plan = await source.plan(request, {});
    expect(plan.parts.length).toBeGreaterThan(3);
    const query = { query: "SELECT a.id, b.t FROM many AS a, many AS b WHERE a.id <= 2000" };
    const long = await source.plan(query, {});
    let killed = false;
    const error = await errorOf(() =>
      drain(source, long.parts[0]!, query, async () => {
        if (killed) return;
        killed = true;
        const [row] = await server.query(
          "SELECT ID AS id FROM information_schema.PROCESSLIST WHERE INFO LIKE '%AS a, many AS b%' AND USER = 'reader'",
        );
        await server.query(`KILL ${row!["id"]}`);
      }),
    );
    expect(error).toMatchObject({ code: "unreachable", temporary: true });
    expect((await errorOf(() => drain(source, long.parts[0]!, query))).code).toBe("conflict");

    // One of the two readers of the other plan goes.
    const idle = await server.query(
      "SELECT ID AS id FROM information_schema.PROCESSLIST WHERE USER = 'reader' ORDER BY ID",
    );
    expect(idle).toHaveLength(2);
    await server.query(`KILL ${idle[0]!["id"]}`);
    await sleep(50);
    let rows = 0;
    for (const part of plan.parts) rows += (await drain(source, part, request)).rows;
    expect(rows).toBe(50_000);
  });

  test("an answer that is cut anywhere never looks complete", async () => {
    const relay = await startRelay();
    const request = { stream: "many", columns: ["id", "t"] };
    const whole = await (async () => {
      await using source = await throughRelay(relay.port);
      const plan = await source.plan(request, {});
      const before = relay.passed();
      await drain(source, plan.parts[0]!, request);
      return relay.passed() - before;
    })();
    const cuts = [
      0,
      1,
      4,
      5,
      30,
      100,
      150,
      1_000,
      65_536,
      1_000_003,
      whole - 100,
      whole - 12,
      whole - 9,
      whole - 5,
      whole - 1,
    ];
    for (const cut of cuts) {
      await using source = await throughRelay(relay.port);
      const plan = await source.plan(request, {});
      relay.cutAfter(cut);
      const error = await errorOf(() => drain(source, plan.parts[0]!, request));
      expect([cut, error.code, error.temporary]).toEqual([cut, "unreachable", true]);
      relay.cutAfter(Number.POSITIVE_INFINITY);
    }
    await relay.close();
  });

  test("a server that falls silent is given up after `readTimeoutMs`", async () => {
    const relay = await startRelay();
    await using source = await throughRelay(relay.port, { readTimeoutMs: 300 });
    const request = { query: "SELECT a.id, b.t FROM many AS a, many AS b WHERE a.id <= 200" };
    const plan = await source.plan(request, {});
    const error = await errorOf(() =>
      drain(source, plan.parts[0]!, request, async (bytes) => {
        if (bytes > 1_000_000) relay.silence();
      }),
    );
    expect(error).toMatchObject({ code: "timeout", temporary: true, hint: expect.stringContaining("readTimeoutMs") });
    await relay.close();
  });

  test("so is one that does not answer while a run is planned", async () => {
    for (const afterBytes of [0, 150, 250, 300, 350, 400, 500]) {
      const relay = await startRelay();
      await using source = await throughRelay(relay.port, { readTimeoutMs: 200, connectTimeoutMs: 200 });
      relay.silence(afterBytes);
      const error = await errorOf(() => source.plan({ query: "SELECT id FROM many" }, {}));
      expect(error).toMatchObject({ code: "timeout", temporary: true, hint: expect.stringContaining("TimeoutMs`") });
      await relay.close();
    }
  });

  test("a port that never says a word is given up after `connectTimeoutMs`", async () => {
    const mute = createServer(() => undefined);
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
    await using source = await throughRelay((mute.address() as AddressInfo).port, { connectTimeoutMs: 200 });
    expect(await errorOf(() => source.check())).toMatchObject({ code: "timeout", temporary: true });
    mute.close();
  });

  test("a server that is killed, and comes back", async () => {
    await using source = await openShop(server);
    const request = { query: "SELECT a.id, b.t FROM many AS a, many AS b WHERE a.id <= 500" };
    const plan = await source.plan(request, {});
    let killed = false;
    const error = await errorOf(() =>
      drain(source, plan.parts[0]!, request, async () => {
        if (!killed) await server.kill();
        killed = true;
      }),
    );
    expect(error).toMatchObject({ code: "unreachable", temporary: true });
    expect(await errorOf(() => source.plan(request, {}))).toMatchObject({ code: "unreachable", temporary: true });
    await server.start();
    expect((await readAll(source, { stream: "many" })).rows).toHaveLength(50_000);
  });
});

describe("a slow consumer", () => {
  test("keeps the server waiting, not the memory growing", async () => {
    const relay = await startRelay();
    await using source = await throughRelay(relay.port);
    const request = { query: "SELECT a.id, b.t FROM many AS a, many AS b WHERE a.id <= 100" };
    const plan = await source.plan(request, {});
    const payload = await source.read(plan.parts[0]!, request, {});
    if (payload.form !== "bytes") throw new Error(payload.form);
    const chunks = payload.chunks[Symbol.asyncIterator]();
    expect((await chunks.next()).done).toBe(false);
    await sleep(300);
    const settled = relay.passed();
    await sleep(300);
    expect(relay.passed()).toBe(settled);
    // Five million rows of seventy bytes would be 350 MB.
    expect(settled).toBeLessThan(16_000_000);
    await chunks.return?.();
    expect((await drain(source, plan.parts[0]!, request)).rows).toBe(5_000_000);
    await relay.close();
  });
});

describe("limits and locks", () => {
  test("a statement beyond `statementTimeoutMs` ends with its reason", async () => {
    await using source = await openShop(server, { statementTimeoutMs: 200 });
    const request = { query: "SELECT COUNT(*) AS n FROM many AS a, many AS b WHERE a.t < b.t" };
    const plan = await source.plan(request, {});
    const error = await errorOf(() => drain(source, plan.parts[0]!, request));
    expect(error).toMatchObject({ code: "timeout", hint: expect.stringContaining("statementTimeoutMs") });
  });

  test("a table that somebody keeps locked is waited for as long as `lockTimeoutMs` says", async () => {
    await server.run("CREATE TABLE locked (id int)", "LOCK TABLES locked WRITE");
    await using source = await openShop(server, { lockTimeoutMs: 1_000 });
    const plan = await source.plan({ stream: "locked" }, {});
    const error = await errorOf(() => drain(source, plan.parts[0]!, { stream: "locked" }));
    await server.run("UNLOCK TABLES");
    expect(error).toMatchObject({ code: "timeout", temporary: true, hint: expect.stringContaining("lockTimeoutMs") });
    expect((await readAll(source, { stream: "locked" })).rows).toEqual([]);
  });

  test("a table that is altered between plan and read: the plan no longer holds", async () => {
    await server.run("CREATE TABLE altered (id int PRIMARY KEY)", "INSERT INTO altered VALUES (1)");
    await using source = await openShop(server);
    const plan = await source.plan({ stream: "altered" }, {});
    await server.run("ALTER TABLE altered ADD COLUMN v int, ALGORITHM = COPY");
    expect((await errorOf(() => drain(source, plan.parts[0]!, { stream: "altered" }))).code).toBe("conflict");
    const { rows } = await readAll(source, { stream: "altered" });
    expect(rows).toEqual([["1", null]]);
  });

  test("no more connections to be had", async () => {
    await server.run(
      "CREATE USER 'single'@'%' IDENTIFIED BY 'single-secret' WITH MAX_USER_CONNECTIONS 2",
      "GRANT ALL ON shop.* TO 'single'@'%'",
    );
    const options = {
      host: server.host,
      port: server.port,
      user: "single",
      password: "single-secret",
      database: "shop",
    };
    await using source = await openMysql({ ...options, connections: 8 });
    // Fewer than wanted will do.
    expect((await readAll(source, { stream: "many", partBytes: 500_000 })).rows).toHaveLength(50_000);
    await using second = await openMysql(options);
    await using third = await openMysql(options);
    await second.plan({ stream: "many" }, {});
    expect(await errorOf(() => third.check())).toMatchObject({ code: "limit", temporary: true });
  });
});

describe("a source only reads", () => {
  test.each([
    "DELETE FROM many",
    "SELECT 1) AS x; DELETE FROM many; SELECT * FROM (SELECT 1",
    "SELECT * FROM many INTO OUTFILE '/tmp/millrace-outfile'",
    "UPDATE many SET t = ''",
    "",
  ])("`%s` is refused", async (query) => {
    await using source = await openShop(server);
    const error = await errorOf(() => readAll(source, { query }));
    expect(error.code).toBe("config");
    expect((await readAll(source, { query: "SELECT COUNT(*) AS n FROM many WHERE t <> ''" })).rows).toEqual([
      ["50000"],
    ]);
  });

  test("a function that writes is refused by the session", async () => {
    await server.run(
      "CREATE TABLE written (n int)",
      "CREATE FUNCTION scribble() RETURNS int MODIFIES SQL DATA BEGIN INSERT INTO written VALUES (1); RETURN 1; END",
    );
    await using source = await openShop(server);
    const error = await errorOf(() => readAll(source, { query: "SELECT scribble() AS n" }));
    expect(error.code).toBe("permission");
    expect(await server.query("SELECT * FROM written")).toEqual([]);
  });

  test("what the user may not see or read", async () => {
    await server.run(
      "CREATE TABLE secret (id int PRIMARY KEY, open int, hidden int)",
      "INSERT INTO secret VALUES (1, 2, 3)",
      "CREATE USER 'partial'@'%' IDENTIFIED BY 'partial-secret'",
      "GRANT SELECT (id, open) ON shop.secret TO 'partial'@'%'",
      "CREATE VIEW broken AS SELECT hidden FROM secret",
      "ALTER TABLE secret RENAME COLUMN hidden TO concealed",
    );
    await using source = await openMysql({
      host: server.host,
      port: server.port,
      user: "partial",
      password: "partial-secret",
      database: "shop",
    });
    expect((await readAll(source, { stream: "secret" })).rows).toEqual([["1", "2"]]);
    expect((await errorOf(() => readAll(source, { query: "SELECT concealed FROM secret" }))).code).toBe("permission");
    expect((await errorOf(() => readAll(source, { stream: "many" }))).code).toBe("permission");
    await using full = await openShop(server);
    expect(await errorOf(() => readAll(full, { stream: "broken" }))).toMatchObject({
      code: "permission",
      hint: expect.stringContaining("SHOW CREATE VIEW"),
    });
  });
});

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect, createServer as createTcpServer, type Socket } from "node:net";
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  isMillraceError,
  parseJson,
  retry,
  safeFetch,
  type FetchOptions,
  type MillraceError,
} from "../../src/core/index.ts";
import { guardConnection } from "../../src/core/fetch.ts";
import { startNameServer, type NameServer } from "./dns.ts";

type Handler = (request: IncomingMessage, response: ServerResponse, socket: Socket) => void;
const routes: Record<string, Handler> = {};
const server = createServer((request, response) => {
  const handler = routes[new URL(request.url!, "http://x").pathname];
  if (handler) handler(request, response, request.socket);
  else response.writeHead(404).end();
});
let port: number;
let names: NameServer;
let flips: string[] = [];
beforeAll(async () => {
  server.listen(0, "0.0.0.0");
  await once(server, "listening");
  port = (server.address() as { port: number }).port;
  names = await startNameServer((name, family) => {
    if (family === 6) return [];
    if (name === "flip.test") return [flips.length > 1 ? flips.shift()! : flips[0]!];
    if (name === "metadata.test") return ["169.254.169.254"];
    return name.endsWith(".test") ? ["127.0.0.1"] : [];
  });
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await names[Symbol.asyncDispose]();
});

const options = (more: FetchOptions = {}): FetchOptions => ({
  resolve: names.resolve,
  allowHosts: [`*.test:${port}`],
  ...more,
});
const at = (path: string, host = "a.test"): string => `http://${host}:${port}${path}`;

async function refusal(action: () => Promise<unknown>): Promise<MillraceError> {
  try {
    await action();
  } catch (error) {
    if (isMillraceError(error)) return error;
    throw error;
  }
  throw new Error("it was not refused");
}
const textOf = async (path: string, more: FetchOptions = {}): Promise<string> =>
  (await safeFetch(at(path), options(more))).text();

describe("names that change their address", () => {
  test("the address that was checked is the one that is called, whatever the name says by then", async () => {
    const other = createServer((_request, response) => response.end("the machine itself"));
    const checked = createServer((_request, response) => response.end("the checked one"));
    other.listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port: shared } = other.address() as { port: number };
    checked.listen(shared, "127.0.0.2");
    await once(checked, "listening");
    flips = ["127.0.0.2", "127.0.0.1"];
    names.asked.length = 0;
    const response = await safeFetch(`http://flip.test:${shared}/`, {
      ...options(),
      allowHosts: [`flip.test:${shared}`],
    });
    expect(await response.text()).toBe("the checked one");
    expect(names.asked.filter((question) => question.startsWith("flip.test")).length).toBe(2);
    // Without the pin the name would have led elsewhere.
    expect(await names.resolve("flip.test")).toEqual([{ address: "127.0.0.1", family: 4 }]);
    other.close();
    checked.close();
  });

  test("each request checks anew", async () => {
    routes["/flip"] = (_request, response) => response.end("x");
    flips = ["127.0.0.1", "169.254.169.254"];
    const first = await safeFetch(at("/flip", "flip.test"), options());
    expect(await first.text()).toBe("x");
    expect((await refusal(() => safeFetch(at("/flip", "flip.test"), options()))).code).toBe("permission");
  });

  test("a connection that leads elsewhere ends before a byte is sent", async () => {
    let received = 0;
    const closed: Promise<unknown>[] = [];
    const trap = createTcpServer((socket) => {
      socket.on("data", (chunk) => (received += chunk.length)).on("error", () => undefined);
      closed.push(once(socket, "close"));
    }).listen(0, "127.0.0.1");
    await once(trap, "listening");
    const socket = connect((trap.address() as { port: number }).port, "127.0.0.1");
    guardConnection(socket, {
      url: new URL("http://public.test/"),
      addresses: [{ address: "93.184.216.34", family: 4 }],
    });
    socket.write("secret");
    const [error] = (await once(socket, "error")) as [MillraceError];
    expect(error.code).toBe("permission");
    await once(trap.close(), "close");
    await Promise.all(closed);
    expect(received).toBe(0);
  });
});

describe("redirects", () => {
  const seen: { path: string; method: string; headers: IncomingMessage["headers"]; body: string }[] = [];
  const record: Handler = (request, response) => {
    const chunks: Buffer[] = [];
    request
      .on("data", (chunk: Buffer) => chunks.push(chunk))
      .on("end", () => {
        seen.push({
          path: request.url!,
          method: request.method!,
          headers: request.headers,
          body: Buffer.concat(chunks).toString(),
        });
        response.end("there");
      });
  };

  test.each([
    ["http://127.0.0.1/", "permission"],
    ["http://[::1]/", "permission"],
    ["http://169.254.169.254/latest/meta-data/", "permission"],
    ["http://metadata.test/", "permission"],
    ["http://0x7f.1:8080/", "permission"],
    ["//127.0.0.1/x", "permission"],
    ["file:///etc/passwd", "config"],
    ["gopher://127.0.0.1:6379/_", "config"],
    ["http://user:password@b.test/", "config"],
    ["http://b.test:22/", "permission"],
  ])("to %s: %s", async (location, code) => {
    routes["/away"] = (_request, response) => response.writeHead(302, { location }).end("body");
    expect((await refusal(() => safeFetch(at("/away"), options()))).code).toBe(code);
  });

  test("another origin learns nothing of who we are; the same one is told again", async () => {
    routes["/there"] = record;
    const headers = { Authorization: "Bearer t", Cookie: "c=1", "X-Api-Key": "k", Accept: "text/csv" };
    routes["/away"] = (_request, response) => response.writeHead(302, { location: at("/there", "b.test") }).end();
    await (await safeFetch(at("/away"), options({ headers }))).text();
    const foreign = seen.pop()!.headers;
    expect(foreign).toMatchObject({ accept: "text/csv", host: `b.test:${port}` });
    for (const name of ["authorization", "cookie", "x-api-key"]) expect(foreign[name]).toBeUndefined();
    routes["/away"] = (_request, response) => response.writeHead(307, { location: "/there" }).end();
    const response = await safeFetch(at("/away"), options({ headers, method: "POST", body: "{}" }));
    expect(await response.text()).toBe("there");
    expect(response.redirects).toEqual([at("/there")]);
    expect(seen.pop()).toMatchObject({
      method: "POST",
      body: "{}",
      headers: { authorization: "Bearer t", "x-api-key": "k" },
    });
    routes["/away"] = (_request, response) => response.writeHead(303, { location: "/there" }).end();
    await (await safeFetch(at("/away"), options({ headers, method: "POST", body: "{}" }))).text();
    expect(seen.pop()).toMatchObject({ method: "GET", body: "" });
  });

  test("a body is not passed on to another host, and redirects end", async () => {
    routes["/away"] = (_request, response) => response.writeHead(308, { location: at("/there", "b.test") }).end();
    const error = await refusal(() => safeFetch(at("/away"), options({ method: "PUT", body: "secret" })));
    expect(error.code).toBe("permission");
    routes["/loop"] = (_request, response) => response.writeHead(302, { location: "/loop" }).end();
    expect((await refusal(() => safeFetch(at("/loop"), options()))).code).toBe("limit");
    const kept = await safeFetch(at("/loop"), options({ maximumRedirects: 0 }));
    expect(kept.status).toBe(302);
    await kept[Symbol.asyncDispose]();
  });
});

describe("bodies", () => {
  const text = "id,name\n1,ann\n".repeat(100);

  test.each([
    ["gzip", gzipSync(text)],
    ["br", brotliCompressSync(text)],
    ["zstd", zstdCompressSync(text)],
    ["identity", Buffer.from(text)],
  ])("%s arrives whole", async (coding, bytes) => {
    routes["/body"] = (_request, response) => response.writeHead(200, { "content-encoding": coding }).end(bytes);
    expect(await textOf("/body")).toBe(text);
  });

  test.each([
    ["gzip", gzipSync(Buffer.alloc(300_000_000))],
    ["br", brotliCompressSync(Buffer.alloc(100_000_000))],
    ["zstd", zstdCompressSync(Buffer.alloc(300_000_000))],
  ])("a bomb of %s is refused while it unpacks", async (coding, bytes) => {
    routes["/bomb"] = (_request, response) => response.writeHead(200, { "content-encoding": coding }).end(bytes);
    const before = process.memoryUsage().rss;
    expect((await refusal(() => textOf("/bomb"))).code).toBe("limit");
    expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000);
  });

  test("too many bytes are refused, said or not", async () => {
    routes["/large"] = (_request, response) =>
      response.writeHead(200, { "content-length": 2_000 }).end(Buffer.alloc(2_000));
    expect((await refusal(() => textOf("/large", { maximumBytes: 1_000 }))).code).toBe("limit");
    routes["/large"] = (_request, response) => {
      response.write(Buffer.alloc(900));
      response.end(Buffer.alloc(900));
    };
    expect((await refusal(() => textOf("/large", { maximumBytes: 1_000 }))).code).toBe("limit");
    expect((await textOf("/large", { maximumBytes: 1_800 })).length).toBe(1_800);
  });

  test.each([
    ["of its length", "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc"],
    ["in chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"],
    ["of nothing", "HTTP/1.1 200 OK\r\ncontent-le"],
    [
      "that is compressed",
      `HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n${gzipSync(text).toString("latin1", 0, 30)}`,
    ],
  ])("a cut body %s is an error", async (_, answer) => {
    routes["/cut"] = (_request, _response, socket) => void socket.end(Buffer.from(answer, "latin1"));
    const error = await refusal(() => textOf("/cut"));
    expect(["unreachable", "parse"]).toContain(error.code);
    expect(error.temporary).toBe(true);
  });

  test("a body that only the end of the connection ends is told apart", async () => {
    routes["/close"] = (_request, _response, socket) => void socket.end("HTTP/1.1 200 OK\r\n\r\nabc");
    const response = await safeFetch(at("/close"), options());
    expect(response.framing).toBe("close");
    expect(await response.text()).toBe("abc");
    routes["/close"] = (_request, response) => response.end("abc");
    expect((await safeFetch(at("/close"), options())).framing).toBe("length");
  });

  test("two lengths, a length beside chunks, huge headers and unknown codings are refused", async () => {
    for (const head of [
      "content-length: 3\r\ncontent-length: 4",
      "content-length: 3\r\ntransfer-encoding: chunked",
      `x: ${"y".repeat(40_000)}`,
      "content-encoding: gzip, gzip",
      "content-encoding: compress",
    ]) {
      routes["/odd"] = (_request, _response, socket) => void socket.end(`HTTP/1.1 200 OK\r\n${head}\r\n\r\nabc`);
      expect(["parse", "unsupported"], head).toContain((await refusal(() => textOf("/odd"))).code);
    }
  });

  test("silence and slowness end at their limits, a slow reader is neither", async () => {
    routes["/silent"] = () => undefined;
    expect((await refusal(() => textOf("/silent", { idleMs: 200 }))).code).toBe("timeout");
    routes["/stuck"] = (_request, response) => void response.write("begin");
    expect((await refusal(() => textOf("/stuck", { idleMs: 200 }))).code).toBe("timeout");
    routes["/drip"] = (request, response) => {
      const timer = setInterval(() => response.write("x"), 20);
      request.socket.once("close", () => clearInterval(timer));
    };
    const error = await refusal(() => textOf("/drip", { deadlineMs: 500, idleMs: 10_000 }));
    expect(error).toMatchObject({ code: "timeout", temporary: true });
    routes["/body"] = (_request, response) => response.end(Buffer.alloc(2_000_000, "x"));
    const response = await safeFetch(at("/body"), options({ idleMs: 2_000 }));
    let total = 0;
    for await (const chunk of response.body()) {
      if (total === 0) await new Promise((resolve) => setTimeout(resolve, 2_500));
      total += chunk.length;
    }
    expect(total).toBe(2_000_000);
  });

  test("the caller's signal ends it, before, during and after the head", async () => {
    expect((await refusal(() => textOf("/silent", { signal: AbortSignal.abort() }))).code).toBe("aborted");
    routes["/stuck"] = (_request, response) => void response.write("begin");
    const controller = new AbortController();
    const response = await safeFetch(at("/stuck"), options({ signal: controller.signal }));
    const error = await refusal(async () => {
      for await (const chunk of response.body()) {
        expect(Buffer.from(chunk).toString()).toBe("begin");
        controller.abort();
      }
    });
    expect(error.code).toBe("aborted");
  });

  test("a reader that leaves early closes the connection", async () => {
    const closed = new Promise((resolve) => {
      routes["/long"] = (request, response) => {
        request.socket.once("close", resolve);
        response.writeHead(200, { "content-encoding": "gzip" });
        response.write(gzipSync(Buffer.from(Array.from({ length: 500_000 }, () => Math.random()).join())));
      };
    });
    const response = await safeFetch(at("/long"), options());
    for await (const chunk of response.body()) if (chunk.length > 0) break;
    await closed;
    await expect(response.text()).rejects.toMatchObject({ code: "internal" });
  });
});

describe("answers", () => {
  test.each([
    [401, "authentication", false],
    [403, "permission", false],
    [404, "not-found", false],
    [418, "unsupported", false],
    [429, "unreachable", true],
    [503, "unreachable", true],
  ])("%d is %s", async (status, code, temporary) => {
    routes["/status"] = (_request, response) => response.writeHead(status, { "retry-after": "7" }).end("{}");
    const response = await safeFetch(at("/status?token=hidden"), options());
    expect(response.retryAfterMs).toBe(7_000);
    const error = await refusal(() => response.expectOk());
    expect(error).toMatchObject({ code, temporary, retryAfterMs: 7_000 });
    expect(error.message).not.toContain("hidden");
  });

  test("`Retry-After` as seconds, as a date, absurd or broken", async () => {
    const waits: [string, (wait: number | undefined) => boolean][] = [
      ["0", (wait) => wait === 0],
      [new Date(Date.now() + 60_000).toUTCString(), (wait) => wait! > 50_000 && wait! <= 60_000],
      ["Wed, 21 Oct 2015 07:28:00 GMT", (wait) => wait === 0],
      ["999999999999", (wait) => wait === 24 * 3600_000],
      ["soon", (wait) => wait === undefined],
    ];
    for (const [value, holds] of waits) {
      routes["/status"] = (_request, response) => response.writeHead(503, { "retry-after": value }).end();
      await using response = await safeFetch(at("/status"), options());
      expect(`${value}: ${holds(response.retryAfterMs)}`).toBe(`${value}: true`);
    }
  });

  test("`retry` waits as long as it is asked to, and gives up where that is too long", async () => {
    let calls = 0;
    routes["/busy"] = (_request, response) => {
      calls++;
      if (calls === 1) response.writeHead(429, { "retry-after": "1" }).end();
      else response.end("done");
    };
    const call = async (): Promise<string> => (await (await safeFetch(at("/busy"), options())).expectOk()).text();
    const started = performance.now();
    expect(await retry(call, { delayMs: 1 })).toBe("done");
    expect(performance.now() - started).toBeGreaterThan(990);
    calls = 0;
    await expect(retry(call, { maximumRetryAfterMs: 500 })).rejects.toMatchObject({ retryAfterMs: 1_000 });
    expect(calls).toBe(1);
  });

  test("JSON is read without loss, and not too deep", async () => {
    routes["/json"] = (_request, response) =>
      response.end('{"id":9007199254740993,"x":1.5,"__proto__":{"admin":true}}');
    const value = (await (await safeFetch(at("/json"), options())).json()) as Record<string, unknown>;
    expect(value["id"]).toBe(9007199254740993n);
    expect(Object.hasOwn(value, "__proto__")).toBe(true);
    expect(({} as Record<string, unknown>)["admin"]).toBeUndefined();
    expect(() => parseJson("[".repeat(100_000) + "]".repeat(100_000))).toThrow(/100 deep/);
    expect(() => parseJson('{"a":')).toThrow(/not JSON/);
    expect(parseJson('"[[[\\"]]"')).toBe('[[["]]');
  });

  test("text that is not what it says is refused", async () => {
    routes["/text"] = (_request, response) => response.end(Buffer.from([0x61, 0xff]));
    expect((await refusal(() => textOf("/text"))).code).toBe("parse");
    routes["/text"] = (_request, response) =>
      response.writeHead(200, { "content-type": 'text/plain; charset="ISO-8859-1"' }).end(Buffer.from([0x61, 0xe9]));
    expect(await textOf("/text")).toBe("aé");
  });

  test("a port where nobody listens is unreachable, and may be tried again", async () => {
    const probe = createTcpServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    const { port: free } = probe.address() as { port: number };
    await once(probe.close(), "close");
    const error = await refusal(() => safeFetch(`http://127.0.0.1:${free}/`, { allowHosts: [`127.0.0.1:${free}`] }));
    expect(error).toMatchObject({ code: "unreachable", temporary: true });
  });
});

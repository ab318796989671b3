import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import clickstream from "../../src/sources/clickstream/index.ts";
import { collecting, type Collecting } from "../support/collecting.ts";

type Row = Record<string, unknown>;
const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());
const start = async (...rest: [Row?, Parameters<typeof collecting>[2]?]): Promise<Collecting> =>
  stack.use(await collecting(clickstream as never, ...rest));
const program = join(import.meta.dirname, "../faults/programs/millrace.ts");
const event = { userId: "u", event: "E" };

const portOf = ({ url }: { url: string }): number => Number(new URL(url).port);
function dial(server: { url: string }): Socket {
  const socket = connect(portOf(server), "127.0.0.1");
  socket.on("error", () => undefined);
  return socket;
}
/** Everything the server says until it hangs up. */
async function said(socket: Socket): Promise<string> {
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
  await once(socket, "close");
  return text;
}
const track = (server: Collecting, body: string, more = ""): string =>
  `POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: Basic ${Buffer.from(`${server.keys["default"]}:`).toString("base64")}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${more}\r\n`;

describe("keys", () => {
  test("are write-only, kept as hashes that only their owner can read, and none is taken for another", async () => {
    const server = await start({ keys: { web: {}, app: { key: "a-key-of-the-configuration" } } });
    const file = join(server.folder, "collect-keys.json");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const text = readFileSync(file, "utf8");
    for (const key of Object.values(server.keys)) expect(text).not.toContain(key);
    expect(server.keys["web"]).toMatch(/^mk_[\w-]{43}$/);
    const wrong = [
      "",
      "mk_",
      "a-key-of-the-configuratio",
      `${server.keys["web"]}x`,
      "__proto__",
      "\u0000",
      "a".repeat(5_000),
    ];
    for (const key of wrong)
      expect(`${key}: ${(await server.post("/v1/track", event, { key })).status}`).toBe(`${key}: 401`);
    for (const path of [
      "/",
      "/admin",
      "/metrics",
      "/v1/query",
      "/collect-keys.json",
      "/v1/track/../../millrace.yaml",
      "/%2e%2e/",
      "/v1/../health/",
      "//v1/track",
    ]) {
      expect(`${path} ${(await fetch(`${server.url}${path}`)).status}`).toBe(`${path} 404`);
    }
    // What can be sent cannot be read: every route answers GET with nothing of the inbox.
    for (const path of ["/v1/track", "/v1/batch", "/mp/collect"]) {
      const answer = await fetch(`${server.url}${path}?key=${server.keys["web"]}`);
      expect([answer.status, answer.headers.get("allow")]).toEqual([405, "POST"]);
    }
    expect(server.server.taken()).toBe(0);
  });

  test("are the keys of their pages: preflight, origin, no credentials, nothing reflected", async () => {
    const server = await start({ keys: { web: { origins: ["https://shop.example"] }, server: {} } });
    const ask = (origin: string, path = "/v1/batch"): Promise<Response> =>
      fetch(`${server.url}${path}`, {
        method: "OPTIONS",
        headers: {
          origin,
          "access-control-request-method": "POST",
          "access-control-request-headers": "authorization,x-evil",
        },
      });
    const yes = await ask("https://shop.example");
    expect(yes.status).toBe(204);
    expect(yes.headers.get("access-control-allow-origin")).toBe("https://shop.example");
    expect(yes.headers.get("vary")).toBe("origin");
    expect(yes.headers.get("access-control-allow-headers")).not.toContain("evil");
    for (const origin of [
      "https://evil.example",
      "https://shop.example.evil.example",
      "http://shop.example",
      "null",
      "https://SHOP.example:8443",
    ]) {
      const no = await ask(origin);
      expect([origin, no.status, no.headers.get("access-control-allow-origin")]).toEqual([origin, 403, null]);
    }
    expect((await ask("https://shop.example", "/nowhere")).status).toBe(404);
    const send = (origin: string, key: string): Promise<Response> =>
      server.post("/v1/track", event, { key: server.keys[key]!, headers: { origin } });
    const sent = await send("https://shop.example", "web");
    expect([
      sent.status,
      sent.headers.get("access-control-allow-origin"),
      sent.headers.get("access-control-allow-credentials"),
    ]).toEqual([200, "https://shop.example", null]);
    expect((await send("https://evil.example", "web")).status).toBe(403);
    expect((await send("https://shop.example", "server")).status).toBe(403);
  });
});

describe("answers", () => {
  test("say nothing of what was sent, and cannot be taken for anything else", async () => {
    const server = await start();
    const mark = "<script>alert(1)</script>";
    const answers = [
      await server.post("/v1/track", mark),
      await server.post(`/${encodeURIComponent(mark)}?q=${mark}`, mark),
      await server.post("/v1/track", event, { key: mark }),
      await server.post("/v1/track", event, { headers: { origin: `https://${encodeURIComponent(mark)}` } }),
      await server.post("/v1/track", event, { headers: { "content-type": `text/html;${encodeURIComponent(mark)}` } }),
      await server.post("/v1/track", event, { headers: { "content-encoding": "br" } }),
      await server.post("/v1/track", { ...event, event: mark }),
      await server.post(`/debug/mp/collect?api_secret=${server.keys["default"]}`, { events: [{ name: mark }] }),
      await fetch(`${server.url}/health`),
    ];
    expect(answers.map(({ status }) => status)).toEqual([400, 404, 401, 403, 415, 415, 200, 200, 200]);
    for (const answer of answers) {
      expect(await answer.text()).not.toMatch(/[<>]|alert/);
      const headers = [...answer.headers].map(([name]) => name);
      expect(headers.filter((name) => !["connection", "content-length", "date", "keep-alive"].includes(name))).toEqual([
        "cache-control",
        "content-type",
        "x-content-type-options",
      ]);
      expect(answer.headers.get("content-type")).toBe("application/json");
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    }
  });

  test("to what is too much are quick, and others are served meanwhile", async () => {
    const server = await start({ keys: { default: {}, slow: { requests_per_second: 0.001 } } });
    // Refused by what it announces: no byte of the body is waited for.
    const announced = dial(server);
    announced.write(track(server, "").replace("Content-Length: 0", "Content-Length: 1000000000"));
    expect(await said(announced)).toMatch(/^HTTP\/1\.1 413 /);
    const chunked = dial(server);
    chunked.write(track(server, "").replace("Content-Length: 0", "Transfer-Encoding: chunked"));
    chunked.write(`a000\r\n${"x".repeat(0xa000)}\r\n`);
    expect(await said(chunked)).toMatch(/^HTTP\/1\.1 413 /);
    const headers = dial(server);
    headers.write(`GET /health HTTP/1.1\r\nHost: x\r\nX-Big: ${"x".repeat(40_000)}\r\n\r\n`);
    expect(await said(headers)).toMatch(/^HTTP\/1\.1 431 /);
    const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024));
    const before = process.memoryUsage().rss;
    expect((await server.post("/v1/batch", bomb, { headers: { "content-encoding": "gzip" } })).status).toBe(413);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
    expect((await server.post("/v1/batch", "no gzip", { headers: { "content-encoding": "gzip" } })).status).toBe(400);
    const key = server.keys["slow"]!;
    expect((await server.post("/v1/track", event, { key })).status).toBe(200);
    const late = await server.post("/v1/track", event, { key });
    expect([late.status, late.headers.get("retry-after")]).toEqual([429, "1"]);
    expect((await server.post("/v1/track", event)).status).toBe(200);
  });

  test("to requests that two servers would read differently are refusals", async () => {
    const server = await start();
    const body = JSON.stringify(event);
    const [both, twice, bare, space] = [
      track(server, body, "Transfer-Encoding: chunked\r\n"),
      track(server, body, `Content-Length: ${body.length + 1}\r\n`),
      track(server, body).replaceAll("\r\n", "\n"),
      track(server, body).replace("Content-Length:", "Content-Length :"),
    ];
    for (const head of [both, twice, bare, space]) {
      const socket = dial(server);
      socket.end(head + body);
      expect(await said(socket)).toMatch(/^HTTP\/1\.1 400 /);
    }
    expect(server.server.taken()).toBe(0);
  });
});

describe("connections", () => {
  test("that are slow, idle or half closed end, and keep nobody else out", async () => {
    const server = await start({}, { headersTimeoutMs: 400, requestTimeoutMs: 800, maxConnections: 40 });
    const [silent, trickling, stuck] = [dial(server), dial(server), dial(server)];
    trickling.write("POST /v1/track HTTP/1.1\r\nHost: x\r\n");
    const drip = setInterval(() => trickling.write("X-A: b\r\n"), 50);
    stuck.write(`${track(server, "x".repeat(100))}{"half":`);
    const halfClosed = dial(server);
    halfClosed.end(`${track(server, "x".repeat(100))}{"half":`);
    const ends = Promise.all([said(silent), said(trickling), said(stuck), said(halfClosed)]);
    // Meanwhile others are served.
    expect((await server.post("/v1/track", event)).status).toBe(200);
    const texts = await ends;
    clearInterval(drip);
    expect(texts[1]).toMatch(/^HTTP\/1\.1 408 /);
    expect(texts[2]).toMatch(/^HTTP\/1\.1 408 /);
    expect(texts[3]).not.toMatch(/^HTTP\/1\.1 200 /);

    const idle: Socket[] = [];
    for (let index = 0; index < 60; index++) {
      const socket = dial(server);
      socket.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
      idle.push(socket);
      await Promise.race([once(socket, "data"), once(socket, "close")]);
    }
    // More connections than there may be: those that are idle have made room.
    await expect.poll(async () => (await server.post("/v1/track", event).catch(() => undefined))?.status).toBe(200);
    for (const socket of idle) socket.destroy();
    expect(server.server.taken()).toBe(2);
  });

  test("forwarded addresses are believed as far as configured proxies wrote them", async () => {
    const forged = { "x-forwarded-for": "6.6.6.6, 198.51.100.7, 10.0.0.2" };
    const plain = await start();
    await plain.post("/v1/track", event, { headers: forged });
    expect((await plain.rows())[0]!["ip"]).toBe("127.0.0.0");
    const behind = await start({}, { proxies: ["127.0.0.1", "10.0.0.0/8"] });
    await behind.post("/v1/track", event, { headers: forged });
    await behind.post("/v1/track", event, { headers: { "x-forwarded-for": "2001:DB8:1:2:3::4" } });
    await behind.post("/v1/track", event, { headers: { "x-forwarded-for": "not an address" } });
    expect((await behind.rows()).map(({ ip }) => ip)).toEqual(["198.51.100.0", "2001:db8:1::", "127.0.0.0"]);
    await expect(collecting(clickstream as never, {}, { proxies: ["10.0.0.0/99"] })).rejects.toMatchObject({
      code: "config",
    });
  });

  test("a full inbox answers 503 with a time, loses nothing, and goes on once there is room", async () => {
    const server = await start({ inbox_max_bytes: 1024 ** 2 });
    const batch = {
      batch: Array.from({ length: 10 }, () => ({ ...event, type: "track", properties: { text: "x".repeat(9_000) } })),
    };
    let taken = 0;
    let answer = await server.post("/v1/batch", batch);
    for (; answer.status === 200; answer = await server.post("/v1/batch", batch)) taken++;
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "5"]);
    expect(taken).toBeGreaterThan(2);
    expect((await fetch(`${server.url}/health`)).status).toBe(503);
    expect(server.said).toEqual([
      expect.stringMatching(/^in: the inbox .* holds the 1048576 bytes it may; senders are told to come again$/),
    ]);
    expect(await server.rows()).toHaveLength(taken * 10);
    // The next run sees that the version has them, and removes them.
    await server.rows();
    await expect.poll(async () => (await server.post("/v1/batch", batch)).status).toBe(200);
    expect(server.said[1]).toBe("in: requests are kept again");
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
    expect(await server.rows()).toHaveLength((taken + 1) * 10);
  });

  test("a request of nothing but commas does not become a hundred thousand rejected records", async () => {
    const server = await start();
    await server.post("/v1/batch", `{"batch":[${"{},".repeat(100_000)}{}]}`);
    const lake = await server.lake();
    await lake.run("all");
    const rejected = await server.rejected();
    expect(rejected).toHaveLength(1_001);
    expect(rejected.map(({ reason }) => reason)).toContain("99001 more records of this request cannot be read");
  });
});

test("on SIGTERM what is under way is finished, and nothing that was answered is lost", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-collect-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const key = "0123456789abcdef";
  await writeFile(
    join(folder, "millrace.yaml"),
    JSON.stringify({
      store: "./lake",
      connections: { in: { source: "clickstream", keys: { k: { key } } } },
      flows: { all: { from: { connection: "in", stream: "*" } } },
    }),
  );
  const child = spawn(process.execPath, [program, "collect", "--json", "--port", "0"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  stack.defer(() => void child.kill("SIGKILL"));
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const { url } = JSON.parse(line.toString()) as { url: string };
  const body = JSON.stringify(event);
  const head = `POST /v1/track?key=${key} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  const before = await fetch(`${url}/v1/track?key=${key}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  expect(before.status).toBe(200);
  const slow = dial({ url });
  slow.write(head + body.slice(0, 5));
  // The server has the connection and the first half once it answers another one.
  await fetch(`${url}/health`);
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await expect
    .poll(() =>
      fetch(`${url}/health`).then(
        () => "open",
        () => "closed",
      ),
    )
    .toBe("closed");
  slow.write(body.slice(5));
  expect(await said(slow)).toMatch(/^HTTP\/1\.1 200 [^]*connection: close/i);
  await exited;
  const { openLake } = await import("../../src/index.ts");
  await using lake = await openLake({ folder });
  await lake.run("all");
  expect((await lake.query('select count(*) as n from "all"')).rows).toEqual([{ n: 2n }]);
});

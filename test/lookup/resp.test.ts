import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readCommand } from "../../src/lookup/resp.ts";
import { serveLookups, type LookupServer } from "../../src/lookup/serve.ts";
import type { Lake } from "../../src/pipeline/index.ts";
import { makePlace, type Place } from "../pipeline/place.ts";
import { requireProgram } from "../services/install.ts";

let place: Place;
let lake: Lake;
let server: LookupServer;
let port: number;
let client: Redis;
const opened = new AsyncDisposableStack();

beforeAll(async () => {
  place = await makePlace();
  await writeFile(join(place.folder, "a.csv"), 'code,day,big,x,t\nJFK,1,9007199254740993,1.5,"ä\r\n""b"\nLAX,2,2,,\n');
  lake = await place.open({ airports: { from: { path: "a*.csv" }, mode: "merge", key: ["code"] } });
  await lake.run("airports");
  const one = opened.use(await lake.lookup("airports"));
  const two = opened.use(await lake.lookup("airports@1", { key: ["code", "day"] }));
  const options = { refreshMs: 0, maxKeys: 3, maxRequestBytes: 1000, redisPort: 0 };
  server = opened.use(await serveLookups([one, two], options));
  port = Number(new URL(server.redisUrl!).port);
  client = new Redis({ port, host: "127.0.0.1" });
  opened.defer(() => client.disconnect());
});
afterAll(async () => {
  await opened.disposeAsync();
  await lake[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const command = (...words: string[]): string =>
  `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`;

/** Sends bytes in pieces, ends, and gives all that came back. */
async function exchange(...pieces: (string | Buffer)[]): Promise<string> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  for (const piece of pieces) {
    await new Promise((resolve) => socket.write(piece, resolve));
    await new Promise((resolve) => setImmediate(resolve));
  }
  socket.end();
  let text = "";
  for await (const chunk of socket as AsyncIterable<Buffer>) text += chunk.toString("utf8");
  return text;
}

describe("lookups for clients of Redis", () => {
  test("rows as over HTTP, nil for what is missing, all of one command from one lookup", async () => {
    const served = (await (await fetch(`${server.url}/v1/lookup/airports?key=JFK&key=LAX`)).json()) as {
      rows: unknown[];
    };
    const [jfk, no, lax] = await client.mget("airports:JFK", "airports:NO", "airports:LAX");
    expect([JSON.parse(jfk!), no, JSON.parse(lax!)]).toEqual([served.rows[0], null, served.rows[1]]);
    expect(jfk).toContain("9007199254740993");
    expect(await client.get("airports:JFK")).toBe(jfk);
    expect(await client.get("airports@1:JFK,1")).toBe(await client.get('airports@1:["JFK",1]'));
    expect(await client.get("airports@1:JFK,2")).toBeNull();
    expect(await client.exists("airports:JFK", "airports:NO")).toBe(1);
  });

  test("fields of a row are its columns", async () => {
    expect(await client.hmget("airports:JFK", "x", "big", "t")).toEqual(["1.5", "9007199254740993", 'ä\r\n"b']);
    expect(await client.hget("airports:LAX", "x")).toBeNull();
    expect(await client.hgetall("airports:LAX")).toEqual({ code: "LAX", day: "2", big: "2" });
    expect(await client.hgetall("airports:NO")).toEqual({});
  });

  test("packed records in database 1, as HTTP gives them", async () => {
    await using packed = Object.assign(new Redis({ port, host: "127.0.0.1", db: 1 }), {
      [Symbol.asyncDispose]: async () => void (await packed.quit()),
    });
    const accept = "application/vnd.millrace.records";
    const response = await fetch(`${server.url}/v1/lookup/airports?key=LAX&key=NO`, { headers: { accept } });
    const body = Buffer.from(await response.arrayBuffer());
    const [record, no] = await packed.mgetBuffer("airports:LAX", "airports:NO");
    expect(no).toBeNull();
    expect(record!.readUInt32LE(0)).toBe(record!.length);
    expect(record!.equals(body.subarray(body.readUInt32LE(8)))).toBe(true);
  });

  test("which version answers is said by INFO", async () => {
    expect(await client.info()).toMatch(/airports:version=1,rows=2,published=\S+Z,age_seconds=[\d.]+\r\n/);
  });

  test("what cannot be answered is an error of one line, and the connection goes on", async () => {
    const failed = (...words: [string, ...string[]]): Promise<string> =>
      client.call(...words).then(
        () => "answered",
        (error: Error) => error.message,
      );
    expect(await failed("GET", "airprots:JFK")).toMatch(/no lookup `airprots`.*airports/);
    expect(await failed("GET", "JFK")).toContain("name of a lookup");
    expect(await failed("GET", "airports@1:JFK,one")).toContain("`day`");
    expect(await failed("MGET", "airports:JFK", "airports@1:JFK,1")).toContain("one lookup");
    expect(await failed("MGET", "airports:1", "airports:2", "airports:3", "airports:4")).toContain("at most 3");
    expect(await failed("HGET", "airports:JFK", "nothing")).toContain("no column");
    expect(await failed("GET")).toContain("arguments");
    expect(await failed("SELECT", "7")).toContain("databases 0");
    expect(await failed("SET", "airports:JFK", "1\r\n+OK")).toContain("unknown command 'SET'");
    expect(await failed("constructor")).toContain("unknown command");
    expect(await client.ping()).toBe("PONG");
  });

  test("commands arrive in pieces of any size and are answered in their order, in both versions of the protocol", async () => {
    const sent = Buffer.from(
      command("HELLO", "3") +
        command("GET", "airports:NO") +
        command("HGETALL", "airports:LAX") +
        command("HELLO", "2") +
        command("PING", "ä\r\n"),
    );
    const whole = await exchange(sent);
    expect(whole).toMatch(/^%5\r\n/);
    expect(whole).toContain("_\r\n%3\r\n$4\r\ncode\r\n$3\r\nLAX\r\n");
    expect(whole.endsWith("$4\r\nä\r\n\r\n")).toBe(true);
    for (let size = 1; size < 40; size += 6) {
      const pieces = Array.from({ length: Math.ceil(sent.length / size) }, (_, index) =>
        sent.subarray(index * size, (index + 1) * size),
      );
      expect(await exchange(...pieces)).toBe(whole);
    }
  });

  test("redis-cli is a client", async () => {
    const program = await requireProgram({ service: "Redis", packages: ["redis-server"], name: "redis-cli" });
    const words = ["-p", String(port), "--no-raw", "hget", "airports:JFK", "x"];
    const { stdout } = await promisify(execFile)(program, words);
    expect(stdout).toBe('"1.5"\n');
  });
});

describe("what is no client of Redis", () => {
  const hostile: Record<string, string> = {
    "a request of the web": "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n*1\r\n$4\r\nPING\r\n",
    "a word without a length": "*1\r\nPING\r\n",
    "a negative length": "*1\r\n$-1\r\n",
    "a length that is no number": "*1\r\n$1e9\r\nPING\r\n",
    "a length beyond all bounds": "*1\r\n$99999999999999999999\r\n",
    "a word that is too long": `*1\r\n$1001\r\n${"x".repeat(1001)}\r\n`,
    "words that are too many": "*100000\r\n",
    "words that are too long together": command("MGET", "x".repeat(600), "x".repeat(600)),
    "a word that does not end": "*1\r\n$4\r\nPINGPING\r\n",
  };
  for (const [what, bytes] of Object.entries(hostile)) {
    test(`${what} is told so, and nothing after it is carried out`, async () => {
      const answer = await exchange(bytes, command("PING"));
      expect(answer).toMatch(/^-ERR Protocol error: [^\r\n]+\r\n$/);
    });
  }

  test("what has not arrived whole is waited for, never guessed", () => {
    const bytes = Buffer.from(command("GET", "airports:JFK"));
    for (let length = 0; length < bytes.length; length++) {
      expect(readCommand(bytes.subarray(0, length), 0, { words: 3, bytes: 100 })).toBeUndefined();
    }
    expect(readCommand(bytes, 0, { words: 3, bytes: 100 })!.words.map(String)).toEqual(["GET", "airports:JFK"]);
  });

  test("a client that never reads its replies is not read from, and others are answered", async () => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.pause();
    const line = command("MGET", "airports:JFK", "airports:JFK", "airports:JFK").repeat(500);
    // Until nothing more is taken: what lies between the two is bounded.
    let taken = 0;
    while (socket.write(line) || (await settled(socket))) expect(++taken).toBeLessThan(5000);
    expect(await client.ping()).toBe("PONG");
    socket.destroy();
  });
});

/** Whether the socket takes more within a moment. */
function settled(socket: ReturnType<typeof connect>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), 500);
    socket.once("drain", () => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

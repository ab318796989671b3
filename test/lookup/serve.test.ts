import { tableFromIPC } from "apache-arrow";
import { writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serveLookups, type LookupServer } from "../../src/lookup/serve.ts";
import type { RefreshReport } from "../../src/lookup/live.ts";
import type { Lake } from "../../src/pipeline/index.ts";
import { makePlace, type Place } from "../pipeline/place.ts";

let place: Place;
let lake: Lake;
let server: LookupServer;
const refreshed: RefreshReport[] = [];
const opened = new AsyncDisposableStack();

beforeAll(async () => {
  place = await makePlace();
  await writeFile(join(place.folder, "a.csv"), "code,big,x\nJFK,9007199254740993,1.5\nLAX,2,\n");
  lake = await place.open({ airports: { from: { path: "a*.csv" }, mode: "merge", key: ["code"] } });
  await lake.run("airports");
  const lookup = opened.use(await lake.lookup("airports"));
  server = opened.use(
    await serveLookups([lookup], {
      refreshMs: 0,
      maxKeys: 3,
      maxRequestBytes: 1000,
      onRefresh: (report) => refreshed.push(report),
    }),
  );
});
afterAll(async () => {
  await opened.disposeAsync();
  await lake[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const ask = (path: string, init?: RequestInit): Promise<Response> => fetch(`${server.url}${path}`, init);
const post = (body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  ask("/v1/lookup/airports", {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
  });

describe("lookups over HTTP", () => {
  test("rows by key, missing keys by name, integers exact, staleness in header and body", async () => {
    const response = await ask("/v1/lookup/airports?key=JFK&key=NO&key=LAX");
    expect(response.status).toBe(200);
    expect(response.headers.get("millrace-version")).toBe("1");
    expect(response.headers.get("millrace-missing")).toBe("1");
    expect(Number(response.headers.get("millrace-age"))).toBeGreaterThanOrEqual(0);
    const text = await response.text();
    expect(text).toContain("9007199254740993");
    expect(JSON.parse(text)).toMatchObject({
      version: 1,
      rows: [{ code: "JFK", x: 1.5 }, null, { code: "LAX", x: null }],
      missing: expect.anything() as unknown,
    });
    expect(await (await post({ keys: [["LAX"]], columns: ["x"] })).json()).toMatchObject({ rows: [{ x: null }] });
  });

  test("Arrow, with what is missing in its metadata", async () => {
    const response = await post(
      { keys: [["LAX"], ["NO"], ["JFK"]] },
      { accept: "application/vnd.apache.arrow.stream" },
    );
    const table = tableFromIPC(new Uint8Array(await response.arrayBuffer()));
    expect(table.schema.metadata.get("millrace.missing")).toBe("[1]");
    expect(table.getChild("big")!.toArray()).toContain(9007199254740993n);
  });

  test("a wrong question has its status and a hint", async () => {
    const status = async (response: Promise<Response>): Promise<number> => (await response).status;
    expect(await status(ask("/v1/lookup/airprots?key=1"))).toBe(404);
    expect(await status(ask("/v1/lookup/airports", { method: "DELETE" }))).toBe(405);
    expect(await status(post({ keys: [["a"], ["b"], ["c"], ["d"]] }))).toBe(413);
    expect(await status(post({ keys: [["x".repeat(2000)]] }))).toBe(413);
    expect(await status(post({ keys: [["JFK"]], columns: ["nothing"] }))).toBe(400);
    expect(await status(ask("/v1/lookup/airports", { method: "POST", body: "{" }))).toBe(400);
    expect(await status(post({ keys: [["JFK"]] }, { accept: "image/png" }))).toBe(406);
    // A page of the web, and a name that somebody made mean this machine.
    expect(await status(ask("/v1/lookup/airports?key=JFK", { headers: { origin: "https://example.com" } }))).toBe(403);
    const { port } = new URL(server.url);
    const rebound = await new Promise<number>((resolve, reject) => {
      request({ port, host: "127.0.0.1", path: "/v1/health", headers: { host: "evil.example" } }, (response) => {
        response.resume();
        resolve(response.statusCode!);
      })
        .on("error", reject)
        .end();
    });
    expect(rebound).toBe(403);
  });

  test("a new version answers once it is taken in; the one before until then", async () => {
    await writeFile(join(place.folder, "a2.csv"), "code,big,x\nJFK,7,9.5\nSFO,1,1\n");
    await lake.run("airports");
    expect(await (await ask("/v1/lookup/airports?key=SFO")).json()).toMatchObject({ version: 1, rows: [null] });
    await server.refresh();
    expect(refreshed).toEqual([{ name: "airports", version: 2 }]);
    expect(await (await ask("/v1/lookup/airports?key=SFO&key=JFK")).json()).toMatchObject({
      version: 2,
      rows: [{ code: "SFO" }, { x: 9.5 }],
    });
    expect(await (await ask("/v1/health")).json()).toMatchObject({
      status: "ok",
      lookups: { airports: { version: 2, rows: 3 } },
    });
  });
});

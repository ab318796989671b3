import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { HeadObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Store } from "../../src/core/index.ts";
import { type Bucket, openBucket } from "../../src/stores/s3/bucket.ts";
import definition from "../../src/stores/s3/index.ts";
import { collect, errorOf, textBytes } from "../contracts/support/observe.ts";
import { type Fault, type S3Double, startS3Double } from "../support/s3-double.ts";

/** How long the store waits, how often it asks, and what it learns from a refusal without words. */
let double: S3Double;
let store: Store;
const options = (more: Record<string, unknown> = {}): Parameters<typeof openBucket>[0] =>
  definition.options.parse({ ...double.options("lake"), ...more });

beforeAll(async () => {
  double = await startS3Double(["lake"]);
  const driver = await definition.load();
  store = await driver.open(options(), { connection: "lake", folder: "." });
  await store.write("first", textBytes("x"));
  // The SDK shows the way, and then the store goes it by itself.
  for (let time = 0; time < 2; time++) await store.read("first");
});

afterAll(async () => {
  await store[Symbol.asyncDispose]();
  await double[Symbol.asyncDispose]();
});

async function listen(server: Server): Promise<{ endpoint: string } & AsyncDisposable> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}

/** One try of a request. */
const head = (bucket: Bucket): Promise<unknown> =>
  bucket.once("read", "there", (sending) =>
    bucket.client.send(new HeadObjectCommand({ ...bucket.common, Key: "there" }), sending),
  );

test("a request that waits for a free connection is not one that cannot connect, and warns nobody", async () => {
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  let begun = 0;
  const server = createHttpServer((_, response) => {
    begun++;
    void released.then(() => response.writeHead(200, { "content-length": "1" }).end());
  });
  await using place = await listen(server);
  const bucket = await openBucket(options({ connections: 1, endpoint: place.endpoint }), ".");
  const warn = vi.spyOn(console, "warn").mockReturnValue();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const requests = Array.from({ length: 4 }, () => head(bucket));
    const settled = Promise.allSettled(requests);
    // The handler arms timers when it has handed a request to the agent.
    while (begun === 0 || vi.getTimerCount() < requests.length) await turn();
    await vi.advanceTimersByTimeAsync(300_000);
    vi.useRealTimers();
    release();
    expect((await settled).map(({ status }) => status)).toEqual(requests.map(() => "fulfilled"));
    expect(begun).toBe(4);
    expect(warn).not.toHaveBeenCalled();
  } finally {
    vi.useRealTimers();
    warn.mockRestore();
    bucket.close();
  }
});

test("a connection that is never made is given up", async () => {
  // TLS begins with words of the client; this server says none of its own.
  const sockets: { destroy(): void }[] = [];
  await using place = await listen(createServer((socket) => void sockets.push(socket.on("error", () => undefined))));
  const bucket = await openBucket(options({ endpoint: place.endpoint.replace("http:", "https:"), timeout: 0.3 }), ".");
  const error = await errorOf(() => head(bucket));
  expect(error).toMatchObject({ code: "timeout", temporary: true });
  expect(sockets).toHaveLength(1);
  bucket.close();
  for (const socket of sockets) socket.destroy();
});

test("a create that gets no answer asks six times whether it is there, not six times six", async () => {
  const silences = ["PutObject", "HeadObject"].map((operation) => double.arm(operation, "drop", 100));
  const from = double.requests.length;
  const error = await errorOf(() => store.write("silent", textBytes("x"), { ifAbsent: true }));
  for (const silence of silences) await silence.disarm();
  expect(error.code).toBe("unknown-outcome");
  const names = double.requests.slice(from).map(({ operation }) => operation);
  expect(names).toEqual(Array.from({ length: 6 }, () => ["PutObject", "HeadObject"]).flat());
}, 30_000);

test("an object in parts is not put together six times six times either", async () => {
  const complete = double.arm("CompleteMultipartUpload", "lose", 1);
  const asked = double.arm("HeadObject", "drop", 1);
  await store.write("parts", new Uint8Array(9 * 1024 * 1024));
  expect([complete.fired(), asked.fired()]).toEqual([1, 1]);
  for (const one of [complete, asked]) await one.disarm();
  const names = double.requests.filter(({ key }) => key === "parts").map(({ operation }) => operation);
  expect(names.filter((name) => name === "CompleteMultipartUpload")).toHaveLength(2);
  expect(names.filter((name) => name === "HeadObject")).toHaveLength(2);
  expect(double.state.uploads.size).toBe(0);
});

test.each<[fault: Fault, code: string, hint: RegExp]>([
  [{ status: 400, code: "ExpiredToken" }, "authentication", /renew/],
  [{ status: 403, code: "SignatureDoesNotMatch" }, "authentication", /credentials/],
  [
    { status: 400, code: "AuthorizationHeaderMalformed", headers: { "x-amz-bucket-region": "eu-west-3" } },
    "config",
    /region: eu-west-3/,
  ],
])("opening says why, though the answer to HEAD has no words: %j", async (fault, code, hint) => {
  const armed = ["HeadObject", "GetObject"].map((operation) => double.arm(operation, fault));
  const error = await errorOf(() => store.open("any"));
  expect(armed.map((one) => one.fired())).toEqual([1, 1]);
  for (const one of armed) await one.disarm();
  expect(error).toMatchObject({ code, where: { file: "any" } });
  expect(error.hint).toMatch(hint);
});

test("a server that refuses HEAD, and not GET, is read all the same", async () => {
  await store.write("no-head", textBytes("0123456789"));
  const armed = double.arm("HeadObject", { status: 400, code: "BadRequest" });
  await using file = await store.open("no-head");
  expect([armed.fired(), file.size]).toEqual([1, 10]);
  await armed.disarm();
});

test("a listing that holds fewer entries than it counts is asked for again", async () => {
  for (const name of ["a", "b", "c"]) await store.write(`count/${name}`, textBytes(name));
  const armed = double.arm("ListObjectsV2", "lost-entries");
  expect((await collect(store.list("count"))).map(({ path }) => path)).toEqual(["count/a", "count/b", "count/c"]);
  expect(armed.fired()).toBe(1);
  await armed.disarm();
});

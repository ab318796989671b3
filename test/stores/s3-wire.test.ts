import { afterAll, beforeAll, expect, test } from "vitest";
import type { Store } from "../../src/core/index.ts";
import definition from "../../src/stores/s3/index.ts";
import { errorOf, textBytes, textOf } from "../contracts/support/observe.ts";
import { startVersitygw } from "../services/versitygw.ts";
import { type S3Double, startS3Double } from "../support/s3-double.ts";

/** Reads that are made without the SDK, once it has shown the way. */
let double: S3Double;

beforeAll(async () => {
  double = await startS3Double(["lake"]);
  await using store = await open();
  await store.write("there", textBytes("0123456789"));
});

afterAll(() => double[Symbol.asyncDispose]());

async function open(options: Record<string, unknown> = {}): Promise<Store> {
  const driver = await definition.load();
  const all = { ...double.options("lake"), ...options };
  return driver.open(definition.options.parse(all), { connection: "lake", folder: "." });
}

const latest = (): Record<string, unknown> => double.requests.at(-1)!.headers;
const isOwn = (): boolean => latest()["user-agent"] === "millrace";

test("the first read is made by the SDK, the others are not, and say the same", async () => {
  const session = { access_key_id: "key", secret_access_key: "c4nary-secret", session_token: "c4nary-token" };
  await using store = await open({ credentials: session, requester_pays: true });
  await store.read("there");
  expect(isOwn()).toBe(false);
  const bySdk = latest();
  expect(textOf(await store.read("there"))).toBe("0123456789");
  expect(isOwn()).toBe(true);
  const [first, second] = [bySdk, latest()].map((headers) => String(headers["authorization"]));
  const parts =
    /^AWS4-HMAC-SHA256 Credential=key\/\d{8}\/us-east-1\/s3\/aws4_request, SignedHeaders=(.+), Signature=[0-9a-f]{64}$/;
  expect(first).toMatch(parts);
  const signed = parts.exec(second!)![1]!.split(";");
  expect(signed).toEqual([...signed].sort());
  expect(signed).toEqual(
    expect.arrayContaining([
      "host",
      "x-amz-content-sha256",
      "x-amz-date",
      "x-amz-request-payer",
      "x-amz-security-token",
    ]),
  );
  for (const name of ["host", "x-amz-security-token", "x-amz-request-payer", "x-amz-checksum-mode"]) {
    expect([name, latest()[name]]).toEqual([name, bySdk[name]]);
  }
  await using file = await store.open("there");
  expect(textOf(await file.read(2, 3))).toBe("234");
  expect(latest()).toMatchObject({ range: "bytes=2-4", "if-match": expect.any(String) as string });
});

test("a public bucket is asked without a signature", async () => {
  await using store = await open({ anonymous: true, credentials: undefined });
  for (let time = 0; time < 2; time++) {
    await store.read("there");
    expect(latest()).not.toHaveProperty("authorization");
  }
  expect(isOwn()).toBe(true);
});

test("where the server does not understand them, the SDK goes on making them", async () => {
  await using store = await open();
  await store.read("there");
  const armed = double.arm("GetObject", { status: 403, code: "SignatureDoesNotMatch" });
  for (let time = 0; time < 3; time++) {
    expect(textOf(await store.read("there"))).toBe("0123456789");
    expect(isOwn()).toBe(false);
  }
  expect(armed.fired()).toBe(1);
  await armed.disarm();
});

test("once they have worked, a refusal is taken at its word", async () => {
  await using store = await open();
  for (let time = 0; time < 2; time++) await store.read("there");
  const armed = double.arm("GetObject", { status: 403, code: "AccessDenied" });
  expect(await errorOf(() => store.read("there"))).toMatchObject({ code: "permission" });
  expect([armed.fired(), isOwn()]).toEqual([1, true]);
  await armed.disarm();
  const skewed = double.arm("GetObject", {
    status: 403,
    code: "RequestTimeTooSkewed",
    headers: { date: "Tue, 01 Jan 2030 00:00:00 GMT" },
  });
  await store.read("there");
  expect([skewed.fired(), isOwn()]).toEqual([1, true]);
  expect(latest()["x-amz-date"]).toMatch(/^20300101T0000/);
  await skewed.disarm();
});

test("a real server takes their signatures, whatever the name", async () => {
  await using server = await startVersitygw();
  const driver = await definition.load();
  const options = definition.options.parse(await server.bucket("names"));
  await using store = await driver.open(options, { connection: "lake", folder: "." });
  const names = [
    "plain",
    "sp ace",
    "pl+us",
    "a=b&c",
    "ünï/cödé",
    "!'()*",
    "per%cent",
    "%2F",
    "~tilde",
    "q?x#y",
    "@:,;$",
  ];
  for (const name of names) {
    await store.write(`n/${name}`, textBytes(name));
    for (let time = 0; time < 2; time++) expect(textOf(await store.read(`n/${name}`))).toBe(name);
    await using file = await store.open(`n/${name}`);
    expect(file.size).toBe(textBytes(name).length);
    expect(await file.read(0, file.size)).toEqual(textBytes(name));
  }
});

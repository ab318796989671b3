import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Store } from "../../src/core/index.ts";
import definition from "../../src/stores/s3/index.ts";
import { collect, errorOf, expectNoSecret, noise, textBytes, textOf } from "../contracts/support/observe.ts";
import { type Fault, type S3Double, startS3Double } from "../support/s3-double.ts";

const mebibyte = 1024 * 1024;
let double: S3Double;
let folder: string;
let store: Store;

async function open(options: Record<string, unknown> = {}): Promise<Store> {
  const driver = await definition.load();
  const all = { ...double.options("lake"), ...options };
  return driver.open(definition.options.parse(all), { connection: "lake", folder });
}

beforeAll(async () => {
  double = await startS3Double(["lake", "other"]);
  folder = await mkdtemp(join(tmpdir(), "millrace-s3-"));
  store = await open();
});

afterAll(async () => {
  await store[Symbol.asyncDispose]();
  await double[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const held = (key: string): Buffer | undefined => double.state.buckets.get("lake")!.get(key)?.bytes;

/** Runs `work` under a fault that must strike `times` times. */
async function struck<T>(
  [operation, fault, times = 1]: [operation: string, fault: Fault, times?: number],
  work: () => Promise<T>,
  before?: () => void,
): Promise<T> {
  const armed = double.arm(operation, fault, times, before);
  try {
    return await work();
  } finally {
    await armed.disarm();
    expect(armed.fired()).toBe(times);
  }
}

describe("a conditional create", () => {
  const create = (path: string, text = "ours"): Promise<unknown> =>
    store.write(path, textBytes(text), { ifAbsent: true });

  test("that met another one (409) is tried again", async () => {
    await struck(["PutObject", "conflict", 2], () => create("create/conflict"));
    expect(held("create/conflict")?.toString()).toBe("ours");
  });

  test("whose first try arrives late, and makes the second one lose, knows it for its own", async () => {
    await struck(["PutObject", "late"], () => create("create/late"));
    expect(held("create/late")?.toString()).toBe("ours");
    expect(
      double.requests.filter(({ operation, key }) => operation === "PutObject" && key === "create/late"),
    ).toHaveLength(2);
  });

  test("that was lost on its way, and found somebody else's object there, has lost", async () => {
    const theirs = (): void => {
      const object = { bytes: Buffer.from("theirs"), etag: '"t"', modified: new Date(), crc: undefined };
      double.state.buckets
        .get("lake")!
        .set("create/theirs", { ...object, metadata: { "x-amz-meta-millrace-write": "x" } });
    };
    const error = await errorOf(() => struck(["PutObject", "drop"], () => create("create/theirs"), theirs));
    expect(error).toMatchObject({ code: "already-exists", temporary: false });
    expect(held("create/theirs")?.toString()).toBe("theirs");
  });

  test("whose outcome cannot be known says so, and one that was only ever refused does not", async () => {
    const [unknown, refused] = await Promise.all([
      struck(["PutObject", "drop", 6], () => errorOf(() => create("create/unknown"))),
      (async () => {
        await using elsewhere = await startS3Double(["lake"]);
        await using other = await open({ endpoint: elsewhere.endpoint });
        const armed = elsewhere.arm("PutObject", "refuse", 6);
        const error = await errorOf(() => other.write("refused", textBytes("x"), { ifAbsent: true }));
        expect(armed.fired()).toBe(6);
        return error;
      })(),
    ]);
    expect(unknown).toMatchObject({ code: "unknown-outcome" });
    expect(unknown.hint).toContain("nothing was removed");
    expect(refused).toMatchObject({ code: "unreachable", temporary: true });
  }, 30_000);

  test("that is refused after a try of unknown outcome does not pass for refused", async () => {
    const lost = double.arm("PutObject", "drop");
    const denied = double.arm("PutObject", { status: 403, code: "ExpiredToken" });
    expect((await errorOf(() => create("create/denied"))).code).toBe("unknown-outcome");
    expect([lost.fired(), denied.fired()]).toEqual([1, 1]);
    await Promise.all([lost.disarm(), denied.disarm()]);
  });
});

describe("a file in parts", () => {
  const adopt = async (name: string, size = 17 * mebibyte): Promise<unknown> => {
    await writeFile(join(folder, name), noise(size));
    return store.adopt(join(folder, name), `adopt/${name}`);
  };
  const isWhole = (name: string, size = 17 * mebibyte): boolean =>
    Buffer.compare(held(`adopt/${name}`) ?? Buffer.alloc(0), noise(size)) === 0;

  test.each<[name: string, operation: string, fault: Fault, times: number]>([
    ["lost reply of the last request", "CompleteMultipartUpload", "lose", 1],
    ["lost last request", "CompleteMultipartUpload", "drop", 1],
    ["409 at the end", "CompleteMultipartUpload", "conflict", 2],
    ["refused parts", "UploadPart", "refuse", 3],
    ["lost replies of parts", "UploadPart", "lose", 2],
    ["lost reply of the begin", "CreateMultipartUpload", "lose", 1],
  ])("%s: it arrives whole", async (name, operation, fault, times) => {
    await struck([operation, fault, times], () => adopt(name));
    expect(isWhole(name)).toBe(true);
    expect(existsSync(join(folder, name))).toBe(false);
    // Only a begin of which we never heard the id leaves something, and it never passes for an object.
    expect(double.state.uploads.size).toBe(operation === "CreateMultipartUpload" ? 1 : 0);
    double.state.uploads.clear();
  });

  test("that fails leaves the local file, no object and no upload", async () => {
    const error = await struck(["UploadPart", { status: 403, code: "AccessDenied" }], () =>
      errorOf(() => adopt("denied")),
    );
    expect(error.code).toBe("permission");
    expect(existsSync(join(folder, "denied"))).toBe(true);
    expect(held("adopt/denied")).toBeUndefined();
    expect(double.state.uploads.size).toBe(0);
  });

  test("a part that was changed on its way is not taken", async () => {
    const armed = double.arm("UploadPart", { status: 400, code: "BadDigest" });
    await adopt("digest");
    expect(armed.fired()).toBe(1);
    expect(isWhole("digest")).toBe(true);
    const sums = double.requests.filter(({ operation }) => ["PutObject", "UploadPart"].includes(operation));
    expect(sums.every(({ headers }) => headers["x-amz-checksum-crc32"] !== undefined)).toBe(true);
  });
});

describe("a read", () => {
  const bytes = noise(2 * mebibyte);
  beforeAll(async () => void (await store.write("read", bytes)));

  test.each<Fault>(["cut", "short", "flip"])("%s: is done again until all of it is right", async (fault) => {
    const read = await struck(["GetObject", fault, 2], () => store.read("read"));
    expect(Buffer.compare(read, bytes)).toBe(0);
  });

  test.each<Fault>(["cut", "short"])("of a range, %s: likewise", async (fault) => {
    await using file = await store.open("read");
    const range = await struck(["GetObject", fault, 2], () => file.read(5, mebibyte));
    expect(Buffer.compare(range, bytes.subarray(5, 5 + mebibyte))).toBe(0);
  });

  test("that stops coming is given up after `timeout`, and done again", async () => {
    await using hasty = await open({ timeout: 0.3 });
    const read = await struck(["GetObject", "stall"], () => hasty.read("read"));
    expect(Buffer.compare(read, bytes)).toBe(0);
  });

  test("of an object that was replaced between two ranges is a conflict", async () => {
    await store.write("replaced", bytes);
    await using file = await store.open("replaced");
    await file.read(0, 10);
    await store.write("replaced", noise(2 * mebibyte, 2));
    const error = await errorOf(() => file.read(10, 10));
    expect(error).toMatchObject({ code: "conflict", message: expect.stringContaining("replaced") });
  });
});

test("a listing never ends early because a page lost its continuation", async () => {
  await using paged = await open({ bucket: "other" });
  const objects = double.state.buckets.get("other")!;
  const object = { bytes: Buffer.alloc(1), etag: '"x"', modified: new Date(), metadata: {}, crc: undefined };
  const keys = Array.from({ length: 2500 }, (_, index) => `page/${index}`);
  for (const key of keys) objects.set(key, object);
  // Markers of folders and names of other programs are no paths of a store.
  for (const key of ["page/", "page//x", "page/../x"]) objects.set(key, object);
  const found = await struck(["ListObjectsV2", "lost-token", 2], () => collect(paged.list("page")));
  expect(found.map(({ path }) => path).toSorted()).toEqual(keys.toSorted());
});

test.each<[fault: Fault, code: string, hint: RegExp]>([
  [{ status: 403, code: "AccessDenied" }, "permission", /s3:GetObject/],
  [{ status: 403, code: "InvalidAccessKeyId" }, "authentication", /credentials/],
  [{ status: 403, code: "SignatureDoesNotMatch" }, "authentication", /credentials/],
  [{ status: 400, code: "ExpiredToken" }, "authentication", /renew/],
  [
    { status: 301, code: "PermanentRedirect", headers: { "x-amz-bucket-region": "eu-west-3" } },
    "config",
    /region: eu-west-3/,
  ],
  [{ status: 404, code: "NoSuchBucket" }, "not-found", /bucket/],
  [{ status: 403, code: "InvalidObjectState" }, "unsupported", /restore/],
  [{ status: 400, code: "KMS.DisabledException" }, "permission", /kms:Decrypt/],
  [{ status: 501, code: "NotImplemented" }, "unsupported", /If-None-Match/],
])("%j is said as %s with a hint", async (fault, code, hint) => {
  const error = await struck(["GetObject", fault], () => errorOf(() => store.read("any")));
  expect(error).toMatchObject({ code, temporary: false, where: { store: "s3", file: "any" } });
  expect(error.hint).toMatch(hint);
  expectNoSecret(error, ["double-c4nary-secret"]);
});

test("a clock that is off is corrected by what the server says, once", async () => {
  await store.write("clock", textBytes("tick"));
  const fault = { status: 403, code: "RequestTimeTooSkewed" };
  expect(textOf(await struck(["GetObject", fault], () => store.read("clock")))).toBe("tick");
  const always = await struck(["GetObject", fault, 6], () => errorOf(() => store.read("clock")));
  expect(always).toMatchObject({ code: "authentication", hint: expect.stringContaining("clock") });
}, 30_000);

test("options reach the requests", async () => {
  const seen = async (options: Record<string, unknown>, work: (store: Store) => Promise<unknown>): Promise<object> => {
    await using other = await open(options);
    const from = double.requests.length;
    await work(other);
    return Object.assign({}, ...double.requests.slice(from).map(({ headers }) => headers)) as object;
  };
  const write = (other: Store): Promise<unknown> => other.write("options", textBytes("x"));
  expect(await seen({ requester_pays: true }, write)).toMatchObject({ "x-amz-request-payer": "requester" });
  expect(await seen({ encryption: { type: "aws:kms", key: "alias/lake" } }, write)).toMatchObject({
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "alias/lake",
  });
  expect(await seen({ checksums: "md5" }, write)).toMatchObject({ "content-md5": expect.any(String) as string });
  const anonymous = await seen({ anonymous: true, credentials: undefined }, (other) => other.read("options"));
  expect(anonymous).not.toHaveProperty("authorization");
  expect(await seen({}, write)).toHaveProperty("authorization", expect.stringContaining("/us-east-1/s3/aws4_request"));
});

test("a writer that may not delete can be checked, and leaves one object however often", async () => {
  const fault = { status: 403, code: "AccessDenied" };
  await using other = await open({ bucket: "other", prefix: "writer" });
  await struck(["DeleteObject", fault], () => other.check());
  await other.check();
  const left = [...double.state.buckets.get("other")!.keys()].filter((key) => key.startsWith("writer/"));
  expect(left).toEqual(["writer/.millrace-probe"]);
  expect(await collect(other.list(""))).toEqual([]);
});

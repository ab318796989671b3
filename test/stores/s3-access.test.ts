import { execFile, execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { configFrom } from "../../src/config/index.ts";
import type { Store } from "../../src/core/index.ts";
import { registry } from "../../src/registry.ts";
import definition from "../../src/stores/s3/index.ts";
import { collect, errorOf, textBytes, textOf } from "../contracts/support/observe.ts";
import { findProgram } from "../services/install.ts";
import { startMoto } from "../services/moto.ts";
import { startVersitygw } from "../services/versitygw.ts";
import { startS3Double } from "../support/s3-double.ts";

let folder: string;
const openssl = findProgram({ name: "openssl" });

async function open(options: Record<string, unknown>): Promise<Store> {
  const driver = await definition.load();
  return driver.open(definition.options.parse(options), { connection: "lake", folder });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-s3-access-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("a role is assumed through STS, with its external id, and its session signs the requests", async () => {
  await using moto = await startMoto();
  await using double = await startS3Double(["lake"]);
  const role = { arn: "arn:aws:iam::123456789012:role/lake", external_id: "tenant-7", endpoint: moto.endpoint };
  const keys = { access_key_id: moto.accessKey, secret_access_key: moto.secretKey };
  {
    await using store = await open({ ...double.options("lake"), credentials: keys, role });
    await store.write("a", textBytes("a"));
    await store.read("a");
  }
  const tokens = double.requests.map(({ headers }) => headers["x-amz-security-token"]);
  expect(tokens).toHaveLength(2);
  expect(tokens[0]).toMatch(/.{20}/);
  expect(new Set(tokens).size).toBe(1);
  expect(double.requests[0]!.headers.authorization).toMatch(/Credential=ASIA/);
  // And moto takes what its STS gave out.
  await using store = await open({ ...(await moto.bucket("lake")), credentials: keys, role });
  await store.check();
}, 60_000);

test("wrong keys are said to be wrong by a server that looks at signatures", async () => {
  await using server = await startVersitygw();
  const right = await server.bucket("lake");
  const wrong = [
    { access_key_id: server.accessKey, secret_access_key: "wrong-c4nary-secret" },
    { access_key_id: "nobody", secret_access_key: server.secretKey },
  ];
  for (const credentials of wrong) {
    await using store = await open({ ...right, credentials });
    const error = await errorOf(() => store.check());
    expect(error).toMatchObject({ code: "authentication", hint: expect.stringContaining("credentials") });
  }
  await using anonymous = await open({ ...right, credentials: undefined, anonymous: true });
  expect((await errorOf(() => collect(anonymous.list("")))).code).toBe("permission");
}, 60_000);

test.skipIf(openssl === undefined)("a certificate is accepted only with the authority that signed it", async () => {
  const [key, cert] = [join(folder, "server.key"), join(folder, "server.crt")];
  const name = ["-subj", "/CN=millrace-test", "-addext", "subjectAltName=IP:127.0.0.1"];
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2", "-nodes"];
  execFileSync(openssl!, ["req", "-x509", ...kind, ...name, "-keyout", key, "-out", cert], { stdio: "pipe" });
  await using double = await startS3Double(["lake"], {
    key: await readFile(key, "utf8"),
    cert: await readFile(cert, "utf8"),
  });
  const options = double.options("lake");
  {
    await using trusting = await open({ ...options, ca: "server.crt" });
    await trusting.write("a", textBytes("over TLS"));
    expect(textOf(await trusting.read("a"))).toBe("over TLS");
  }
  await using careful = await open(options);
  const error = await errorOf(() => careful.read("a"));
  expect(error).toMatchObject({ code: "unreachable", temporary: false, hint: expect.stringContaining("`ca`") });
});

test("an address is the short form of a store", async () => {
  const store = async (text: string): Promise<unknown> => (await configFrom({ store: text }, folder, registry)).store;
  expect(await store("s3://bucket")).toEqual({ store: "s3", bucket: "bucket" });
  expect(await store("s3://bucket/a b/c+d/")).toEqual({ store: "s3", bucket: "bucket", prefix: "a b/c+d/" });
  expect((await errorOf(() => store("s3://"))).code).toBe("config");
  expect((await errorOf(() => store("s3://bucket/../other"))).message).toContain("`.` or `..`");
  const driver = await definition.load();
  const named = driver.open(definition.options.parse({ bucket: "bucket", prefix: "/a b/" }), {
    connection: "x",
    folder,
  });
  expect((await named).uri("x")).toBe("s3://bucket/a b/x");
});

test("the smoke command passes on a real server, and leaves nothing behind", async () => {
  await using server = await startVersitygw();
  const { bucket, endpoint, credentials } = await server.bucket("smoke");
  const run = (options: object): Promise<{ stdout: string }> =>
    promisify(execFile)(process.execPath, ["scripts/smoke.ts", "s3", `s3://${bucket}/below`, JSON.stringify(options)]);
  const { stdout } = await run({ endpoint, credentials });
  expect(stdout.match(/✓/g)).toHaveLength(6);
  await using store = await open({ bucket, endpoint, credentials });
  expect(await collect(store.list(""))).toEqual([]);
  const failed: unknown = await run({
    endpoint,
    credentials: { access_key_id: "nobody", secret_access_key: "c4nary-secret" },
  }).catch((error: unknown) => error);
  expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining("hint:") });
  expect((failed as { stderr: string }).stderr).not.toContain("c4nary-secret");
}, 60_000);

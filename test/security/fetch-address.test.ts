import { createServer } from "node:http";
import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isMillraceError, safeFetch, type MillraceError } from "../../src/core/index.ts";
import { addressKind, isSameAddress } from "../../src/core/fetch-address.ts";
import { checkTarget, parseHttpUrl } from "../../src/core/fetch-target.ts";
import { startNameServer, type NameServer } from "./dns.ts";

let names: NameServer;
/** Addresses by name; a function is asked anew for every question. */
const zone: Record<string, (family: 4 | 6) => string[]> = {
  "public.test": (family) => (family === 4 ? ["93.184.216.34"] : []),
  "private.test": (family) => (family === 4 ? ["10.1.2.3"] : []),
  "loopback.test": (family) => (family === 4 ? ["127.0.0.1"] : []),
  "metadata.test": (family) => (family === 4 ? ["169.254.169.254"] : []),
  "half.test": (family) => (family === 4 ? ["93.184.216.34"] : ["fd12:3456:0:0:0:0:0:1"]),
  "mapped.test": (family) => (family === 6 ? ["0:0:0:0:0:ffff:7f00:1"] : []),
  "nat64.test": (family) => (family === 6 ? ["64:ff9b:0:0:0:0:a9fe:a9fe"] : []),
  "two.test": (family) => (family === 4 ? ["93.184.216.34", "192.168.0.1"] : []),
};
beforeAll(async () => {
  names = await startNameServer((name, family) => (zone[name] ?? (() => []))(family));
});
afterAll(() => names[Symbol.asyncDispose]());

async function refusal(url: string, allowHosts: string[] = []): Promise<MillraceError> {
  try {
    await using response = await safeFetch(url, { resolve: names.resolve, allowHosts, deadlineMs: 5_000 });
    throw new Error(`${url} was answered with ${response.status}`);
  } catch (error) {
    if (isMillraceError(error)) return error;
    throw error;
  }
}

/** What attackers write, after PayloadsAllTheThings ("Server Side Request Forgery") and what `fetch` libraries fell for. */
const notPublic = `
http://127.0.0.1/ http://127.0.0.1:80/ http://127.0.0.1:8080/ https://127.0.0.1/ http://127.1/ http://127.0.1/ http://0/ http://0.0.0.0/
http://127.127.127.127/ http://127.255.255.254/ http://2130706433/ http://017700000001/ http://0x7f000001/ http://0x7f.0x0.0x0.0x1/
http://0177.0.0.1/ http://0x7f.1/ http://0177.1/ http://3232235521/ http://3232235777/ http://2852039166/ http://0xa9fea9fe/
http://①②⑦.⓪.⓪.① http://127。0。0。1/ http://１２７.0.0.1/ http://127.0.0.1./ http://%31%32%37.0.0.1/ http://10.0.0.1/
http://10.255.255.255/ http://172.16.0.1/ http://172.31.255.255/ http://192.168.1.1/ http://100.64.0.1/ http://169.254.169.254/latest/meta-data/
http://169.254.170.2/v2/credentials http://0251.0376.0251.0376/ http://169.254.43518/ http://192.0.0.192/opc/v1/ http://100.100.100.200/latest/
http://168.63.129.16/ http://198.18.0.1/ http://192.0.2.1/ http://198.51.100.1/ http://203.0.113.1/ http://224.0.0.1/ http://239.255.255.250/
http://240.0.0.1/ http://255.255.255.255/ http://192.88.99.1/ http://[::]/ http://[::1]/ http://[0:0:0:0:0:0:0:1]/ http://[::ffff:127.0.0.1]/
http://[::ffff:7f00:1]/ http://[::127.0.0.1]/ http://[::ffff:169.254.169.254]/ http://[64:ff9b::7f00:1]/ http://[64:ff9b::169.254.169.254]/
http://[64:ff9b:1::a00:1]/ http://[2002:7f00:1::]/ http://[2002:a9fe:a9fe::]/ http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/
http://[fe80::1]/ http://[fec0::1]/ http://[fd00:ec2::254]/ http://[fc00::1]/ http://[ff02::1]/ http://[2001:db8::1]/ http://[100::1]/
http://private.test/ http://loopback.test/ http://LOOPBACK.TEST./ http://metadata.test/ http://half.test/ http://mapped.test/ http://nat64.test/
http://two.test/ http://localhost.localdomain.loopback.test@loopback.test/`;

test("the table: no address that is not public, however it is written", async () => {
  const urls = notPublic.trim().split(/\s+/);
  expect(urls.length).toBeGreaterThanOrEqual(70);
  const wrong: string[] = [];
  for (const url of urls) {
    const error = await refusal(url);
    const isAddress = error.code === "permission" && error.message.includes("not") && /public/.test(error.message);
    const isUserinfo = url.includes("@") && error.code === "config";
    if (!isAddress && !isUserinfo) wrong.push(`${url}: ${error.code}: ${error.message}`);
  }
  expect(wrong).toEqual([]);
});

test.each([
  ["file:///etc/passwd", "config"],
  ["ftp://93.184.216.34/", "config"],
  ["gopher://127.0.0.1:6379/_INFO", "config"],
  ["data:text/csv,a", "config"],
  ["dict://93.184.216.34:11211/", "config"],
  ["jar:http://127.0.0.1!/", "config"],
  ["ws://93.184.216.34/", "config"],
  ["http://user@93.184.216.34/", "config"],
  ["http://user:password@93.184.216.34/", "config"],
  ["http://foo@evil.com:80@127.0.0.1/", "config"],
  ["http://93.184.216.34:22/", "permission"],
  ["http://93.184.216.34:6379/", "permission"],
  ["http://93.184.216.34:25/", "permission"],
  ["http://93.184.216.34:5432/", "permission"],
  ["http:///", "config"],
  ["http://1.2.3.4.5/", "config"],
  ["http://nowhere.test/", "unreachable"],
  ["//93.184.216.34/", "config"],
  ["", "config"],
])("%s is refused: %s", async (url, code) => {
  const error = await refusal(url);
  expect(`${error.code}: ${error.message}`).toMatch(new RegExp(`^${code}: `));
  expect(error.message).not.toContain("password@");
});

test("what is public is let through", async () => {
  for (const url of [
    "https://public.test/a?b",
    "http://8.8.8.8/",
    "http://[2606:4700::1111]:8443/",
    "http://[64:ff9b::808:808]/",
  ]) {
    const target = await checkTarget(parseHttpUrl(url), { allowHosts: [], resolve: names.resolve });
    expect(target.addresses.every(({ address }) => addressKind(address) === "public")).toBe(true);
  }
});

test("a host of one's own is called once it is named, its other ports and its neighbours are not", async () => {
  const server = createServer((_request, response) => response.end("ours")).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const options = { resolve: names.resolve };
  for (const [url, entry] of [
    [`http://127.0.0.1:${port}/`, `127.0.0.1:${port}`],
    [`http://loopback.test:${port}/`, `loopback.test:${port}`],
    [`http://LOOPBACK.test.:${port}/`, `Loopback.test:${port}`],
    [`http://loopback.test:${port}/`, `*.test:${port}`],
    [`http://[::ffff:127.0.0.1]:${port}/`, `[::ffff:7f00:1]:${port}`],
  ] as const) {
    await using response = await safeFetch(url, { ...options, allowHosts: [entry] });
    expect(await response.text()).toBe("ours");
  }
  for (const [url, entry] of [
    [`http://loopback.test:${port}/`, "loopback.test"],
    [`http://loopback.test:${port}/`, `loopback.test:${port + 1}`],
    [`http://loopback.test:${port}/`, `back.test:${port}`],
    [`http://loopback.test:${port}/`, `*.loopback.test:${port}`],
    [`http://127.0.0.1:${port}/`, `127.0.0.2:${port}`],
    // A name that is allowed does not make the metadata of the machine reachable.
    ["http://metadata.test/", "metadata.test"],
  ] as const) {
    expect((await refusal(url, [entry])).code).toBe("permission");
  }
  server.close();
});

test("addresses in several notations are the same address", () => {
  expect(isSameAddress("::ffff:10.0.0.1", "10.0.0.1")).toBe(true);
  expect(isSameAddress("2606:4700:0:0:0:0:0:1111", "2606:4700::1111")).toBe(true);
  expect(isSameAddress("fe80::1%eth0", "fe80::1")).toBe(true);
  expect(isSameAddress("10.0.0.1", "10.0.0.2")).toBe(false);
  expect(isSameAddress("", "")).toBe(false);
});

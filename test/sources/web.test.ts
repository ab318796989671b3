import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { openBench, type Bench, type Landing } from "../formats/landing.ts";

/** How a server behaves towards one file. */
interface Served {
  body: Buffer;
  /** Gives parts of it. Default true. */
  ranges?: boolean;
  etag?: string;
  modified?: string;
  headers?: Record<string, string>;
  status?: number;
  /** Answers of more bytes than this end after so many, as long as the number of them says. */
  cuts?: { after: number; times: number };
  /** What it demands. */
  authorization?: string;
  /** What it is from the second request on. */
  next?: Served;
}

const served = new Map<string, Served>();
const requests: { path: string; range: string | undefined; authorization: string | undefined }[] = [];

function answer(request: IncomingMessage, response: ServerResponse): void {
  const { pathname, search } = new URL(request.url!, "http://host");
  const { range, authorization } = request.headers;
  requests.push({ path: pathname + search, range, authorization });
  const file = served.get(pathname + search) ?? served.get(pathname);
  if (file === undefined) return void response.writeHead(404).end("nothing here");
  if (file.authorization !== undefined && authorization !== file.authorization)
    return void response.writeHead(401).end();
  if (file.next !== undefined) served.set(pathname, file.next);
  const headers: Record<string, string> = { ...file.headers };
  if (file.etag !== undefined) headers["etag"] = file.etag;
  if (file.modified !== undefined) headers["last-modified"] = file.modified;
  if (file.status !== undefined) return void response.writeHead(file.status, headers).end();
  const condition = request.headers["if-match"];
  if (condition !== undefined && condition !== file.etag) return void response.writeHead(412).end();
  let { body } = file;
  let status = 200;
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
  if (file.ranges !== false && from !== undefined) {
    if (Number(from) >= body.length) {
      return void response.writeHead(416, { "content-range": `bytes */${body.length}` }).end();
    }
    const end = Math.min(Number(to) + 1, body.length);
    headers["content-range"] = `bytes ${from}-${end - 1}/${body.length}`;
    body = body.subarray(Number(from), end);
    status = 206;
  }
  response.writeHead(status, { ...headers, "content-length": body.length });
  if (file.cuts !== undefined && file.cuts.times > 0 && body.length > file.cuts.after) {
    file.cuts.times--;
    response.write(body.subarray(0, file.cuts.after), () => response.destroy());
  } else response.end(body);
}

const server = createServer(answer);
let bench: Bench;
let host: string;
beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  host = `127.0.0.1:${(server.address() as { port: number }).port}`;
  bench = await openBench();
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await bench[Symbol.asyncDispose]();
});
afterEach(() => {
  served.clear();
  requests.length = 0;
});

const at = (path: string): string => `http://${host}${path}`;
const land = (path: string | string[], more: Record<string, unknown> = {}, after?: Landing): Promise<Landing> =>
  bench.land({ path, allow_hosts: [host], ...more }, after === undefined ? {} : { after: after.plan.cursor! });
const refusal = (path: string | string[], more: Record<string, unknown> = {}, after?: Landing) =>
  bench.refusal({ path, allow_hosts: [host], ...more }, after === undefined ? {} : { after: after.plan.cursor! });

const rows = 200_000;
const large = Buffer.from(`id,x\n${Array.from({ length: rows }, (_, row) => `${row},${row * 7}\n`).join("")}`);
const sum = async (landing: Landing): Promise<unknown> =>
  (await bench.engine.query(`SELECT count(*) AS n, sum(id) AS s, sum(x) AS t FROM ${landing.relation}`))[0];
const whole = { n: BigInt(rows), s: BigInt((rows * (rows - 1)) / 2), t: BigInt((7 * rows * (rows - 1)) / 2) };

describe("a column of URLs", () => {
  const lands = async (more: Record<string, unknown> = {}, after?: Landing): Promise<Landing> =>
    bench.land(
      { urls: { path: "list.csv", column: "photo" }, allow_hosts: [host], format: "images", ...more },
      after === undefined ? {} : { after: after.plan.cursor! },
    );
  const picture = (red: number): Promise<Buffer> =>
    sharp({ create: { width: 4, height: 3, channels: 3, background: { r: red, g: 0, b: 0 } } })
      .png()
      .toBuffer();

  test("each is a file; what cannot be had is told with its reason, and read once it is there", async () => {
    for (const name of ["a", "b", "c[1]"]) served.set(`/${name}.png`, { body: await picture(name.length), etag: `"${name}"` });
    served.set("/page", { body: Buffer.from("<html>not found</html>"), etag: '"p"' });
    const lines = ["/a.png", "/b.png?token=secret", "/c[1].png", "/a.png", "/gone.png", "/page"].map(at);
    const others = ["", "pictures/1.png", "ftp://example.com/a.png", `http://user:secret@${host}/a.png`, "http://10.0.0.1/x.png"];
    await bench.file("list.csv", `id,photo\n${[...lines, ...others].map((url, row) => `${row},${url}`).join("\n")}\n`);
    const first = await lands();
    expect(first).toMatchObject({ written: 3 });
    expect(await bench.rows(first, "uri")).toMatchObject([{ uri: at("/a.png"), width: 4 }, { uri: at("/b.png") }, {}]);
    const reasons = first.rejected.map(({ reason }) => reason).toSorted();
    expect(reasons).toHaveLength(6);
    for (const part of ["/gone.png", "/page", "pictures/1.png", "ftp:", "holds a user", "10.0.0.1"]) {
      expect(reasons.some((reason) => reason.includes(part)), part).toBe(true);
    }
    expect(JSON.stringify([first.rejected, first.plan])).not.toContain("secret");
    // Nothing is new, and nothing is told again.
    expect((await lands({}, first)).plan.parts).toEqual([]);
    served.set("/gone.png", { body: await picture(200), etag: '"g"' });
    served.delete("/a.png");
    const second = await lands({}, first);
    expect([second.written, second.rejected]).toEqual([1, []]);
    served.set("/a.png", { body: await picture(1), etag: '"a"' });
    expect((await lands({}, second)).plan.parts).toEqual([]);
  }); // prettier-ignore

  test("a list that is wrong is refused, and from any kind of table it is one stream", async () => {
    await bench.file("list.csv", `id,photo\n1,${at("/a.csv")}\n`);
    await bench.file("list.ndjson", `{"photo": "${at("/a.csv")}"}\n`);
    await bench.file("list.txt", at("/a.csv"));
    served.set("/a.csv", { body: large, etag: '"1"' });
    const refused = (urls: object, more: object = {}) => bench.refusal({ urls, allow_hosts: [host], ...more });
    expect((await refused({ path: "list.csv", column: "foto" })).hint).toContain("photo");
    expect((await refused({ path: "nothing.csv", column: "photo" })).message).toContain("does not exist");
    expect((await refused({ path: "list.txt", column: "photo" })).hint).toContain(".parquet");
    expect((await refused({ path: "list.csv", column: "photo" }, { path: "x.csv" })).message).toContain("takes the place");
    for (const path of ["list.csv", "list.ndjson"]) {
      await using files = await bench.open({ urls: { path, column: "photo" }, allow_hosts: [host] });
      await files.check();
      expect(await Array.fromAsync(files.streams())).toMatchObject([{ name: path, columns: [{ name: "id" }, { name: "x" }] }]);
    }
  }); // prettier-ignore
});

describe("files behind URLs", () => {
  test("a file comes once, in parts, and again only when it has changed", async () => {
    served.set("/a.csv", { body: large, etag: '"1"' });
    const first = await land(at("/a.csv"));
    expect(await sum(first)).toEqual(whole);
    const bytes = requests.reduce((total, { range }) => {
      const [, from, to] = /bytes=(\d+)-(\d+)/.exec(range!)!;
      return total + Math.min(Number(to) + 1, large.length) - Number(from);
    }, 0);
    expect(bytes).toBeLessThan(large.length + 10 * 65_536);
    requests.length = 0;
    expect((await land(at("/a.csv"), {}, first)).plan.parts).toEqual([]);
    expect(requests).toHaveLength(1);
    served.set("/a.csv", { body: Buffer.concat([large, Buffer.from("7,8\n")]), etag: '"2"' });
    requests.length = 0;
    // As of a file on disk, lines that were added are read alone.
    expect((await land(at("/a.csv"), {}, first)).written).toBe(1);
    expect(requests.some(({ range }) => range?.endsWith(`-${large.length + 3}`))).toBe(true);
    served.set("/a.csv", { body: Buffer.concat([Buffer.from("id,x\n5,5\n"), large.subarray(5)]), etag: '"3"' });
    expect((await refusal(at("/a.csv"), {}, first)).code).toBe("conflict");
    expect((await land(at("/a.csv"), { changed: "reread" }, first)).written).toBe(rows + 1);
    expect((await refusal(at("/missing.csv"))).code).toBe("not-found");
  });

  test("a server without parts, validators or length of its own", async () => {
    for (const [path, file] of Object.entries({
      "/whole.csv": { body: large, ranges: false },
      "/whole-tagged.csv": { body: large, ranges: false, etag: '"x"' },
      "/untagged.csv": { body: large },
      "/dated.csv": { body: large, modified: "Tue, 15 Nov 2022 12:45:26 GMT" },
      "/weak.csv": { body: large, etag: 'W/"1"', modified: "Tue, 15 Nov 2022 12:45:26 GMT" },
      "/encoded.csv": { body: gzipSync(large), ranges: false, headers: { "content-encoding": "gzip" } },
      "/packed.csv.gz": { body: gzipSync(large), etag: '"g"' },
      "/packed-encoded.csv.gz": { body: gzipSync(large), etag: '"g"', headers: { "content-encoding": "gzip" } },
    } satisfies Record<string, Served>)) {
      served.set(path, file);
      const landing = await land(at(path));
      expect({ path, ...((await sum(landing)) as object) }).toEqual({ path, ...whole });
      expect((await land(at(path), {}, landing)).plan.parts, path).toEqual([]);
    }
  });

  test("an empty file has no rows", async () => {
    served.set("/empty.csv", { body: Buffer.alloc(0), etag: '"0"' });
    expect((await land([at("/empty.csv")])).written).toBe(0);
  });

  test("answers that are cut are asked for again, from where they ended", async () => {
    for (const ranges of [true, false]) {
      const cuts = { after: 1_200_000, times: 2 };
      served.set(`/cut-${ranges}.csv`, { body: large, etag: '"1"', ranges, cuts });
      expect(await sum(await land(at(`/cut-${ranges}.csv`)))).toEqual(whole);
      expect(cuts.times).toBe(0);
    }
    const starts = requests.filter(({ path }) => path === "/cut-true.csv").map(({ range }) => range!);
    expect(starts.some((range) => range.startsWith("bytes=1") || range.startsWith("bytes=2"))).toBe(true);
  });

  test("a file that changes while it is read is a conflict", async () => {
    served.set("/moving.csv", { body: large, etag: '"1"' });
    // As long, so that only the entity tag tells.
    const other = Buffer.from(large);
    other.write("9", large.length - 3);
    served.get("/moving.csv")!.next = { body: other, etag: '"2"' };
    expect((await refusal(at("/moving.csv"))).code).toBe("conflict");
    expect(served.get("/moving.csv")!.etag).toBe('"2"');
  });

  test("what cannot be known to be whole is refused", async () => {
    const raw = createTcpServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nid\n1\n"));
    });
    raw.listen(0, "127.0.0.1");
    await once(raw, "listening");
    const place = `127.0.0.1:${(raw.address() as { port: number }).port}`;
    const error = await bench.refusal({ path: `http://${place}/a.csv`, allow_hosts: [place] });
    raw.close();
    expect(`${error.code}: ${error.message}`).toMatch(/^unsupported: .*neither how long/);
  });

  test("statuses have their codes, and a page of HTML is no table", async () => {
    served.set("/private.csv", { body: large, authorization: "Bearer wonder" });
    expect((await refusal(at("/private.csv"))).code).toBe("authentication");
    const landing = await land(at("/private.csv"), { headers: { Authorization: "Bearer wonder" } });
    expect(await sum(landing)).toEqual(whole);
    served.set("/forbidden.csv", { body: large, status: 403 });
    expect((await refusal(at("/forbidden.csv"))).code).toBe("permission");
    served.set("/login.csv", { body: Buffer.from("<!DOCTYPE html><html><body>Log in</body></html>"), etag: '"h"' });
    expect((await refusal(at("/login.csv"))).code).toBe("unsupported");
  });

  test("hosts that nobody allowed, and credentials behind a redirect", async () => {
    served.set("/a.csv", { body: large, etag: '"1"' });
    expect((await bench.refusal({ path: at("/a.csv") })).code).toBe("permission");
    expect((await bench.refusal({ path: "http://169.254.169.254/latest/meta-data" })).code).toBe("permission");
    expect((await bench.refusal({ path: "http://user:word@example.com/a.csv" })).code).toBe("config");
    expect(requests).toEqual([]);
    served.set("/from.csv", {
      body: large,
      status: 302,
      headers: { location: `http://localhost:${host.split(":")[1]}/a.csv` },
    });
    const more = { headers: { authorization: "Bearer wonder" } };
    expect((await refusal(at("/from.csv"), more)).code).toBe("permission");
    const allow = { allow_hosts: [host, `localhost:${host.split(":")[1]}`] };
    expect(await sum(await bench.land({ path: at("/from.csv"), ...more, ...allow }))).toEqual(whole);
    expect(requests.filter(({ path }) => path === "/a.csv").every((each) => each.authorization === undefined)).toBe(
      true,
    );
    expect(requests.filter(({ path }) => path === "/from.csv").every((each) => each.authorization !== undefined)).toBe(
      true,
    );
  });

  test("queries tell files apart, and are written nowhere", async () => {
    served.set("/q.csv?part=1&token=hush", { body: Buffer.from("id\n1\n"), etag: '"1"' });
    served.set("/q.csv?part=2&token=hush", { body: Buffer.from("id\n2\n"), etag: '"1"' });
    const paths = [at("/q.csv?part=1&token=hush"), at("/q.csv?part=2&token=hush")];
    const landing = await land(paths);
    expect(await bench.rows(landing, "id")).toEqual([{ id: 1n }, { id: 2n }]);
    expect(JSON.stringify(landing.plan)).not.toContain("hush");
    // A token that was renewed makes no new file.
    served.set("/q.csv?part=1&token=new", { body: Buffer.from("id\n1\n"), etag: '"1"' });
    const one = await land([paths[0]!]);
    expect((await land(at("/q.csv?part=1&token=new"), {}, one)).plan.parts).toEqual([]);
  });

  test("a pattern is no file of a server, and URLs do not mix with paths", async () => {
    expect((await refusal(at("/*.csv"))).code).toBe("config");
    expect((await refusal([at("/a.csv"), "b.csv"])).code).toBe("config");
  });

  test("copies go with the source that made them", async () => {
    served.set("/whole.csv", { body: large, ranges: false });
    const copies = (): string[] => {
      const folder = join(bench.folder, ".scratch", "files");
      return existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith("web-")) : [];
    };
    {
      await using files = await bench.open({ path: at("/whole.csv"), allow_hosts: [host] });
      await files.plan({}, {});
      expect(copies()).toHaveLength(1);
    }
    expect(copies()).toEqual([]);
  });
});

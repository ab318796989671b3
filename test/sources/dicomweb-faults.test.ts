import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer, request as send, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  forEachLimited,
  isMillraceError,
  type Cursor,
  type MillraceError,
  type Plan,
  type ReadRequest,
  type Source,
} from "../../src/core/index.ts";
import definition, { dicomwebOptions } from "../../src/sources/dicomweb/index.ts";
import { boundaryOf, partsOfBody } from "../../src/sources/dicomweb/multipart.ts";
import { Position } from "../../src/sources/dicomweb/position.ts";
import { requireProgram } from "../services/install.ts";
import { startOrthanc, type Orthanc } from "../services/orthanc.ts";
import { dicomFile } from "../support/dicom.ts";

let orthanc: Orthanc;
let folder: string;
const servers: Server[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-dicomweb-faults-"));
  orthanc = await startOrthanc();
  const files = [1, 2].flatMap((series) =>
    [1, 2].map((instance) => {
      const uids = { study: "2.25.1", series: `2.25.1.${series}`, instance: `2.25.1.${series}.${instance}` };
      return dicomFile(uids, { "00100020": ["LO", "someone"], "00204000": ["LT", "x".repeat(5_000)] });
    }),
  );
  expect(await orthanc.store(files)).toBe(4);
}, 300_000);
afterAll(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await orthanc[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function listen(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer);
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

async function open(url: string, more: Record<string, unknown> = {}): Promise<Source> {
  const driver = await definition.load();
  const { user, password } = orthanc;
  const options = dicomwebOptions.parse({ url, user, password, allow_hosts: [new URL(url).host], ...more });
  return driver.open(options, { connection: "pacs", folder, engine: undefined as never, scratch: folder });
}

interface Read {
  uids: string[];
  rejected: { reason: string; origin: string }[];
}

async function readAll(source: Source, request: ReadRequest): Promise<Read> {
  return readPlan(source, await source.plan(request, {}), request);
}

async function readPlan(source: Source, plan: Plan, request: ReadRequest): Promise<Read> {
  const read: Read = { uids: [], rejected: [] };
  for (const part of plan.parts) {
    const payload = await source.read(JSON.parse(JSON.stringify(part)) as typeof part, request, {});
    if (payload.form !== "bytes") throw new Error("bytes are expected");
    let text = "";
    for await (const chunk of payload.chunks) text += Buffer.from(chunk).toString();
    read.uids.push(
      ...text
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => /2\.25\.\d+\.\d+\.\d+/.exec(line)?.[0] ?? line),
    );
    read.rejected.push(...payload.rejected!());
  }
  return { ...read, uids: read.uids.toSorted() };
}

const errorOf = async (action: () => Promise<unknown>): Promise<MillraceError> => {
  const error: unknown = await action().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (isMillraceError(error)) return error;
  throw new Error("an error of ours is expected", { cause: error });
};

const all = ["2.25.1.1.1", "2.25.1.1.2", "2.25.1.2.1", "2.25.1.2.2"];
const scans: ReadRequest = { stream: "scans", columns: ["instance_uid"] };

describe("dicomweb: a network that fails", () => {
  type Fault = "503" | "429" | "refuse" | "cut" | "short" | "drip";
  interface Passage {
    fault: Fault;
    at: number;
    requests: number;
    fired: boolean;
  }

  /** Stands between, and does one thing at one request: passages are told apart by the first segment of the path. */
  async function startBetween(passages: Map<string, Passage>): Promise<string> {
    return listen((request, response) => {
      const [, name = "", path = ""] = /^\/([^/]+)(\/.*)$/.exec(request.url!) ?? [];
      const passage = passages.get(name)!;
      const fault = passage.requests++ === passage.at ? passage.fault : undefined;
      passage.fired ||= fault !== undefined;
      if (fault === "503" || fault === "429")
        return void response.writeHead(Number(fault), { "retry-after": "0" }).end("busy");
      if (fault === "refuse") return void request.destroy();
      const { authorization, accept } = request.headers;
      const upstream = send(
        `http://127.0.0.1:${orthanc.port}${path}`,
        { headers: { authorization, accept } },
        (answer) => {
          void answer.toArray().then((chunks: Buffer[]) => {
            const body = Buffer.concat(chunks);
            const headers = { "content-type": answer.headers["content-type"] ?? "" };
            const half = body.subarray(0, Math.floor(body.length * 0.6));
            if (fault === "cut") {
              response.writeHead(answer.statusCode!, { ...headers, "content-length": body.length });
              response.write(half, () => response.destroy());
            } else if (fault === "short") {
              // Ends in order, with less in it.
              response.writeHead(answer.statusCode!, { ...headers, "content-length": half.length }).end(half);
            } else if (fault === "drip") {
              response.writeHead(answer.statusCode!, headers);
              for (let at = 0; at < body.length; at += 997) response.write(body.subarray(at, at + 997));
              response.end();
            } else response.writeHead(answer.statusCode!, { ...headers, "content-length": body.length }).end(body);
          });
        },
      );
      upstream.end();
    });
  }

  test("whatever fails at whichever request, each instance is read once", async () => {
    const passages = new Map<string, Passage>([["none", { fault: "drip", at: -1, requests: 0, fired: false }]]);
    const root = await startBetween(passages);
    const planOf = async (name: string): Promise<Plan> => {
      await using source = await open(`${root}/${name}/dicom-web`);
      return source.plan(scans, {});
    };
    const plan = await planOf("none");
    // The list of studies twice, and that of instances; then there are two series.
    expect(passages.get("none")!.requests).toBe(3);
    const faults = ["503", "429", "refuse", "cut", "drip"] as const;
    for (const fault of faults) {
      for (const at of [0, 1, 2]) passages.set(`plan-${fault}-${at}`, { fault, at, requests: 0, fired: false });
    }
    // JSON that ends early in order is damaged; a body of parts that does so goes on with what is missing.
    for (const fault of ["503", "refuse", "cut", "short", "drip"] as const) {
      for (const at of [0, 1]) passages.set(`read-${fault}-${at}`, { fault, at, requests: 0, fired: false });
    }
    const names = [...passages.keys()].filter((name) => name !== "none");
    await forEachLimited(names, 3, async (name) => {
      if (name.startsWith("plan")) expect([name, await planOf(name)]).toEqual([name, plan]);
      else {
        await using source = await open(`${root}/${name}/dicom-web`);
        expect([name, await readPlan(source, plan, scans)]).toEqual([name, { uids: all, rejected: [] }]);
      }
      expect([name, passages.get(name)!.fired]).toEqual([name, true]);
    });
    expect(
      await readdir(folder, { recursive: true }).then((files) => files.filter((file) => file.includes("instance-"))),
    ).toEqual([]);
  });

  test("a server that dies in the middle: the part is read again once it is back, each instance once", async () => {
    await using source = await open(orthanc.url, { part_instances: 2 });
    const plan = await source.plan(scans, {});
    expect(plan.parts).toHaveLength(2);
    const read = async (index: number): Promise<string[]> => {
      const payload = await source.read(plan.parts[index]!, scans, {});
      if (payload.form !== "bytes") throw new Error("bytes are expected");
      let text = "";
      for await (const chunk of payload.chunks) text += Buffer.from(chunk).toString();
      return text.match(/2\.25\.\d+\.\d+\.\d+/g) ?? [];
    };
    const first = await read(0);
    await orthanc.kill();
    expect(await errorOf(() => read(1))).toMatchObject({ code: "unreachable", temporary: true });
    await orthanc.start();
    expect([...first, ...(await read(1))].toSorted()).toEqual(all);
  });
});

describe("dicomweb: a server that answers otherwise", () => {
  type Answer = { status?: number; type?: string; body?: string | Buffer };
  const uid = (value: string): { vr: string; Value: string[] } => ({ vr: "UI", Value: [value] });
  const study = { "0020000D": uid("2.25.5") };
  const instance = { ...study, "0020000E": uid("2.25.5.1"), "00080018": uid("2.25.5.1.1") };
  const json = (value: unknown): Answer => ({ type: "application/dicom+json", body: JSON.stringify(value) });

  /** A service of one instance, of which something is as it should not be. */
  async function startStrange(answers: { studies?: Answer; instances?: Answer; files?: Answer }): Promise<string> {
    return listen((request, response) => {
      const { pathname, searchParams } = new URL(request.url!, "http://host");
      const offset = Number(searchParams.get("offset") ?? 0);
      const answer = pathname.endsWith("/studies")
        ? (answers.studies ?? json(offset === 0 ? [study] : []))
        : searchParams.has("limit")
          ? (answers.instances ?? json(offset === 0 ? [instance] : []))
          : (answers.files ?? { status: 404 });
      const { status = 200, type = "text/plain", body = "" } = answer;
      response.writeHead(status, { "content-type": type }).end(body);
    });
  }
  const related = (body: string | Buffer, boundary = "; boundary=b"): Answer => ({
    type: `multipart/related; type="application/dicom"${boundary}`,
    body,
  });

  const cases: [what: string, answers: Parameters<typeof startStrange>[0], code: string, words: RegExp][] = [
    [
      "a login instead of a list",
      { studies: { type: "text/html; charset=utf-8", body: "<html>Log in" } },
      "parse",
      /`text\/html` instead of DICOM JSON/,
    ],
    ["JSON that is no list", { studies: json({ error: "no" }) }, "parse", /list of matches/],
    ["a list of something else", { studies: json([1, null]) }, "parse", /list of matches/],
    [
      "JSON that is damaged",
      { studies: { type: "application/dicom+json", body: '[{"0020000D":' } },
      "parse",
      /whole JSON/,
    ],
    [
      "JSON nested without an end",
      { studies: { type: "application/json", body: "[".repeat(5_000) } },
      "parse",
      /whole JSON/,
    ],
    [
      "a match without a UID",
      { studies: json([{ "00100020": { vr: "LO", Value: ["x"] } }]) },
      "parse",
      /StudyInstanceUID/,
    ],
    ["a UID that leads elsewhere", { studies: json([{ "0020000D": uid("..") }]) }, "parse", /as a UID/],
    ["another password", { studies: { status: 401 } }, "authentication", /401/],
    [
      "a login instead of instances",
      { files: { type: "text/html", body: "<html>" } },
      "parse",
      /2\.25\.5\.1.*`text\/html` instead of DICOM instances/,
    ],
    ["no boundary", { files: related("--b\r\n\r\n", "") }, "parse", /2\.25\.5\.1.*no boundary/],
    [
      "a boundary of a kilobyte",
      { files: related("", `; boundary=${"b".repeat(1_000)}`) },
      "parse",
      /2\.25\.5\.1.*boundary/,
    ],
    [
      "something else before the first boundary",
      { files: related("x".repeat(100_000)) },
      "parse",
      /begin with its boundary/,
    ],
    [
      "a header without an end",
      { files: related(`--b\r\nx: ${"y".repeat(100_000)}`) },
      "parse",
      /headers without an end/,
    ],
    ["something behind a boundary", { files: related("--bother\r\n\r\n") }, "parse", /behind a boundary/],
    [
      "JSON as a part",
      { files: related("--b\r\ncontent-type: application/json\r\n\r\n{}\r\n--b--") },
      "parse",
      /`application\/json` instead of DICOM/,
    ],
    ["no part at all", { files: related("--b--") }, "parse", /no instance/],
    ["a body without its end", { files: related("--b\r\n\r\nDICM") }, "corrupt", /series 2\.25\.5\.1.*last boundary/],
    ["an instance that is listed and not there", {}, "not-found", /2\.25\.5\.1\.1/],
  ];
  test.concurrent.each(cases)("%s", async (_what, answers, code, words) => {
    await using source = await open(await startStrange(answers));
    const error = await errorOf(() => readAll(source, scans));
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(words)]);
    expect(error.hint ?? "").not.toBe("");
    expect(error.message).not.toContain(orthanc.password);
  });

  test("bytes that are no DICOM are rejected with the reason, and so is nothing at all, and too much", async () => {
    const found: string[] = [];
    for (const body of ["not DICOM, whatever it says", "", "x".repeat(3_000_000)]) {
      const url = await startStrange({
        files: related(`--b\r\ncontent-type: application/dicom\r\n\r\n${body}\r\n--b--`),
      });
      await using source = await open(url, { max_instance_mb: 2 });
      const { uids, rejected } = await readAll(source, scans);
      expect([uids, rejected[0]!.origin]).toEqual([[], "studies/2.25.5/series/2.25.5.1/instances/2.25.5.1.1"]);
      found.push(rejected[0]!.reason);
    }
    expect(found).toEqual([
      expect.stringMatching(/DICOM/),
      "it is empty",
      expect.stringMatching(/larger than the 2 MiB/),
    ]);
  });

  test("an instance that was removed since it was listed is rejected, and the others are read", async () => {
    await using source = await open(orthanc.url);
    const uids = { study: "2.25.8", series: "2.25.8.1" };
    const request = { ...scans, options: { query: { StudyInstanceUID: uids.study } } };
    await orthanc.store(["2.25.8.1.1", "2.25.8.1.2"].map((each) => dicomFile({ ...uids, instance: each }, {})));
    for (const stream of ["scans", "instances"]) {
      const columns = stream === "scans" ? ["instance_uid"] : ["SOPInstanceUID"];
      const plan = await source.plan({ ...request, stream, columns }, {});
      if (stream === "scans") await orthanc.remove("2.25.8.1.1");
      else await orthanc.remove("2.25.8.1.2");
      const payload = await source.read(plan.parts[0]!, { ...request, stream, columns }, {});
      if (payload.form !== "bytes") throw new Error("bytes are expected");
      let text = "";
      for await (const chunk of payload.chunks) text += Buffer.from(chunk).toString();
      expect(text.includes("2.25.8.1.2")).toBe(stream === "scans");
      expect(payload.rejected!()[0]!.reason).toMatch(/removed from the server/);
      expect(payload.rows!()).toBe(stream === "scans" ? 2 : 1);
    }
  });
});

const openssl = await requireProgram({ service: "OpenSSL", name: "openssl", packages: ["openssl"] });

describe("dicomweb: encryption", () => {
  /** A certificate that is its own authority. */
  function makeCertificate(name: string): { key: string; certificate: string } {
    const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2", "-nodes"];
    const subject = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"];
    execFileSync(openssl, ["req", "-x509", ...kind, ...subject, "-keyout", key, "-out", certificate], {
      stdio: "pipe",
    });
    return { key, certificate };
  }

  test("the authority and the certificate of the connection are used, and without them nobody is trusted", async () => {
    const [own, client] = [makeCertificate("server"), makeCertificate("client")];
    const server = createSecureServer(
      {
        key: readFileSync(own.key),
        cert: readFileSync(own.certificate),
        ca: readFileSync(client.certificate),
        requestCert: true,
      },
      (_request, response) => response.writeHead(200, { "content-type": "application/dicom+json" }).end("[]"),
    );
    servers.push(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `https://127.0.0.1:${(server.address() as { port: number }).port}/dicom-web`;
    const check = async (options: Record<string, unknown>): Promise<void> => {
      await using source = await open(url, options);
      await source.check();
    };
    // Relative paths are taken from the folder of the configuration.
    await check({ ca: "server.crt", certificate: "client.crt", key: client.key });
    expect(await errorOf(() => check({}))).toMatchObject({
      code: "unreachable",
      hint: expect.stringContaining("`ca`"),
    });
    expect(await errorOf(() => check({ ca: "server.crt" }))).toMatchObject({ code: "unreachable" });
    expect(await errorOf(() => check({ ca: "none.crt" }))).toMatchObject({ code: "config" });
    expect(await errorOf(() => check({ certificate: "client.crt" }))).toMatchObject({ code: "config" });
  });
});

describe("dicomweb: the position", () => {
  test("takes eleven bytes an instance, survives JSON, and says nothing without the key", () => {
    const key = "a key of more than 16";
    const uid = (index: number): string[] => ["2.25.1", "2.25.1.1", `2.25.1.1.${index}`];
    /** How many of ten thousand are new. */
    const newOf = (position: Position): number =>
      Array.from({ length: 10_000 }, (_, index) => position.add(...uid(index))).filter(Boolean).length;
    const position = new Position(undefined, key);
    expect(newOf(position)).toBe(10_000);
    const cursor = JSON.parse(JSON.stringify(position.toCursor())) as Cursor;
    expect(cursor.count).toBe(10_000);
    expect(JSON.stringify(cursor).length).toBeLessThan(10_000 * 11);
    const again = new Position(cursor, key);
    expect([again, new Position(cursor, `${key}!`), new Position(cursor)].map(newOf)).toEqual([0, 10_000, 10_000]);
    expect(again.toCursor()).toEqual(cursor);
    expect(() => new Position({ version: 2, read: "" })).toThrow(/version 2/);
  });
});

describe("dicomweb: pages", () => {
  const match = (index: number): unknown => ({ "0020000D": { vr: "UI", Value: [`2.25.${index}`] } });
  const list = (count: number): unknown[] => Array.from({ length: count }, (_, index) => match(index));

  /** The studies that a server gives whose pages are made by `page`. */
  async function studiesOf(page: (limit: number, offset: number, request: number) => unknown[]): Promise<string[]> {
    let requests = 0;
    const url = await listen((request, response) => {
      const { searchParams } = new URL(request.url!, "http://host");
      const body = page(Number(searchParams.get("limit")), Number(searchParams.get("offset")), requests++);
      response.writeHead(200, { "content-type": "application/dicom+json" }).end(JSON.stringify(body));
    });
    await using source = await open(url, { page_size: 10 });
    const request = { stream: "studies", columns: ["StudyInstanceUID"] };
    const [part] = (await source.plan(request, {})).parts;
    const payload = await source.read(part!, request, {});
    if (payload.form !== "bytes") throw new Error("bytes are expected");
    let text = "";
    for await (const chunk of payload.chunks) text += Buffer.from(chunk).toString();
    return text.match(/2\.25\.\d+/g) ?? [];
  }
  const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `2.25.${index}`);

  test("no match, one page, full pages, and a server that gives fewer than it was asked for", async () => {
    for (const count of [0, 1, 9, 10, 11, 19, 20, 35]) {
      expect(await studiesOf((limit, offset) => list(count).slice(offset, offset + limit))).toEqual(names(count));
    }
    expect(await studiesOf((_, offset) => list(35).slice(offset, offset + 4))).toEqual(names(35));
  });

  test("a server that knows no pages gives all at once; one that gives the first page only is told of", async () => {
    expect(await studiesOf(() => list(7))).toEqual(names(7));
    expect(await studiesOf(() => list(35))).toEqual(names(35));
    expect(await errorOf(() => studiesOf((limit) => list(35).slice(0, limit)))).toMatchObject({
      code: "unsupported",
      hint: expect.stringContaining("page_size"),
    });
  });

  test("studies that come or go between two pages hide no other", async () => {
    let fired = 0;
    const gone = await studiesOf((limit, offset, request) => {
      const studies = list(35);
      // From the second page on two of the first are missing.
      if (request > 0) fired += studies.splice(3, 2).length;
      return studies.slice(offset, offset + limit);
    });
    expect([fired > 0, new Set(gone).size, gone.length]).toEqual([true, 35, 35]);
    const came = await studiesOf((limit, offset, request) => {
      const studies = [...(request > 0 ? [match(100)] : []), ...list(35)];
      return studies.slice(offset, offset + limit);
    });
    expect(came.filter((each) => each !== "2.25.100").toSorted()).toEqual(names(35).toSorted());
    // One that never holds still is told of.
    const error = await errorOf(() =>
      studiesOf((limit, offset, request) => list(1_000).slice(offset + request, offset + request + limit)),
    );
    expect(error).toMatchObject({ code: "conflict", temporary: true });
  });
});

describe("dicomweb: bodies of several parts", () => {
  async function partsOf(chunks: Uint8Array[], boundary: string): Promise<string[]> {
    const found: string[] = [];
    async function* stream(): AsyncGenerator<Uint8Array> {
      yield* chunks;
    }
    for await (const part of partsOfBody(stream(), boundary)) {
      let text = "";
      for await (const chunk of part.body()) text += Buffer.from(chunk).toString("latin1");
      found.push(`${part.headers.get("content-type") ?? ""}|${text}`);
    }
    return found;
  }
  const body = Buffer.from(
    "preamble\r\n--b-1\r\nContent-Type: application/dicom;\r\n  x=y\r\n\r\none\r\n--b-\r\n--b-1  \r\n\r\ntwo\r\n\r\n--b-1\r\nA: b\r\n\r\n\r\n--b-1--\r\nepilogue",
    "latin1",
  );
  const parts = ["application/dicom; x=y|one\r\n--b-", "|two\r\n", "|"];

  test("are the same parts wherever the stream is split", async () => {
    for (let at = 0; at <= body.length; at++) {
      expect(await partsOf([body.subarray(0, at), body.subarray(at)], "b-1")).toEqual(parts);
    }
    expect(
      await partsOf(
        [...body].map((byte) => Uint8Array.of(byte)),
        "b-1",
      ),
    ).toEqual(parts);
  });

  test("never end early without an error", async () => {
    const end = body.indexOf("--b-1--") + "--b-1--".length;
    for (let at = 0; at < end; at++) {
      expect(await errorOf(() => partsOf([body.subarray(0, at)], "b-1"))).toMatchObject({
        code: "corrupt",
        temporary: true,
      });
    }
    expect(await partsOf([body.subarray(0, end)], "b-1")).toEqual(parts);
  });

  test("are passed over where nobody reads them", async () => {
    async function* stream(): AsyncGenerator<Uint8Array> {
      yield body;
    }
    let count = 0;
    for await (const part of partsOfBody(stream(), "b-1")) {
      count += part.headers.size >= 0 ? 1 : 0;
      for await (const chunk of part.body()) if (chunk.length > 0) break;
    }
    expect(count).toBe(3);
  });

  test("say their boundary in the media type, as tokens or in quotes", () => {
    expect(boundaryOf('multipart/related; type="application/dicom"; boundary=abc')).toBe("abc");
    expect(boundaryOf('Multipart/Related;BOUNDARY="a b;c\\"d"; type="application/dicom"')).toBe('a b;c"d');
    expect(boundaryOf("application/dicom")).toBeUndefined();
    expect(() => boundaryOf("multipart/related; type=boundary")).toThrow(/no boundary/);
  });
});

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";

type Json = Record<string, unknown>;

/** How the server does what the STAC API specification leaves to it. */
export interface Behaviour {
  /** `merge`: the next page is asked for with what the link adds; `body`: with what it holds; `get`: by its URL, and there is no POST. */
  paging: "merge" | "body" | "get";
  /** Takes CQL2 as JSON, and says so. */
  filter: boolean;
  /** Every page names itself as the next one. */
  circle?: boolean;
  /** What it demands of every request. */
  authorization?: string;
}

export interface Asked {
  method: string;
  path: string;
  body: Json | undefined;
  range: string | undefined;
  authorization: string | undefined;
  /** Of the answer's body. */
  bytes: number;
}

/** Files as a plain server of HTTP gives them, with ranges unless `whole`. */
export interface Served {
  body: Buffer;
  type?: string;
  etag?: string;
  /** Gives no parts. */
  whole?: boolean;
}

/** An API by the STAC API specification 1.0 (core, collections, item search, filter), and files beside it, on the loopback. */
export interface StacServer extends AsyncDisposable {
  origin: string;
  /** For `allow_hosts`. */
  host: string;
  behaviour: Behaviour;
  collections: Map<string, Json[]>;
  files: Map<string, Served>;
  asked: Asked[];
  /** Statuses and headers that the next searches are answered with instead; what was used is gone. */
  faults: { status: number; headers?: Record<string, string> }[];
}

const members = new Set(["collections", "ids", "bbox", "datetime", "limit", "filter", "filter-lang", "token"]);
const maximumPage = 1_000;

export async function startStac(): Promise<StacServer> {
  const state = {
    behaviour: { paging: "merge", filter: true } as Behaviour,
    collections: new Map<string, Json[]>(),
    files: new Map<string, Served>(),
    asked: [] as Asked[],
    faults: [] as StacServer["faults"],
  };
  const server = createServer((request, response) => {
    void answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const host = `127.0.0.1:${(server.address() as { port: number }).port}`;
  const origin = `http://${host}`;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url!, origin);
    const { range, authorization } = request.headers;
    const body = chunks.length === 0 ? undefined : (JSON.parse(Buffer.concat(chunks).toString()) as Json);
    const asked: Asked = {
      method: request.method!,
      path: url.pathname + url.search,
      body,
      range,
      authorization,
      bytes: 0,
    };
    state.asked.push(asked);
    const send = (status: number, bytes: Buffer, headers: Record<string, string> = {}): void => {
      asked.bytes = bytes.length;
      response.writeHead(status, { ...headers, "content-length": bytes.length }).end(bytes);
    };
    const json = (value: unknown, status = 200): void =>
      send(status, Buffer.from(JSON.stringify(value)), { "content-type": "application/geo+json" });
    const wanted = state.behaviour.authorization;
    if (wanted !== undefined && authorization !== wanted) return json({ code: "Unauthorized" }, 401);
    const file = state.files.get(decodeURIComponent(url.pathname));
    if (file !== undefined) return sendFile(file, request, send);
    if (url.pathname === "/") return json(landing());
    if (url.pathname === "/collections") {
      return json({ collections: [...state.collections.keys()].map(collection), links: [] });
    }
    const [, name] = /^\/collections\/([^/]+)$/.exec(url.pathname) ?? [];
    if (name !== undefined && state.collections.has(decodeURIComponent(name)))
      return json(collection(decodeURIComponent(name)));
    if (url.pathname !== "/search") return json({ code: "NotFound" }, 404);
    const fault = state.faults.shift();
    if (fault !== undefined) return send(fault.status, Buffer.alloc(0), fault.headers);
    if (request.method === "POST" && state.behaviour.paging === "get") return json({ code: "MethodNotAllowed" }, 405);
    return search(request.method === "POST" ? body! : queryOf(url), request.method === "POST", json);
  }

  const landing = (): Json => ({
    type: "Catalog",
    stac_version: "1.0.0",
    id: "test",
    description: "A test",
    conformsTo: [
      "https://api.stacspec.org/v1.0.0/core",
      "https://api.stacspec.org/v1.0.0/item-search",
      ...(state.behaviour.filter
        ? ["https://api.stacspec.org/v1.0.0/item-search#filter", "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json"]
        : []),
    ],
    links: [
      { rel: "self", href: `${origin}/` },
      { rel: "data", href: `${origin}/collections` },
      { rel: "search", href: `${origin}/search`, type: "application/geo+json", method: "GET" },
      ...(state.behaviour.paging === "get"
        ? []
        : [{ rel: "search", href: `${origin}/search`, type: "application/geo+json", method: "POST" }]),
    ],
  });

  const collection = (id: string): Json => ({
    type: "Collection",
    stac_version: "1.0.0",
    id,
    description: id,
    license: "proprietary",
    extent: { spatial: { bbox: [[-180, -90, 180, 90]] }, temporal: { interval: [[null, null]] } },
    links: [],
  });

  function search(body: Json, isPost: boolean, json: (value: unknown, status?: number) => void): void {
    const unknown = Object.keys(body).filter((member) => !members.has(member));
    if (unknown.length > 0 || (body["filter"] !== undefined && !state.behaviour.filter))
      return json({ code: "BadRequest", description: `not known: ${unknown.join(", ")}` }, 400);
    const limit = Math.min(Number(body["limit"] ?? 10), maximumPage);
    const at = Number(body["token"] ?? 0);
    const names = (body["collections"] ?? [...state.collections.keys()]) as string[];
    const ids = body["ids"] === undefined ? undefined : new Set(body["ids"] as string[]);
    const found = names
      .flatMap((name) => state.collections.get(name) ?? [])
      .filter((item) => ids === undefined || ids.has(String(item["id"])))
      .filter((item) => isWithin(item, body["datetime"] as string | undefined))
      .filter((item) => meets(item, body["bbox"] as number[] | undefined))
      .filter((item) => fitsFilter(item, body["filter"] as Filter | undefined));
    const token = String(state.behaviour.circle === true ? at : at + limit);
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...body, token })) query.set(name, String(value));
    const next = !isPost
      ? { rel: "next", href: `${origin}/search?${query.toString()}` }
      : state.behaviour.paging === "merge"
        ? { rel: "next", href: "/search", method: "POST", merge: true, body: { token } }
        : { rel: "next", href: `${origin}/search`, method: "POST", body: { ...body, token } };
    const links = at + limit < found.length || state.behaviour.circle === true ? [next] : [];
    json({ type: "FeatureCollection", features: found.slice(at, at + limit), links, numberMatched: found.length });
  }

  return Object.assign(state, {
    origin,
    host,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

/** Parameters of a URL in the shape of a body. */
function queryOf(url: URL): Json {
  const lists: Record<string, (text: string) => unknown> = {
    collections: (text) => text.split(","),
    ids: (text) => text.split(","),
    bbox: (text) => text.split(",").map(Number),
  };
  return Object.fromEntries(
    [...url.searchParams].map(([name, value]) => [name, Object.hasOwn(lists, name) ? lists[name]!(value) : value]),
  );
}

const propertyOf = (item: Json, name: string): unknown => (item["properties"] as Json)[name];

function isWithin(item: Json, datetime: string | undefined): boolean {
  if (datetime === undefined) return true;
  const [from, to = from] = datetime.split("/") as [string, string?];
  const at = Date.parse(String(propertyOf(item, "datetime")));
  return (from === ".." || at >= Date.parse(from)) && (to === ".." || at <= Date.parse(to));
}

function meets(item: Json, box: number[] | undefined): boolean {
  if (box === undefined) return true;
  const [west, south, east, north] = item["bbox"] as [number, number, number, number];
  return west <= box[2]! && east >= box[0]! && south <= box[3]! && north >= box[1]!;
}

interface Filter {
  op: string;
  args: unknown[];
}

function fitsFilter(item: Json, filter: Filter | undefined): boolean {
  if (filter === undefined) return true;
  if (filter.op === "and") return filter.args.every((each) => fitsFilter(item, each as Filter));
  const [left, right] = filter.args as [{ property: string }, unknown];
  const value = propertyOf(item, left.property);
  if (filter.op === "<") return Number(value) < Number(right);
  if (filter.op !== ">=") throw new Error(`no operator ${filter.op}`);
  return Date.parse(String(value)) >= Date.parse((right as { timestamp: string }).timestamp);
}

function sendFile(
  file: Served,
  request: IncomingMessage,
  send: (status: number, bytes: Buffer, headers?: Record<string, string>) => void,
): void {
  const headers: Record<string, string> = { "content-type": file.type ?? "application/json" };
  if (file.etag !== undefined) headers["etag"] = file.etag;
  const condition = request.headers["if-match"];
  if (condition !== undefined && condition !== file.etag) return send(412, Buffer.alloc(0), headers);
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  if (from === undefined || file.whole === true) return send(200, file.body, headers);
  const end = Math.min(Number(to) + 1, file.body.length);
  headers["content-range"] = `bytes ${from}-${end - 1}/${file.body.length}`;
  send(206, file.body.subarray(Number(from), end), headers);
}

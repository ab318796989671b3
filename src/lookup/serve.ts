import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { MillraceError, suggestion } from "../core/index.ts";
import { foundJson, resultJson } from "./answer.ts";
import { arrowForm, foundBytes, packedForm } from "./forms.ts";
import { assertProgram, listen, type ListenOptions } from "./listen.ts";
import { describe, healthOf, refreshAll, type Live, type RefreshReport } from "./live.ts";
import type { Lookup } from "./lookup.ts";
import { bodyOf, questionOfBody, questionOfQuery, type LookupQuestion } from "./request.ts";
import { serveResp } from "./resp-server.ts";
import { fail, jsonType, notAllowed, send, sendJson, staleness } from "./respond.ts";
import { rowsOfBody, transformedJson, type Transformer } from "./transform.ts";

export interface ServeLookupOptions extends ListenOptions {
  /** Keys of one request. Default 1000. */
  maxKeys?: number;
  /** Bytes of the body of a request. Default 1 MiB. */
  maxRequestBytes?: number;
  /** Bytes of the rows of one answer. Default 64 MiB. */
  maxAnswerBytes?: number;
  /** How long after the last look it is looked again whether there are newer versions, milliseconds; 0: never. Default 5000. */
  refreshMs?: number;
  /** A port at which clients of Redis are answered too; 0: a free one. Absent: none. */
  redisPort?: number;
  /** The transform of the dataset of a lookup, as of a version: what `POST /v1/transform/<name>` applies. Absent: nothing is transformed. */
  transformer?: (name: string, version: number | undefined) => Promise<Transformer>;
  /** Told when another version answers, when one could not be taken in, and when that is over. */
  onRefresh?: (report: RefreshReport) => void;
}

export interface LookupServer extends AsyncDisposable {
  /** `http://127.0.0.1:4200`, or `unix:/run/lookup.sock`. */
  readonly url: string;
  /** `redis://127.0.0.1:4201`, when clients of Redis are answered. */
  readonly redisUrl: string | undefined;
  /** Looks now whether there are newer versions, and takes them in. Never throws: `onRefresh` and health say what went wrong. */
  refresh(): Promise<void>;
}

const arrowType = "application/vnd.apache.arrow.stream";
const packedType = "application/vnd.millrace.records";

/**
 * Serves lookups to any number of clients:
 *
 *     GET  /v1/health                               which versions answer, and how old they are
 *     GET  /v1/lookup/<name>                        key, columns and layout of a lookup
 *     GET  /v1/lookup/<name>?key=…&key=…&columns=   rows by key
 *     POST /v1/lookup/<name>                        {"keys": […], "columns": […]}
 *     POST /v1/transform/<name>                     {"rows": [{…}, …]}: the transform of the dataset, applied to rows that are not in it
 *
 * The answer to a lookup is JSON, Arrow or packed records, as `Accept` says. The lookups stay the caller's to close, after the server.
 */
export async function serveLookups(
  lookups: readonly Lookup[],
  options: ServeLookupOptions = {},
): Promise<LookupServer> {
  const now = Date.now();
  const lives = new Map(lookups.map((lookup): [string, Live] => [lookup.name, { lookup, checked: now }]));
  const server = createServer((request, response) => {
    route(lives, options, request, response).catch((error: unknown) => fail(response, error));
  });
  server.headersTimeout = 10_000;
  server.requestTimeout = 30_000;
  server.keepAliveTimeout = 60_000;
  server.maxConnections = 1000;
  const stop = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let refreshing: Promise<void> | undefined;
  const refresh = (): Promise<void> => {
    refreshing ??= refreshAll(lives, options.onRefresh, stop.signal).finally(() => (refreshing = undefined));
    return refreshing;
  };
  const { refreshMs = 5000, maxKeys = 1000, maxRequestBytes = 1 << 20, maxAnswerBytes = 64 << 20 } = options;
  const schedule = (): void => {
    if (refreshMs > 0 && !stop.signal.aborted) timer = setTimeout(() => void refresh().then(schedule), refreshMs);
  };
  const url = await listen(server, options);
  const { redisPort, host } = options;
  await using opening = new AsyncDisposableStack();
  opening.defer(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const limits = { maxKeys, maxRequestBytes, maxAnswerBytes };
  const resp =
    redisPort === undefined
      ? undefined
      : opening.use(await serveResp(lives, { ...limits, port: redisPort, ...(host === undefined ? {} : { host }) }));
  const servers = opening.move();
  schedule();
  return {
    url,
    redisUrl: resp?.url,
    refresh,
    async [Symbol.asyncDispose]() {
      stop.abort();
      clearTimeout(timer);
      await refreshing;
      await servers.disposeAsync();
    },
  };
}

async function route(
  lives: ReadonlyMap<string, Live>,
  options: ServeLookupOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  assertProgram(request);
  const { method, url = "/" } = request;
  const mark = url.indexOf("?");
  const path = mark < 0 ? url : url.slice(0, mark);
  const isRead = method === "GET" || method === "HEAD";
  if (path === "/v1/health" && isRead) return health(lives, response);
  const [, verb, name] = /^\/v1\/(lookup|transform)\/([^/]+)$/.exec(path) ?? [];
  if (name === undefined || (verb === "transform" && options.transformer === undefined)) {
    throw new MillraceError("not-found", "there is nothing at this path", {
      hint: "GET /v1/health, GET /v1/lookup/<name>?key=…, POST /v1/lookup/<name>, POST /v1/transform/<name>",
    });
  }
  const live = lives.get(decoded(name));
  if (live === undefined) {
    throw new MillraceError("not-found", `there is no lookup \`${name.slice(0, 100)}\``, {
      hint: suggestion(name.slice(0, 100), [...lives.keys()]),
    });
  }
  if (verb === "transform") {
    if (method !== "POST") throw notAllowed(response, "POST", "rows are sent to a transform with POST");
    return transform(live, options, await bodyOf(request, options.maxRequestBytes ?? 1 << 20), response);
  }
  if (isRead) {
    const question = questionOfQuery(new URLSearchParams(mark < 0 ? "" : url.slice(mark + 1)), keyLength(live.lookup));
    if (question.keys.length > 0) return answer(live.lookup, question, options, request, response);
    return sendJson(response, 200, JSON.stringify(describe(live, Date.now())));
  }
  if (method !== "POST") throw notAllowed(response, "GET, POST", "a lookup is asked with GET or POST");
  const body = await bodyOf(request, options.maxRequestBytes ?? 1 << 20);
  return answer(live.lookup, questionOfBody(body), options, request, response);
}

async function transform(
  live: Live,
  { transformer, maxKeys = 1000 }: ServeLookupOptions,
  body: string,
  response: ServerResponse,
): Promise<void> {
  const rows = rowsOfBody(body);
  if (rows.length > maxKeys) {
    throw new MillraceError("limit", `${rows.length} rows were sent; at most ${maxKeys} are transformed at once`, {
      hint: "send them in several requests",
    });
  }
  // Of the version that answers lookups, so that what was looked up and what was made belong together.
  const version = live.lookup.index?.version;
  if (live.transformer === undefined || live.transformer.of !== version) {
    live.transformer = { of: version, opened: transformer!(live.lookup.name, version) };
    live.transformer.opened.catch(() => delete live.transformer);
  }
  const opened = await live.transformer.opened;
  const made = await opened.apply(rows);
  send(response, jsonType, transformedJson(opened.dataset, made), ["millrace-version", String(made.version)]);
}

const keyLength = ({ key }: Lookup): number | undefined => key?.length;

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function health(lives: ReadonlyMap<string, Live>, response: ServerResponse): void {
  const now = Date.now();
  const status = [...lives.values()].some((live) => live.problem !== undefined) ? "stale" : "ok";
  const all = Object.fromEntries([...lives].map(([name, live]) => [name, healthOf(live, now)]));
  sendJson(response, 200, JSON.stringify({ status, lookups: all }));
}

function formOf(request: IncomingMessage): string {
  const { accept } = request.headers;
  if (accept === undefined || accept === jsonType) return jsonType;
  const found = [arrowType, packedType, jsonType].find((type) => accept.includes(type));
  if (found !== undefined) return found;
  if (accept.includes("*/*") || accept.includes("application/*")) return jsonType;
  throw new MillraceError("unsupported", `lookups do not answer as \`${accept.slice(0, 100)}\``, {
    hint: `accept ${jsonType}, ${arrowType} or ${packedType}`,
  });
}

async function answer(
  lookup: Lookup,
  { keys, columns }: LookupQuestion,
  options: ServeLookupOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { maxKeys = 1000, maxAnswerBytes = 64 << 20 } = options;
  if (keys.length > maxKeys) {
    throw new MillraceError("limit", `${keys.length} keys were asked for; at most ${maxKeys} are answered at once`, {
      hint: "ask in several requests, or raise --max-keys",
    });
  }
  const form = formOf(request);
  const { index, name } = lookup;
  if (index === undefined) {
    if (form !== jsonType) {
      throw new MillraceError("unsupported", `\`${name}\` is a published copy, whose rows are answered as JSON only`);
    }
    const result = await lookup.get(keys, columns === undefined ? {} : { columns });
    const missing = result.rows.filter((row) => row === undefined).length;
    const text = resultJson(name, result, keys, Date.now());
    return send(response, form, text, staleness(result.version, result.published, missing));
  }
  // From here on nothing waits, so that the index stays the same and what was found stays where it is.
  const found = index.find(keys);
  if (foundBytes(found) > maxAnswerBytes) {
    throw new MillraceError("limit", `the rows of ${keys.length} keys are more than ${maxAnswerBytes} bytes`, {
      hint: "ask for fewer keys at once",
    });
  }
  let missing = 0;
  for (const base of found.bases) if (base < 0) missing++;
  const headers = staleness(index.version, index.published, missing);
  if (form === packedType) {
    if (columns !== undefined) {
      throw new MillraceError("unsupported", "packed records hold all columns", {
        hint: "leave `columns` out, or accept JSON or Arrow; `columns` of the entry in the configuration chooses for all",
      });
    }
    send(response, form, packedForm(found), headers);
  } else if (form === arrowType) {
    const places = [...found.bases.keys()].filter((place) => found.bases[place]! < 0);
    const metadata = {
      "millrace.lookup": name,
      "millrace.version": String(index.version),
      "millrace.published": new Date(index.published).toISOString(),
      "millrace.missing": JSON.stringify(places),
    };
    send(response, form, arrowForm(index, found, columns, metadata), headers);
  } else send(response, form, foundJson(name, index, found, keys, columns, Date.now()), headers);
}

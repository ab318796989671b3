import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { chmod, rm } from "node:fs/promises";
import { RecordBatchStreamWriter, type Schema } from "apache-arrow";
import { MillraceError, asMillraceError, isMillraceError } from "../core/index.ts";
import { ArrowChunks } from "./arrow-chunks.ts";
import type { Feed } from "./feed.ts";
import { feedSchema, toRecordBatch } from "./record-batch.ts";

export interface ServeOptions {
  /** Default: a free one. */
  port?: number;
  /** Default `127.0.0.1`: nothing but this machine. */
  host?: string;
  /** A Unix socket instead of a port; only its owner may connect. */
  socket?: string;
}

export interface FeedServer extends AsyncDisposable {
  /** `http://127.0.0.1:4100`, or `unix:/run/feed.sock`. */
  readonly url: string;
}

/** What `GET /v1/feed` says. */
export interface FeedDescription {
  datasets: { name: string; version: number; rows: number }[];
  /** `shape`: of images, samples of a byte in each direction. */
  columns: { name: string; type: unknown; shape?: readonly number[] }[];
  batch: number;
  rows: number;
  stepsPerEpoch: number;
  /** Null: it repeats for ever. */
  steps: number | null;
  /** Another one: what a client was told about steps no longer holds. */
  order: string;
}

const stepsOf = ({ steps }: Feed): number | null => (Number.isFinite(steps) ? steps : null);

/**
 * Serves a feed to any number of clients:
 *
 *     GET /v1/feed                                              what it is, JSON
 *     GET /v1/feed/batches?from=&to=&rank=&world=&worker=&workers=   an Arrow IPC stream, a record batch a step
 *
 * The metadata of the stream's schema say in `millrace.feed` which order it is, and how many steps there are: a client that was cut off goes on
 * where it was, and knows whether a stream is complete. A client that reads slowly slows down its own stream and nothing else. Nothing is kept of a client, so there is nothing to clean up.
 */
export async function serveFeed(feed: Feed, options: ServeOptions = {}): Promise<FeedServer> {
  const { datasets, order } = feed;
  const metadata = { "millrace.feed": JSON.stringify({ order, steps: stepsOf(feed), datasets }) };
  const schema = feedSchema(feed.columns, feed, metadata);
  const server = createServer((request, response) => {
    handle(feed, schema, request, response).catch((error: unknown) => fail(response, error));
  });
  // Training may pause for an evaluation of any length; a request that is sent slowly is another thing.
  server.headersTimeout = 10_000;
  server.keepAliveTimeout = 60_000;
  const url = await listen(server, options);
  return {
    url,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function listen(server: Server, options: ServeOptions): Promise<string> {
  const { socket, host = "127.0.0.1", port = 0 } = options;
  if (socket !== undefined) await rm(socket, { force: true });
  server.listen(socket === undefined ? { port, host } : { path: socket });
  try {
    await once(server, "listening");
  } catch (error) {
    const at = socket ?? `${host}:${port}`;
    throw new MillraceError("usage", `the feed cannot listen at \`${at}\``, {
      cause: error,
      hint: "choose another --port, or leave it out for a free one",
    });
  }
  if (socket !== undefined) {
    await chmod(socket, 0o600);
    return `unix:${socket}`;
  }
  const address = server.address() as AddressInfo;
  return `http://${host.includes(":") ? `[${host}]` : host}:${address.port}`;
}

async function handle(feed: Feed, schema: Schema, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://feed");
  assertHost(request);
  if (request.method !== "GET") throw new MillraceError("usage", "a feed is only read: use GET");
  if (url.pathname === "/v1/feed") return describe(feed, response);
  if (url.pathname === "/v1/feed/batches") return stream(feed, schema, url, response);
  throw new MillraceError("not-found", `there is no \`${url.pathname}\` here`, {
    hint: "GET /v1/feed or /v1/feed/batches",
  });
}

/** A page of a browser that resolves its own name to this machine must not read training data: it cannot forge this header. */
function assertHost(request: IncomingMessage): void {
  const host = (request.headers.host ?? "").replace(/:\d+$/, "");
  const local = request.socket.localAddress;
  if (request.headers.origin === undefined) return;
  throw new MillraceError("permission", "a feed is not for web pages", {
    hint: `read it from a program (host \`${host}\`, address \`${local ?? "socket"}\`)`,
  });
}

function describe(feed: Feed, response: ServerResponse): void {
  const { datasets, columns, batchSize, rows, stepsPerEpoch, order } = feed;
  const description: FeedDescription = {
    datasets,
    columns: columns.map(({ name, type }) => {
      const shape = feed.shapes.get(name);
      return { name, type, ...(shape === undefined ? {} : { shape }) };
    }),
    batch: batchSize,
    rows,
    stepsPerEpoch,
    steps: stepsOf(feed),
    order,
  };
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(description));
}

async function stream(feed: Feed, schema: Schema, url: URL, response: ServerResponse): Promise<void> {
  const number = (name: string, otherwise?: number): number | undefined => {
    const text = url.searchParams.get(name);
    if (text === null) return otherwise;
    if (/^\d{1,15}$/.test(text)) return Number(text);
    throw new MillraceError("usage", `\`${name}=${text.slice(0, 40)}\` is not a natural number`);
  };
  const [rank, world] = [number("rank", 0)!, number("world", 1)!];
  const [worker, workers] = [number("worker", 0)!, number("workers", 1)!];
  if (world < 1 || rank >= world || workers < 1 || worker >= workers || feed.batchSize % world !== 0) {
    throw new MillraceError(
      "usage",
      `rank ${rank} of ${world}, worker ${worker} of ${workers} do not fit a batch of ${feed.batchSize}`,
      {
        hint: "ranks are counted from 0, and their number must divide the batch",
      },
    );
  }
  const from = number("from", 0)!;
  const to = number("to");
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  const reading = { from, rank, world, worker, workers, ...(to === undefined ? {} : { to }) };
  const batches = feed.batches({ ...reading, signal: gone.signal })[Symbol.asyncIterator]();
  // Before anything is said: what is wrong cannot be said in the middle of a stream, but when the client comes back for this step.
  let next = await batches.next();
  response.writeHead(200, { "content-type": "application/vnd.apache.arrow.stream" });
  const writer = new RecordBatchStreamWriter({ autoDestroy: false });
  const sink = new ArrowChunks();
  writer.reset(sink, schema);
  // One batch is made while the one before is on its way.
  let sent = Promise.resolve();
  while (next.done !== true) {
    writer.write(toRecordBatch(schema, next.value));
    const chunks = sink.take();
    await sent;
    if (gone.signal.aborted) return;
    sent = send(response, chunks, gone.signal);
    next = await batches.next();
  }
  await sent;
  if (gone.signal.aborted) return;
  writer.finish();
  for (const chunk of sink.take()) response.write(chunk);
  response.end();
}

/** Resolves when the system has taken all of it, or the client is gone. So a slow client holds up its own stream only, and memory is bounded. */
function send(response: ServerResponse, chunks: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const taken = (): void => {
      signal.removeEventListener("abort", taken);
      resolve();
    };
    signal.addEventListener("abort", taken);
    response.cork();
    for (const [index, chunk] of chunks.entries()) {
      if (index < chunks.length - 1) response.write(chunk);
      else response.write(chunk, taken);
    }
    response.uncork();
  });
}

const statuses: Record<string, number> = { usage: 400, permission: 403, "not-found": 404 };

function fail(response: ServerResponse, error: unknown): void {
  if (isMillraceError(error) && error.code === "aborted") return;
  const known = asMillraceError(error, {});
  // A stream that was begun cannot say more: a client sees that it was cut.
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(statuses[known.code] ?? 500, { "content-type": "application/json" });
  response.end(JSON.stringify({ code: known.code, message: known.message, hint: known.hint }));
}

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import {
  asMillraceError,
  isMillraceError,
  MillraceError,
  type CollectorKey,
  type CollectorReply,
} from "../../core/index.ts";
import { Held, readBody, unpack } from "./body.ts";
import { clientAddress, proxiesOf } from "./limits.ts";
import { preflight } from "./origins.ts";
import { healthy, refusals, send, unhealthy } from "./replies.ts";
import { routesOf, type CollectTarget, type Matched } from "./routes.ts";

export type { CollectTarget } from "./routes.ts";

export interface CollectOptions {
  /** Default `127.0.0.1`. */
  host?: string;
  /** Default 4300; 0: a free one. */
  port?: number;
  /** Connections at the same time; more are closed at once. Default 10,000. */
  maxConnections?: number;
  /** Addresses and networks of proxies whose `X-Forwarded-For` is believed. Default: none. */
  proxies?: readonly string[];
  /** How long a client may take for headers and for a whole request, milliseconds. Defaults 10,000 and 30,000. */
  headersTimeoutMs?: number;
  requestTimeoutMs?: number;
  /** What all bodies that are being read may hold. Default 256 MiB. */
  heldBytes?: number;
  /** Told of what a person should know: that an inbox is full, that it is not any more. */
  onProblem?: (text: string) => void;
}

export interface CollectServer extends AsyncDisposable {
  /** `http://127.0.0.1:4300` */
  readonly url: string;
  /** Requests whose rows are durable. */
  taken(): number;
}

const loopback = /^(127(\.\d{1,3}){3}|::1|localhost)$/;
/** How long requests that are under way are waited for when it is to stop. */
const drainMs = 20_000;

/**
 * Takes requests for collectors and answers once they are durable. The inboxes stay the caller's to close, after the server.
 * Throws `config` for a host beyond this machine where anybody could send.
 */
export async function serveCollectors(
  targets: readonly CollectTarget[],
  byHash: ReadonlyMap<string, { connection: string; key: CollectorKey }>,
  options: CollectOptions = {},
): Promise<CollectServer> {
  const { host = "127.0.0.1", port = 4300, onProblem } = options;
  if (!loopback.test(host)) {
    const unguarded = targets.find(({ collector }) => collector.unguarded !== undefined);
    if (unguarded !== undefined) {
      throw new MillraceError(
        "config",
        `\`${unguarded.connection}\` must not be reached at \`${host}\`: ${unguarded.collector.unguarded!}`,
        {
          where: { connection: unguarded.connection },
          hint: "configure the secret, or listen at 127.0.0.1",
        },
      );
    }
  }
  const routes = routesOf(targets, byHash);
  const proxies = proxiesOf(options.proxies ?? []);
  const held = new Held(options.heldBytes ?? 256 * 1024 ** 2);
  const failing = new Set<CollectTarget>();
  let taken = 0;
  let isStopping = false;

  const finish = (response: ServerResponse, reply: CollectorReply, more: readonly string[] = []): void =>
    send(response, reply, more, isStopping);
  /** The client may still be sending: it is not listened to any longer. */
  const refuse = (
    request: IncomingMessage,
    response: ServerResponse,
    reply: CollectorReply,
    more: readonly string[] = [],
  ): void => {
    const length = Number(request.headers["content-length"] ?? 0);
    const isOpenEnded = request.headers["transfer-encoding"] !== undefined;
    send(response, reply, more, isStopping || (!request.complete && (isOpenEnded || length > 65_536)));
  };

  const collected = async (
    matched: Matched,
    request: IncomingMessage,
    response: ServerResponse,
    body: Buffer,
    cors: readonly string[],
  ): Promise<void> => {
    const { grant, route, path, query } = matched;
    const { target, sender } = grant;
    const address = clientAddress(
      request.socket.remoteAddress ?? "",
      headerText(request.headers["x-forwarded-for"]),
      proxies,
    );
    const method = request.method as "GET" | "POST";
    const { reply, keep } = route.receive({ method, path, query, headers: request.headers, body, sender, address });
    if (keep !== undefined) {
      try {
        await target.inbox.append([{ topic: sender, meta: keep.meta, body: keep.body }]);
      } catch (error) {
        if (!failing.has(target))
          onProblem?.(`${target.connection}: ${asMillraceError(error).message}; senders are told to come again`);
        failing.add(target);
        finish(response, refusals.full, cors);
        return;
      }
      taken++;
      if (failing.delete(target)) onProblem?.(`${target.connection}: requests are kept again`);
    }
    finish(response, reply, cors);
  };

  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const { method, headers, url = "/" } = request;
    if (url === "/health" && (method === "GET" || method === "HEAD"))
      return finish(response, failing.size === 0 ? healthy : unhealthy);
    if (method === "OPTIONS") {
      const origins = routes.originsOf(url.split("?")[0]!);
      const found = origins && preflight(request, origins);
      return found === undefined
        ? refuse(request, response, origins ? refusals.origin : refusals.path)
        : finish(response, found.reply, found.headers);
    }
    const matched = routes.match(request);
    if (matched === "path") return refuse(request, response, refusals.path);
    if (matched === "key") return refuse(request, response, refusals.key);
    const { route, grant } = matched;
    if (!route.methods.includes(method as "GET" | "POST"))
      return refuse(request, response, refusals.method, ["allow", route.methods.join(", ")]);
    const allowed = headers.origin === undefined ? [] : grant.origins.for(headers.origin);
    // Where anybody may send, a page of any origin may: it is only not told the answer.
    const cors = allowed ?? (route.access === "key" ? undefined : []);
    if (cors === undefined) return refuse(request, response, refusals.origin);
    if (!grant.bucket.take(performance.now())) return refuse(request, response, refusals.rate, cors);
    if (method === "GET")
      return guarded(request, response, collected(matched, request, response, Buffer.alloc(0), cors));
    if (Number(headers["content-length"] ?? 0) > route.maxBytes) return refuse(request, response, refusals.size, cors);
    if (!takesType(route.types, headers["content-type"])) return refuse(request, response, refusals.type, cors);
    const encoding = headers["content-encoding"]?.toLowerCase() ?? "identity";
    if (encoding !== "identity" && encoding !== "gzip") return refuse(request, response, refusals.encoding, cors);
    const proceed = (body: Buffer | 413 | 400): void => {
      if (body === 413) refuse(request, response, refusals.size, cors);
      else if (body === 400) refuse(request, response, refusals.packed, cors);
      else guarded(request, response, collected(matched, request, response, body, cors));
    };
    readBody(request, route.maxBytes, held, (body) => {
      if (body === undefined) return;
      if (body === 503) refuse(request, response, refusals.busy, cors);
      else if (typeof body === "number") proceed(body === 413 ? 413 : 400);
      else if (encoding === "gzip") unpack(body, route.maxBytes, proceed);
      else proceed(body);
    });
  };
  const guarded = (request: IncomingMessage, response: ServerResponse, work: Promise<void>): void => {
    work.catch((error: unknown) => {
      onProblem?.(`a request could not be handled: ${isMillraceError(error) ? error.message : "a defect"}`);
      refuse(request, response, refusals.defect);
    });
  };

  const headersTimeout = options.headersTimeoutMs ?? 10_000;
  const server = createServer(
    {
      maxHeaderSize: 32 * 1024,
      headersTimeout,
      requestTimeout: options.requestTimeoutMs ?? 30_000,
      keepAliveTimeout: 60_000,
      connectionsCheckingInterval: Math.max(100, Math.min(2_000, headersTimeout / 5)),
      noDelay: true,
    },
    handle,
  );
  server.maxConnections = options.maxConnections ?? 10_000;
  makeRoom(server);
  const { port: bound } = await listen(server, host, port);
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${bound}`,
    taken: () => taken,
    async [Symbol.asyncDispose]() {
      isStopping = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const deadline = setTimeout(() => server.closeAllConnections(), drainMs);
      await closed;
      clearTimeout(deadline);
    },
  };
}

/** At the most connections, those that wait for nothing make room for new ones. */
function makeRoom(server: Server): void {
  let last = -Infinity;
  server.on("drop", () => {
    const now = performance.now();
    if (now - last < 1_000) return;
    last = now;
    server.closeIdleConnections();
  });
}

const takesType = (types: readonly string[], type: string | undefined): boolean =>
  types[0] === "*" || types.includes((type ?? "").split(";")[0]!.trim().toLowerCase());

const headerText = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value.join(",") : value;

async function listen(server: Server, host: string, port: number): Promise<AddressInfo> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const reason = cause.code === "EADDRINUSE" ? "is in use" : `cannot be listened at: ${cause.message}`;
      reject(
        new MillraceError("config", `\`${host}:${port}\` ${reason}`, {
          cause,
          hint: "choose another one with `collect: { port: … }` or --port",
        }),
      );
    });
    server.listen({ host, port, backlog: 1024 }, resolve);
  });
  return server.address() as AddressInfo;
}

import type { ClientRequest, IncomingMessage, RequestOptions } from "node:http";
import type { LookupFunction, Socket } from "node:net";
import type { SecureContextOptions } from "node:tls";
import { asMillraceError, isMillraceError, messageOf, MillraceError, systemCode, throwIfAborted } from "./errors.ts";
import { isSameAddress } from "./fetch-address.ts";
import { FetchResponse } from "./fetch-response.ts";
import { checkTarget, parseHttpUrl, portOf, shownUrl, type Resolve, type Target } from "./fetch-target.ts";

export interface FetchOptions {
  /** Default `GET`. */
  method?: string;
  /** `authorization`, `cookie` and every other header that is not about the form of the answer stay with the origin they were meant for. */
  headers?: Readonly<Record<string, string>>;
  body?: string | Uint8Array;
  /**
   * Hosts of one's own that may be called though they are not public, and ports besides 80, 443, 8080 and 8443:
   * `intranet`, `10.0.0.5:9000`, `*.corp.example`.
   */
  allowHosts?: readonly string[];
  /** All of it: redirects, headers and body. Milliseconds, default 300,000. */
  deadlineMs?: number;
  /** Silence of the peer while something is waited for. Milliseconds, default 30,000. */
  idleMs?: number;
  /** Largest body, as transferred and unpacked. Default 256 MiB. */
  maximumBytes?: number;
  /** Redirects that are followed. Default 5; 0: an answer that redirects is given as it is. */
  maximumRedirects?: number;
  /** Certificates to trust besides those of the system, or to show, as `node:tls` takes them. */
  tls?: Pick<SecureContextOptions, "ca" | "cert" | "key" | "passphrase">;
  signal?: AbortSignal;
  /** How names become addresses. Default: as the operating system does. */
  resolve?: Resolve;
}

const defaults = { deadlineMs: 300_000, idleMs: 30_000, maximumBytes: 256 * 1024 ** 2, maximumRedirects: 5 };
const maximumHeaderBytes = 32 * 1024;
/** What a redirect to another origin may carry on: nothing of it tells who we are. */
const carried = new Set(["accept", "accept-language", "if-modified-since", "if-none-match", "range", "user-agent"]);
const redirecting = new Set([301, 302, 303, 307, 308]);

/**
 * The one way to call a URL that somebody else chose: no address that is not public unless `allowHosts` names its host, no scheme but
 * HTTP, redirects checked like the first URL, and limits on time and bytes. Gives the answer whatever its status; see
 * `FetchResponse.expectOk`. Its body must be read or the answer closed (`await using`).
 *
 * Throws `config` (not such a URL), `permission` (an address that may not be called), `unreachable`, `timeout`, `limit`, `aborted`.
 */
export async function safeFetch(input: string | URL, options: FetchOptions = {}): Promise<FetchResponse> {
  throwIfAborted(options.signal);
  const deadlineMs = options.deadlineMs ?? defaults.deadlineMs;
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), deadlineMs).unref();
  const signal = options.signal ? AbortSignal.any([options.signal, deadline.signal]) : deadline.signal;
  const explain = (error: unknown): unknown => {
    if (options.signal?.aborted)
      return new MillraceError("aborted", "stopped by the caller", { cause: options.signal.reason });
    if (!deadline.signal.aborted) return error;
    return new MillraceError("timeout", `the answer took longer than ${deadlineMs / 1000} s`, { temporary: true });
  };
  try {
    const { message, url, redirects } = await follow(parseHttpUrl(input), options, signal);
    const limits = {
      idleMs: options.idleMs ?? defaults.idleMs,
      maximumBytes: options.maximumBytes ?? defaults.maximumBytes,
    };
    return new FetchResponse(message, {
      url,
      redirects,
      limits,
      signal,
      explain,
      hasBody: options.method?.toUpperCase() !== "HEAD",
      onEnd: () => clearTimeout(timer),
    });
  } catch (error) {
    clearTimeout(timer);
    throw explain(error);
  }
}

interface Hop {
  url: URL;
  method: string;
  headers: Record<string, string>;
  body: string | Uint8Array | undefined;
}

async function follow(
  start: URL,
  options: FetchOptions,
  signal: AbortSignal,
): Promise<{ message: IncomingMessage; url: URL; redirects: string[] }> {
  const maximum = options.maximumRedirects ?? defaults.maximumRedirects;
  const redirects: string[] = [];
  let hop: Hop = {
    url: start,
    method: (options.method ?? "GET").toUpperCase(),
    headers: Object.fromEntries(
      Object.entries(options.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
    ),
    body: options.body,
  };
  for (;;) {
    const target = await checkTarget(hop.url, { allowHosts: options.allowHosts ?? [], resolve: options.resolve });
    const message = await send(target, hop, options, signal);
    const location = message.headers.location;
    if (!redirecting.has(message.statusCode!) || location === undefined || maximum === 0)
      return { message, url: hop.url, redirects };
    message.destroy();
    if (redirects.length >= maximum) {
      throw new MillraceError("limit", `\`${shownUrl(start)}\` redirects more than ${maximum} times`);
    }
    hop = redirected(hop, message.statusCode!, parseHttpUrl(location, hop.url));
    redirects.push(shownUrl(hop.url));
  }
}

/** What is asked of the place that an answer points to: RFC 9110, section 15.4. */
function redirected(hop: Hop, status: number, url: URL): Hop {
  if (hop.url.protocol === "https:" && url.protocol === "http:") {
    throw new MillraceError(
      "permission",
      `\`${shownUrl(hop.url)}\` redirects to \`${shownUrl(url)}\`, without encryption`,
    );
  }
  const becomesGet = status === 303 ? hop.method !== "HEAD" : status <= 302 && hop.method === "POST";
  const isForeign = url.origin !== hop.url.origin;
  const body = becomesGet ? undefined : hop.body;
  if (isForeign && body !== undefined) {
    throw new MillraceError(
      "permission",
      `\`${shownUrl(hop.url)}\` sends the body on to another host, \`${url.host}\``,
      {
        hint: `use the URL \`${shownUrl(url)}\` itself if that is meant`,
      },
    );
  }
  const headers = Object.fromEntries(
    Object.entries(hop.headers).filter(
      ([name]) => (!isForeign || carried.has(name)) && (body !== undefined || !name.startsWith("content-")),
    ),
  );
  return { url, method: becomesGet ? "GET" : hop.method, headers, body };
}

/** Ends a connection that leads elsewhere than to an address that was checked, before a byte is sent over it. */
export function guardConnection(socket: Socket, target: Target): void {
  const check = (): void => {
    const remote = socket.remoteAddress;
    if (remote !== undefined && target.addresses.some(({ address }) => isSameAddress(address, remote))) return;
    socket.destroy(
      new MillraceError("permission", `\`${target.url.host}\` was reached at ${remote}, which was not checked`),
    );
  };
  if (socket.connecting) socket.once("connect", check);
  else check();
}

function send(target: Target, hop: Hop, options: FetchOptions, signal: AbortSignal): Promise<IncomingMessage> {
  const { url, addresses } = target;
  const idleMs = options.idleMs ?? defaults.idleMs;
  // The name is not asked for again: an answer that changes in between (DNS rebinding) changes nothing.
  const pinned: LookupFunction = (_hostname, { all }, callback) => {
    if (all) callback(null, addresses);
    else callback(null, addresses[0]!.address, addresses[0]!.family);
  };
  const request: RequestOptions = {
    method: hop.method,
    protocol: url.protocol,
    hostname: url.hostname.replace(/^\[|\]$/g, ""),
    port: portOf(url),
    path: url.pathname + url.search,
    headers: {
      "accept-encoding": hop.headers["range"] === undefined ? "gzip, br, zstd" : "identity",
      "user-agent": "millrace",
      ...hop.headers,
      host: url.host,
      ...(hop.body === undefined ? {} : { "content-length": String(Buffer.byteLength(hop.body)) }),
    },
    lookup: pinned,
    // One connection a request: none is shared with who may call other addresses.
    agent: false,
    maxHeaderSize: maximumHeaderBytes,
    signal,
  };
  return new Promise((resolve, reject) => {
    const client: ClientRequest =
      url.protocol === "https:"
        ? process.getBuiltinModule("node:https").request({ ...request, ...options.tls })
        : process.getBuiltinModule("node:http").request(request);
    const timer = setTimeout(() => {
      client.destroy(
        new MillraceError("timeout", `\`${url.host}\` did not answer within ${idleMs / 1000} s`, { temporary: true }),
      );
    }, idleMs);
    client.once("socket", (socket) => guardConnection(socket, target));
    client.once("response", (message) => {
      clearTimeout(timer);
      resolve(message);
    });
    client.on("error", (error) => {
      clearTimeout(timer);
      reject(explainFailure(error, url));
    });
    // An answer of 101 would hand over a socket that nobody reads.
    client.once("upgrade", (_message, socket) => socket.destroy());
    client.end(hop.body);
  });
}

function explainFailure(error: unknown, url: URL): MillraceError {
  if (isMillraceError(error)) return error;
  const code = systemCode(error) ?? "";
  if (/^(CERT_|UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|ERR_TLS|HOSTNAME_MISMATCH)/.test(code)) {
    return new MillraceError(
      "unreachable",
      `\`${url.host}\` shows a certificate that is not trusted: ${messageOf(error)}`,
      {
        cause: error,
        hint: "give the certificate of its authority as `ca`, or in NODE_EXTRA_CA_CERTS",
      },
    );
  }
  if (code.startsWith("HPE_")) {
    return new MillraceError("parse", `\`${url.host}\` does not answer as HTTP does: ${messageOf(error)}`, {
      cause: error,
    });
  }
  if (code === "") return asMillraceError(error, {}, "unreachable");
  return new MillraceError("unreachable", `\`${url.host}\` cannot be reached: ${code}`, {
    cause: error,
    temporary: true,
    hint: "look at host and port, and at the network of this machine",
  });
}

import { createHash, createHmac } from "node:crypto";
import { type Agent as HttpAgent, type ClientRequest, type IncomingMessage, request as requestHttp } from "node:http";
import { type Agent as HttpsAgent, request as requestHttps } from "node:https";
import type { S3Client } from "@aws-sdk/client-s3";

/*
 * The SDK takes more than a millisecond of processor time for each request, most of it in layers that decide each time anew what
 * never changes for one bucket. So the reads, of which there are thousands, are made here once the SDK has shown where to.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 */

/** Where and how the requests of a bucket go, as the SDK's own first one showed. */
interface Route {
  secure: boolean;
  hostname: string;
  port: number | undefined;
  /** Value of the header `host`. */
  host: string;
  /** What comes before the key in the path of a request. */
  base: string;
  /** Region and service of the signature; undefined when nothing is signed. */
  scope: { region: string; service: string } | undefined;
}

export interface Wire {
  /**
   * Sends a GET of an object. Undefined when no request of the SDK has shown the way yet, or this one is not to be made here.
   * Any status may come back. Network errors are thrown as Node has them.
   */
  get(key: string, headers: Record<string, string>, signal?: AbortSignal): Promise<IncomingMessage | undefined>;
  /** A request succeeded (true), or was refused here and not from the SDK (false): then the SDK makes all from now on. */
  trust(works: boolean): void;
  /** Takes the time of the server, from its header `date`, for signatures from now on. */
  setClock(date: string | undefined): void;
  /** A request has succeeded, so that the server understands ours. */
  isProven(): boolean;
}

interface SentRequest {
  method: string;
  protocol: string;
  hostname: string;
  port?: number;
  path: string;
  headers: Record<string, string>;
}

/** Not signed: a proxy may change it. */
const agentName = { "user-agent": "millrace" };
const emptyHash = createHash("sha256").digest("hex");

/** Watches the reads of `client` to learn the way from one of them. */
export function openWire(client: S3Client, agents: { http: HttpAgent; https: HttpsAgent }, timeoutMs: number): Wire {
  let route: Route | undefined;
  let isTrusted = true;
  let isProven = false;
  let signingKey: { name: string; key: Buffer } | undefined;

  client.middlewareStack.add(
    (next, context) => async (given) => {
      if (isTrusted && route === undefined && context["commandName"] === "GetObjectCommand") {
        const { Key } = given.input as { Key?: string };
        route = routeOf(given.request as SentRequest, Key ?? "");
      }
      return next(given);
    },
    { step: "deserialize", priority: "low" },
  );

  const keyFor = (secret: string, day: string, { region, service }: NonNullable<Route["scope"]>): Buffer => {
    const name = `${secret}/${day}/${region}/${service}`;
    if (signingKey?.name !== name) {
      let key: Buffer = Buffer.from(`AWS4${secret}`);
      for (const text of [day, region, service, "aws4_request"]) key = createHmac("sha256", key).update(text).digest();
      signingKey = { name, key };
    }
    return signingKey.key;
  };

  const signed = async (
    { host, scope }: Route,
    path: string,
    headers: Record<string, string>,
  ): Promise<Record<string, string>> => {
    if (scope === undefined) return { host, ...headers, ...agentName };
    const { accessKeyId, secretAccessKey, sessionToken } = await client.config.credentials();
    const now = new Date(Date.now() + client.config.systemClockOffset);
    const time = now.toISOString().replaceAll(/[-:]|\.\d{3}/g, "");
    const day = time.slice(0, 8);
    const all: Record<string, string> = {
      host,
      ...headers,
      "x-amz-content-sha256": emptyHash,
      "x-amz-date": time,
      ...(sessionToken && { "x-amz-security-token": sessionToken }),
    };
    const names = Object.keys(all).sort();
    const list = names.join(";");
    const lines = names.map((name) => `${name}:${all[name]}\n`).join("");
    const canonical = `GET\n${path}\n\n${lines}\n${list}\n${emptyHash}`;
    const place = `${day}/${scope.region}/${scope.service}/aws4_request`;
    const text = `AWS4-HMAC-SHA256\n${time}\n${place}\n${createHash("sha256").update(canonical).digest("hex")}`;
    const signature = createHmac("sha256", keyFor(secretAccessKey, day, scope))
      .update(text)
      .digest("hex");
    const credential = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${place}`;
    const authorization = `${credential}, SignedHeaders=${list}, Signature=${signature}`;
    return { ...all, ...agentName, authorization };
  };

  return {
    async get(key, headers, signal) {
      if (!isTrusted || route === undefined) return undefined;
      const { secure, hostname, port, base } = route;
      const path = base + encodeKey(key);
      const options = { hostname, port, path, headers: await signed(route, path, headers) };
      const request = secure
        ? requestHttps({ ...options, agent: agents.https })
        : requestHttp({ ...options, agent: agents.http });
      return responseOf(request, timeoutMs, signal);
    },
    trust(works) {
      if (works) isProven = true;
      else isTrusted = isProven;
    },
    isProven: () => isProven,
    setClock(date) {
      const time = Date.parse(date ?? "");
      if (Number.isFinite(time)) client.config.systemClockOffset = time - Date.now();
    },
  };
}

/** Undefined for a request that cannot be imitated: another kind of signature, or a path that is not made as ours are. */
function routeOf({ protocol, hostname, port, path, headers }: SentRequest, key: string): Route | undefined {
  const encoded = encodeKey(key);
  if (!path.endsWith(`/${encoded}`) || headers["x-amz-s3session-token"] !== undefined) return undefined;
  const authorization = headers["authorization"];
  const scope = /^AWS4-HMAC-SHA256 Credential=.+?\/\d{8}\/([^/]+)\/([^/]+)\/aws4_request,/.exec(authorization ?? "");
  if (authorization !== undefined && scope === null) return undefined;
  return {
    secure: protocol === "https:",
    hostname: hostname.replace(/^\[(.*)\]$/, "$1"),
    port,
    host: port === undefined ? hostname : `${hostname}:${port}`,
    base: path.slice(0, -encoded.length),
    scope: scope === null ? undefined : { region: scope[1]!, service: scope[2]! },
  };
}

/** As RFC 3986 has it, slashes kept. */
function encodeKey(key: string): string {
  return encodeURIComponent(key)
    .replaceAll("%2F", "/")
    .replaceAll(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

function responseOf(request: ClientRequest, timeoutMs: number, signal?: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const stop = (): void => void request.destroy();
    request.once("response", resolve);
    // Stays for as long as the request lives: a body that breaks off after the response is told by the body.
    request.on("error", reject);
    request.once("close", () => signal?.removeEventListener("abort", stop));
    request.setTimeout(timeoutMs, () => {
      const problem = new Error(`no byte for ${timeoutMs / 1000} s`);
      request.destroy(Object.assign(problem, { code: "ETIMEDOUT" }));
    });
    signal?.addEventListener("abort", stop, { once: true });
    request.end();
  });
}

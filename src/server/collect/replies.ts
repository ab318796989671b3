import type { ServerResponse } from "node:http";
import type { CollectorReply } from "../../core/index.ts";

const always = ["x-content-type-options", "nosniff", "cache-control", "no-store"];

const failure = (status: number, text: string, ...headers: string[]): CollectorReply => ({
  status,
  headers: ["content-type", "application/json", ...headers],
  body: Buffer.from(JSON.stringify({ success: false, error: text })),
});

/** What is refused, and why: always the same words, nothing of the request. */
export const refusals = {
  method: failure(405, "the method is not allowed here"),
  path: failure(404, "there is nothing at this path"),
  key: failure(401, "no known key was sent"),
  origin: failure(403, "this key is not for the origin of the page"),
  rate: failure(429, "too many requests with this key", "retry-after", "1"),
  size: failure(413, "the body is too large"),
  type: failure(415, "the content type is not one of those that are taken here"),
  encoding: failure(415, "the content encoding is not gzip"),
  packed: failure(400, "the body is not what its encoding says"),
  busy: failure(503, "too much arrives at once", "retry-after", "2"),
  full: failure(503, "nothing can be kept at the moment", "retry-after", "5"),
  defect: failure(500, "the request could not be handled"),
};

const health = (status: number, text: string): CollectorReply => ({
  status,
  headers: ["content-type", "application/json"],
  body: Buffer.from(JSON.stringify({ status: text })),
});
/** For who watches: it takes requests, or nothing of some connection can be kept. */
export const healthy = health(200, "ok");
export const unhealthy = health(503, "full");

const nothing = Buffer.alloc(0);
const made = new WeakMap<CollectorReply, string[]>();

/** Headers of a reply that is given again and again are put together once. */
function headersOf(reply: CollectorReply): string[] {
  let headers = made.get(reply);
  if (headers === undefined) {
    const length = reply.status === 204 ? [] : ["content-length", String(reply.body?.length ?? 0)];
    headers = [...reply.headers, ...always, ...length];
    made.set(reply, headers);
  }
  return headers;
}

export function send(response: ServerResponse, reply: CollectorReply, more: readonly string[], last: boolean): void {
  if (response.headersSent || response.destroyed) return;
  const headers = headersOf(reply);
  const all = more.length === 0 && !last ? headers : [...headers, ...more, ...(last ? ["connection", "close"] : [])];
  response.writeHead(reply.status, all);
  response.end(reply.status === 204 ? undefined : (reply.body ?? nothing));
}

import type { ServerResponse } from "node:http";
import { asMillraceError, isMillraceError, MillraceError } from "../core/index.ts";
import { redact } from "../core/secrets.ts";
import { ageSeconds } from "./answer.ts";

export const jsonType = "application/json";

/** Headers that say which version answers, and how old it is. */
export function staleness(version: number, published: number | undefined, missing: number): string[] {
  const headers = ["millrace-version", String(version), "millrace-missing", String(missing)];
  if (published !== undefined) {
    headers.push("millrace-published", new Date(published).toISOString());
    headers.push("millrace-age", String(ageSeconds(published, Date.now())));
  }
  return headers;
}

export function send(
  response: ServerResponse,
  type: string,
  body: string | Uint8Array,
  headers: readonly string[],
): void {
  const length = typeof body === "string" ? Buffer.byteLength(body) : body.byteLength;
  response.writeHead(200, ["content-type", type, "content-length", String(length), ...headers]);
  response.end(body);
}

export function sendJson(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": jsonType });
  response.end(text);
}

const statuses: Record<string, number> = {
  usage: 400,
  permission: 403,
  "not-found": 404,
  unsupported: 406,
  limit: 413,
  unreachable: 503,
  timeout: 504,
};

export function fail(response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) return void response.destroy();
  const known = isMillraceError(error) ? error : asMillraceError(error);
  // The rest of a body that is too large is not waited for.
  if (known.code === "limit") response.setHeader("connection", "close");
  const status = response.hasHeader("allow") ? 405 : (statuses[known.code] ?? 500);
  sendJson(response, status, redact(JSON.stringify({ code: known.code, message: known.message, hint: known.hint })));
}

/** With the methods that there are. */
export function notAllowed(response: ServerResponse, methods: string, message: string): MillraceError {
  response.setHeader("allow", methods);
  return new MillraceError("unsupported", message);
}

import type { IncomingMessage } from "node:http";
import type { CollectorReply } from "../../core/index.ts";

/** Web pages that may send. What is answered is what the configuration says, or `*`; never what the request says. No credentials. */
export class Origins {
  readonly #any: boolean;
  readonly #headers: ReadonlyMap<string, readonly string[]>;
  readonly #anyHeaders = ["access-control-allow-origin", "*"];

  constructor(origins: readonly string[]) {
    this.#any = origins.includes("*");
    this.#headers = new Map(
      origins.map((origin) => [origin.toLowerCase(), ["access-control-allow-origin", origin, "vary", "origin"]]),
    );
  }

  /** Headers for an answer to a page of this origin; undefined when it may not send. */
  for(origin: string): readonly string[] | undefined {
    return this.#headers.get(origin.toLowerCase()) ?? (this.#any ? this.#anyHeaders : undefined);
  }
}

const preflightReply: CollectorReply = {
  status: 204,
  headers: [
    "access-control-allow-methods",
    "POST, GET",
    "access-control-allow-headers",
    "authorization, content-type, content-encoding, sp-anonymous, x-millrace-key",
    "access-control-max-age",
    "3600",
  ],
};

/** A browser asks before it sends: it names no key then, so every origin of the path is told yes, and the key decides afterwards. */
export function preflight(
  request: IncomingMessage,
  origins: Origins,
): { reply: CollectorReply; headers: readonly string[] } | undefined {
  const { origin } = request.headers;
  const headers = origin === undefined ? undefined : origins.for(origin);
  return headers === undefined ? undefined : { reply: preflightReply, headers };
}

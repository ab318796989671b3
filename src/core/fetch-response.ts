import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { MillraceError, type ErrorCode } from "./errors.ts";
import { bodyOf, framingOf, type BodyLimits, type Framing } from "./fetch-body.ts";
import { shownUrl } from "./fetch-target.ts";
import { parseJson } from "./json.ts";

interface Context {
  url: URL;
  redirects: string[];
  limits: BodyLimits;
  signal: AbortSignal;
  /** What an error of a stopped request really means. */
  explain: (error: unknown) => unknown;
  hasBody: boolean;
  onEnd: () => void;
}

/** A longer wait is not asked for by a server that means it. */
const maximumRetryAfterMs = 24 * 3600_000;

/** An answer of HTTP. The body can be read once: as a stream, or with one of `bytes`, `text` and `json`. */
export class FetchResponse implements AsyncDisposable {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Where the answer came from, after redirects. */
  readonly url: URL;
  /** The URLs that were redirected to, in order, without their queries. */
  readonly redirects: readonly string[];
  /** `close`: the peer said neither a length nor an end, so a body that was cut off cannot be told from a whole one. */
  readonly framing: Framing;
  readonly #message: IncomingMessage;
  readonly #context: Context;
  #isUsed = false;

  constructor(message: IncomingMessage, context: Context) {
    this.status = message.statusCode!;
    this.headers = message.headers;
    this.url = context.url;
    this.redirects = context.redirects;
    const hasBody = context.hasBody && this.status !== 204 && this.status !== 304;
    this.framing = framingOf(message, hasBody);
    this.#message = message;
    this.#context = { ...context, hasBody };
  }

  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  /** A header, values of equal names joined. */
  header(name: string): string | undefined {
    const value = this.headers[name.toLowerCase()];
    return Array.isArray(value) ? value.join(", ") : value;
  }

  /** How long the server wants us to wait, by `Retry-After` in seconds or as a date: 0 to 24 hours. */
  get retryAfterMs(): number | undefined {
    const text = this.headers["retry-after"];
    if (text === undefined) return undefined;
    const wait = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
    return Number.isNaN(wait) ? undefined : Math.min(Math.max(0, wait), maximumRetryAfterMs);
  }

  /** The content, pulled, decompressed, within the limits, and whole; errors as those of `safeFetch`, and `parse`. */
  async *body(): AsyncGenerator<Uint8Array, void, undefined> {
    const { signal, explain, limits, hasBody, onEnd } = this.#context;
    if (this.#isUsed) throw new MillraceError("internal", "the body of an answer is read twice");
    this.#isUsed = true;
    const stop = (): void => void this.#message.destroy();
    signal.addEventListener("abort", stop, { once: true });
    try {
      if (signal.aborted) throw new MillraceError("aborted", "stopped by the caller");
      if (hasBody) yield* bodyOf(this.#message, limits, `\`${shownUrl(this.url)}\``);
    } catch (error) {
      throw explain(error);
    } finally {
      signal.removeEventListener("abort", stop);
      this.#message.destroy();
      onEnd();
    }
  }

  async bytes(): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.body()) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** As UTF-8, strictly, or as the `charset` that the answer names. Throws `parse` for bytes that are not. */
  async text(): Promise<string> {
    const charset = /;\s*charset\s*=\s*"?([\w-]+)/i.exec(this.headers["content-type"] ?? "")?.[1] ?? "utf-8";
    const bytes = await this.bytes();
    try {
      return new TextDecoder(charset, { fatal: true }).decode(bytes);
    } catch (cause) {
      throw new MillraceError("parse", `the answer of \`${shownUrl(this.url)}\` is not ${charset}`, { cause });
    }
  }

  /** Without loss: integers beyond 2^53 are `bigint`. Throws `parse` and `limit` (nested more than 100 deep). */
  async json(): Promise<unknown> {
    return parseJson(await this.text());
  }

  /** This answer when its status is 2xx (or one of `also`). Throws what the status means, temporary where trying again may help. */
  async expectOk(also: readonly number[] = []): Promise<this> {
    if (this.ok || also.includes(this.status)) return this;
    const { retryAfterMs, status } = this;
    await this[Symbol.asyncDispose]();
    const temporary = status === 408 || status === 425 || status === 429 || status >= 500;
    throw new MillraceError(codeOf(status), `\`${shownUrl(this.url)}\` answers ${status}`, {
      temporary,
      hint: hintOf(status),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isUsed = true;
    this.#message.destroy();
    this.#context.onEnd();
  }
}

function codeOf(status: number): ErrorCode {
  if (status === 401 || status === 407) return "authentication";
  if (status === 403 || status === 451) return "permission";
  if (status === 404 || status === 410) return "not-found";
  if (status === 408) return "timeout";
  if (status === 429 || status >= 500) return "unreachable";
  return "unsupported";
}

function hintOf(status: number): string {
  switch (codeOf(status)) {
    case "authentication":
      return "look at the credentials of the connection";
    case "permission":
      return "the credentials of the connection do not reach this far";
    case "not-found":
      return "look at the path of the URL";
    case "unsupported":
      return "the server does not take the request as it is";
    default:
      return "run again later: the server is busy or ill";
  }
}

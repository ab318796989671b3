import {
  isMillraceError,
  MillraceError,
  parseHttpUrl,
  retry,
  safeFetch,
  shownUrl,
  type FetchResponse,
} from "../../core/index.ts";
import type { Options } from "./options.ts";

/** A document of JSON and where it came from, which its links are relative to. */
export interface Document {
  url: URL;
  value: Json;
}
export type Json = { readonly [key: string]: unknown };

export interface Call {
  url: URL;
  method?: "GET" | "POST";
  body?: Json;
  headers?: Readonly<Record<string, string>>;
}

/** No page of a catalogue is larger. */
const maximumPage = 64 * 1024 ** 2;

export interface Client {
  readonly root: URL;
  /** A document; what is busy or ill is asked again, as it says in `Retry-After`. Throws what the status means, and `parse`. */
  document(call: Call, signal?: AbortSignal): Promise<Document>;
  /** An answer whatever its status, with our headers where it is the host of the catalogue. */
  fetch(url: URL, headers: Record<string, string>, maximumBytes: number, signal?: AbortSignal): Promise<FetchResponse>;
}

/** Throws `config` for what is no URL. */
export function openClient(options: Options): Client {
  const root = parseHttpUrl(options.url);
  const common = { allowHosts: options.allow_hosts };
  const headersFor = (url: URL): Readonly<Record<string, string>> =>
    url.origin === root.origin ? options.headers : {};
  return {
    root,
    document: async (call, signal) => {
      const { url, method = "GET", body, headers = {} } = call;
      return retry(
        async () => {
          await using response = await safeFetch(url, {
            ...common,
            method,
            headers: {
              ...headers,
              ...headersFor(url),
              accept: "application/geo+json, application/json",
              ...(body === undefined ? {} : { "content-type": "application/json" }),
            },
            ...(body === undefined ? {} : { body: text(body) }),
            maximumBytes: maximumPage,
            ...(signal === undefined ? {} : { signal }),
          });
          await response.expectOk();
          const value = await response.json().catch((error: unknown) => {
            throw isMillraceError(error) && error.code === "parse" ? notStac(response.url, error) : error;
          });
          if (typeof value !== "object" || value === null || Array.isArray(value)) throw notStac(response.url);
          return { url: response.url, value: value as Json };
        },
        signal === undefined ? {} : { signal },
      );
    },
    fetch: (url, headers, maximumBytes, signal) =>
      safeFetch(url, {
        ...common,
        headers: { ...headersFor(url), ...headers },
        maximumBytes,
        ...(signal === undefined ? {} : { signal }),
      }),
  };
}

export function notStac(url: URL, cause?: unknown): MillraceError {
  return new MillraceError("parse", `\`${shownUrl(url)}\` is no document of a STAC catalogue`, {
    cause,
    hint: "`url` is the landing page of an API, or a `catalog.json`",
  });
}

/** JSON that holds integers of any size. */
export const text = (value: unknown): string =>
  JSON.stringify(value, (_, each: unknown) => (typeof each === "bigint" ? rawJson(String(each)) : each));

const { rawJSON: rawJson } = JSON as unknown as { rawJSON: (text: string) => unknown };

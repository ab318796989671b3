import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import {
  isMillraceError,
  MillraceError,
  retry,
  safeFetch,
  systemCode,
  type FetchOptions,
  type FetchResponse,
  type RandomAccess,
} from "../../core/index.ts";
import { headBytes } from "./detect.ts";
import { makeScratch } from "./scratch.ts";

/** A file behind a URL, as its server describes it. */
export interface WebFile {
  url: URL;
  size: number;
  /** Milliseconds since the epoch, 0 where the server does not say. */
  modified: number;
  /** What tells this content from another: the entity tag, or the SHA-256 of what came. */
  revision?: string;
  /** The first bytes, where parts of it can be asked for. */
  head?: Buffer;
  /** All of it, where they cannot. */
  copy?: string;
}

export interface Web {
  allowHosts: readonly string[];
  headers: Readonly<Record<string, string>>;
  /** Folder for files that can only be had whole. */
  scratch: string;
  maximumBytes: number;
  /** How names become addresses. Default: as the operating system does. */
  resolve?: FetchOptions["resolve"];
}

/** A file may take long to come, as long as it comes. */
const deadlineMs = 24 * 3600_000;

function get(web: Web, url: URL, headers: Record<string, string>, signal: AbortSignal | undefined) {
  return safeFetch(url, {
    allowHosts: web.allowHosts,
    headers: { ...web.headers, ...headers },
    deadlineMs,
    maximumBytes: web.maximumBytes,
    ...(web.resolve === undefined ? {} : { resolve: web.resolve }),
    ...(signal === undefined ? {} : { signal }),
  });
}

function validatorsOf(response: FetchResponse): { etag?: string; modified: number } {
  const etag = response.header("etag");
  const modified = Date.parse(response.header("last-modified") ?? "");
  return { ...(etag === undefined ? {} : { etag }), modified: Number.isNaN(modified) ? 0 : modified };
}

/** `bytes 0-99/1000`: where the answer begins, and the length of the whole. RFC 9110, section 14.4. */
function rangeOf(response: FetchResponse): { from: number; size: number } | undefined {
  const [, from, size] = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.header("content-range") ?? "") ?? [];
  return from === undefined ? undefined : { from: Number(from), size: Number(size) };
}

const isEncoded = (response: FetchResponse): boolean =>
  !["", "identity"].includes((response.header("content-encoding") ?? "").toLowerCase());

/**
 * Asks for the beginning of a file. A server that gives no parts of files, or does not say which content they are of, is asked for the
 * whole. Throws `not-found` and the like, and `unsupported` for an answer that could be cut without anybody noticing.
 */
export async function look(web: Web, url: URL, name: string, signal: AbortSignal | undefined): Promise<WebFile> {
  try {
    return await retry(() => lookOnce(web, url, name, signal), signal === undefined ? {} : { signal });
  } catch (error) {
    throw isMillraceError(error) ? error.at({ file: name }) : error;
  }
}

async function lookOnce(web: Web, url: URL, name: string, signal: AbortSignal | undefined): Promise<WebFile> {
  await using response = await get(web, url, { range: `bytes=0-${headBytes - 1}` }, signal);
  const { etag, modified } = validatorsOf(response);
  if (response.status === 206 && !isEncoded(response)) {
    const range = rangeOf(response);
    if (range?.from === 0 && (etag !== undefined || modified > 0)) {
      const head = await response.bytes();
      if (head.length === Math.min(range.size, headBytes)) {
        return { url, size: range.size, modified, ...(etag === undefined ? {} : { revision: etag }), head };
      }
    }
  }
  if (response.status === 200) return await whole(web, url, name, response);
  // 416: of a file without bytes there are no first ones.
  if (response.status !== 206 && response.status !== 416) await response.expectOk();
  await using all = await get(web, url, {}, signal);
  await all.expectOk();
  return await whole(web, url, name, all);
}

async function whole(web: Web, url: URL, name: string, response: FetchResponse): Promise<WebFile> {
  if (response.framing === "close") {
    throw new MillraceError("unsupported", `the server of \`${name}\` says neither how long it is nor where it ends`, {
      hint: "fetch it by other means, and read the file: what is cut off on the way would not be noticed",
    });
  }
  makeScratch(web.scratch);
  const hash = createHash("sha256");
  let size = 0;
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of response.body()) {
      hash.update(chunk);
      size += chunk.length;
      yield chunk;
    }
  };
  const copy = join(web.scratch, `web-${crypto.randomUUID()}`);
  try {
    await pipeline(counted, createWriteStream(copy, { mode: 0o600 }));
  } catch (error) {
    await rm(copy, { force: true });
    if (systemCode(error) !== "ENOSPC") throw error;
    throw new MillraceError("full", `there is no room for a copy of \`${name}\``, {
      cause: error,
      hint: "free space in the folder for temporary files",
    });
  }
  const { etag, modified } = validatorsOf(response);
  return { url, size, modified, revision: etag ?? hash.digest("hex"), copy };
}

/** From here on a read is taken for one of many that follow each other. */
const bulkBytes = 1024 ** 2;

interface Stream {
  response: FetchResponse;
  chunks: AsyncGenerator<Uint8Array, void, undefined>;
  /** Offset in the file of what comes next, and bytes of it that have come already. */
  at: number;
  rest: Uint8Array;
  /** Offset behind the last byte of the answer. */
  to: number;
}

/**
 * Parts of a file as it was when it was looked at; of another content `conflict`. A read that begins where the last one ended goes on
 * in the same answer, so that whoever reads all of a file asks once.
 */
export function openParts(web: Web, file: WebFile, name: string): RandomAccess {
  const { url, size, modified, revision, head = Buffer.alloc(0) } = file;
  const changed = (): MillraceError =>
    new MillraceError("conflict", `\`${name}\` has changed since it was looked at`, {
      where: { file: name },
      hint: "run again, once nobody writes to the file",
    });
  let stream: Stream | undefined;
  const close = async (): Promise<void> => {
    const ended = stream;
    stream = undefined;
    await ended?.chunks.return();
    await ended?.response[Symbol.asyncDispose]();
  };
  const start = async (from: number, to: number, signal: AbortSignal | undefined): Promise<Stream> => {
    const condition: Record<string, string> =
      revision === undefined || revision.startsWith("W/")
        ? modified > 0
          ? { "if-unmodified-since": new Date(modified).toUTCString() }
          : {}
        : { "if-match": revision };
    const response = await get(web, url, { range: `bytes=${from}-${to - 1}`, ...condition }, signal);
    const range = rangeOf(response);
    const now = validatorsOf(response);
    const isSame = now.etag === revision && now.modified === modified;
    if (response.status === 206 && range?.from === from && range.size === size && isSame && !isEncoded(response)) {
      return { response, chunks: response.body(), at: from, rest: new Uint8Array(), to };
    }
    await response[Symbol.asyncDispose]();
    if (response.status !== 206 && response.status !== 412 && response.status !== 416) await response.expectOk();
    throw changed();
  };
  const read = async (offset: number, length: number, signal: AbortSignal | undefined): Promise<Uint8Array> => {
    if (offset + length > size) throw changed();
    if (offset + length <= head.length) return head.subarray(offset, offset + length);
    const bytes = Buffer.allocUnsafe(length);
    try {
      if (stream?.at !== offset || stream.to < offset + length) {
        await close();
        stream = await start(offset, length >= bulkBytes ? size : offset + length, signal);
      }
      for (let done = 0; done < length;) {
        if (stream.rest.length === 0) {
          const next = await stream.chunks.next();
          // An answer that is too short is an error of its own, so this one promised less than it should have.
          if (next.done) throw changed();
          stream.rest = next.value;
        }
        const taken = stream.rest.subarray(0, length - done);
        bytes.set(taken, done);
        done += taken.length;
        stream.rest = stream.rest.subarray(taken.length);
        stream.at += taken.length;
      }
      return bytes;
    } catch (error) {
      await close();
      throw isMillraceError(error) ? error.at({ file: name }) : error;
    }
  };
  let turn: Promise<unknown> = Promise.resolve();
  return {
    size,
    modified,
    ...(revision === undefined ? {} : { etag: revision }),
    // One after the other, since they share an answer.
    read(offset, length, signal) {
      const mine = turn.then(() => read(offset, length, signal));
      turn = mine.catch(() => undefined);
      return mine;
    },
    async [Symbol.asyncDispose]() {
      await turn;
      await close();
    },
  };
}

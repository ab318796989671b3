import { open, type FileHandle } from "node:fs/promises";
import { MillraceError, retry, shownUrl, type FetchResponse } from "../../core/index.ts";
import type { Client } from "./client.ts";

/** Offsets of the first byte and of that behind the last one. */
export type Range = [from: number, to: number];

/** What is asked for at first, and the least that is asked for later: an answer costs more than so many bytes. */
export const blockBytes = 64 * 1024;
/** Ranges that are fetched at the same time. */
const width = 4;

/**
 * A file behind a URL, of which parts are brought into a local file of the same length, with holes. A server that gives no parts is asked
 * for the whole.
 */
export class RemoteFile implements AsyncDisposable {
  readonly size: number;
  /** Milliseconds since the epoch; 0 where the server does not say. */
  readonly modified: number;
  /** Of all answers. */
  fetched = 0;
  present: Range[] = [];
  readonly #client: Client;
  readonly #url: URL;
  readonly #file: FileHandle;
  readonly #maximum: number;
  readonly #etag: string | undefined;

  private constructor(client: Client, url: URL, file: FileHandle, maximum: number, facts: Facts) {
    this.#client = client;
    this.#url = url;
    this.#file = file;
    this.#maximum = maximum;
    this.#etag = facts.etag;
    this.size = facts.size;
    this.modified = facts.modified;
  }

  /** Fetches the begin of the file. Throws what the status means; `limit`. */
  static async open(
    client: Client,
    url: URL,
    path: string,
    maximum: number,
    signal: AbortSignal | undefined,
  ): Promise<RemoteFile> {
    const file = await open(path, "w+");
    try {
      return await retry(async () => {
        await using response = await client.fetch(url, { range: `bytes=0-${blockBytes - 1}` }, maximum, signal);
        await response.expectOk();
        const range = rangeOf(response);
        const isPart = response.status === 206 && range?.from === 0;
        if (response.status === 206 && !isPart) throw unfit(url);
        if (!isPart && response.framing === "close") throw unfit(url);
        await file.truncate(0);
        let at = 0;
        for await (const chunk of response.body()) {
          await file.write(chunk, 0, chunk.length, at);
          at += chunk.length;
        }
        const facts = { ...validatorsOf(response), size: isPart ? range.size : at };
        if (isPart && at !== Math.min(range.size, blockBytes)) throw unfit(url);
        await file.truncate(facts.size);
        const remote = new RemoteFile(client, url, file, maximum, facts);
        remote.fetched = at;
        remote.present = [[0, at]];
        return remote;
      }, options(signal));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Brings more of the file. Throws `conflict` when it is another one by now, `limit`. */
  async fetch(wanted: readonly Range[], signal: AbortSignal | undefined): Promise<void> {
    const missing = mergedRanges(wanted, this.present, this.size);
    const bytes = missing.reduce((sum, [from, to]) => sum + to - from, 0);
    if (this.fetched + bytes > this.#maximum) {
      throw new MillraceError(
        "limit",
        `${this.fetched + bytes} of its bytes are needed, more than \`asset_max_bytes\``,
        {
          hint: "read less of it with `geotiff: { bbox: … }` or `overview`, or raise `asset_max_bytes`",
        },
      );
    }
    for (let at = 0; at < missing.length; at += width) {
      const answers = await Promise.allSettled(missing.slice(at, at + width).map((range) => this.#part(range, signal)));
      for (const answer of answers) if (answer.status === "rejected") throw answer.reason;
    }
    this.present = joined([...this.present, ...missing]);
  }

  #part(range: Range, signal: AbortSignal | undefined): Promise<void> {
    const [from, to] = range;
    return retry(async () => {
      const condition: Record<string, string> =
        this.#etag !== undefined && !this.#etag.startsWith("W/")
          ? { "if-match": this.#etag }
          : this.modified > 0
            ? { "if-unmodified-since": new Date(this.modified).toUTCString() }
            : {};
      const headers = { range: `bytes=${from}-${to - 1}`, ...condition };
      await using response = await this.#client.fetch(this.#url, headers, this.#maximum, signal);
      const answered = rangeOf(response);
      const now = validatorsOf(response);
      const isSame = now.etag === this.#etag && now.modified === this.modified;
      if (response.status !== 206 || answered?.from !== from || answered.size !== this.size || !isSame) {
        if (![200, 206, 412, 416].includes(response.status)) await response.expectOk();
        throw new MillraceError("conflict", `\`${shownUrl(this.#url)}\` has changed since it was looked at`, {
          hint: "run again, once nobody writes to the file",
        });
      }
      let at = from;
      for await (const chunk of response.body()) {
        if (at + chunk.length > to) throw unfit(this.#url);
        await this.#file.write(chunk, 0, chunk.length, at);
        at += chunk.length;
        this.fetched += chunk.length;
      }
      if (at !== to) throw unfit(this.#url);
    }, options(signal));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

interface Facts {
  size: number;
  modified: number;
  etag?: string;
}

const options = (signal: AbortSignal | undefined): { signal?: AbortSignal } => (signal === undefined ? {} : { signal });

const unfit = (url: URL): MillraceError =>
  new MillraceError("unsupported", `the server of \`${shownUrl(url)}\` gives other parts of it than it is asked for`);

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

/** Ranges in order, those that touch in one. */
export function joined(ranges: readonly Range[]): Range[] {
  const result: Range[] = [];
  for (const [from, to] of ranges.toSorted((left, right) => left[0] - right[0])) {
    const last = result.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else result.push([from, to]);
  }
  return result;
}

/** What is to be fetched for `wanted`: without what is there, each at least a block, and near ones in one. */
export function mergedRanges(wanted: readonly Range[], present: readonly Range[], size: number): Range[] {
  const near: Range[] = [];
  for (const [from, to] of joined(wanted)) {
    const last = near.at(-1);
    if (last !== undefined && from - last[1] < blockBytes / 2) last[1] = Math.max(last[1], to);
    else near.push([from, to]);
  }
  const missing: Range[] = [];
  for (const [from, to] of near) {
    let at = from;
    for (const [begin, end] of present) {
      if (end <= at || begin >= to) continue;
      if (begin > at) missing.push([at, begin]);
      at = Math.max(at, end);
    }
    if (at < to) missing.push([at, to]);
  }
  return missing.filter(([from, to]) => from < to && to <= size);
}

import { createDecipheriv } from "node:crypto";
import { appendFile, open, readFile, truncate, type FileHandle } from "node:fs/promises";
import { parse, type types } from "hls-parser";
import { MillraceError, retry, safeFetch, throwIfAborted, type FetchResponse } from "../../core/index.ts";
import type { Capture } from "./capture.ts";

type Segment = types.Segment;
/** What is fetched: a segment, or what stands before the first of them. */
type Piece = Pick<Segment, "uri" | "mediaSequenceNumber"> & {
  byterange?: types.Byterange;
  key?: types.Key | undefined;
};
type MediaPlaylist = types.MediaPlaylist;

const maximumPlaylist = 8 * 1024 ** 2;
const maximumSegment = 512 * 1024 ** 2;
/** How long a live playlist may lack news before it is said to be over, in its own target durations. */
const patience = 20;

interface Open {
  path: string;
  handle: FileHandle;
  began: number;
  first: number;
  last: number;
  seconds: number;
  bytes: number;
  map: string | undefined;
}

/**
 * Records a playlist of HLS (RFC 8216): its segments as they are, put together to files of `segment_s`, each once. A live playlist is read until the
 * time is up, one that has an end to its end. Throws `unsupported` for encryption other than AES-128.
 */
export async function recordHls(capture: Capture): Promise<void> {
  const { spool, options } = capture;
  let media = new URL(capture.url);
  let current: Open | undefined;
  let position = await spool.position();
  let lastNews = performance.now();
  const keys = new Map<string, Buffer>();
  const finish = async (): Promise<void> => {
    if (current === undefined) return;
    const { path, handle, began, first, last } = current;
    current = undefined;
    await handle.close();
    await spool.finish(path, began, `hls-${first}-${last}`);
    await spool.advance(last);
  };

  try {
    while (capture.leftMs() > 0) {
      const playlist = await playlistAt(capture, media);
      if (playlist.isMasterPlaylist) {
        media = new URL(bestOf(playlist, capture).uri, media);
        continue;
      }
      const { segments } = playlist;
      // A playlist that has begun anew counts from the begin.
      if (position !== undefined && segments.length > 0 && segments.at(-1)!.mediaSequenceNumber < position)
        position = undefined;
      for (const [index, segment] of segments.entries()) {
        const number = segment.mediaSequenceNumber;
        if ((position !== undefined && number <= position) || segment.gap === true) continue;
        if (capture.leftMs() === 0) break;
        lastNews = performance.now();
        // The library says null of what is not there.
        const map = (segment.map as types.MediaInitializationSection | null) ?? undefined;
        const isOther =
          segment.discontinuity === true || map?.uri !== current?.map || (current?.seconds ?? 0) >= options.segment_s;
        if (current !== undefined && (isOther || number !== current.last + 1)) await finish();
        if (current === undefined) {
          if (!(await spool.hasRoom())) return;
          current = await begin(capture, beginOf(segments, index), number, map?.uri);
          if (map !== undefined)
            await add(
              capture,
              current,
              media,
              {
                uri: map.uri,
                ...(map.byterange ? { byterange: map.byterange } : {}),
                ...(segment.key ? { key: segment.key } : {}),
                mediaSequenceNumber: number,
              },
              keys,
            );
        }
        await add(capture, current, media, segment, keys);
        current.last = number;
        current.seconds += segment.duration;
        // Should this process die, it is known how far the file is good.
        await appendFile(`${current.path}.log`, `${number} ${current.bytes} ${current.began}\n`);
        position = number;
      }
      if (playlist.endlist) break;
      const target = playlist.targetDuration * 1000;
      if (performance.now() - lastNews > Math.max(options.stall_s * 1000, patience * target)) break;
      await capture.pause(Math.max(200, Math.min(target / 2, 5_000)));
    }
  } finally {
    await finish();
  }
}

/** What a process left when it died: the segments that are whole. */
export async function salvage(path: string): Promise<{ began: number; first: number; last: number } | undefined> {
  const log = await readFile(`${path}.log`, "utf8").catch(() => "");
  const lines = [...log.matchAll(/^(\d+) (\d+) (\d+(?:\.\d+)?)$/gm)];
  const [first, last] = [lines[0], lines.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  await truncate(path, Number(last[2]));
  return { began: Number(first[3]), first: Number(first[1]), last: Number(last[1]) };
}

export async function playlistAt(capture: Capture, url: URL): Promise<types.MasterPlaylist | MediaPlaylist> {
  return await retry(async () => {
    await using answer = await get(capture, url, {}, maximumPlaylist);
    await answer.expectOk();
    const text = await answer.text();
    if (!text.trimStart().startsWith("#EXTM3U")) {
      throw new MillraceError("parse", `\`${capture.shown}\` is no playlist of HLS`, {
        hint: "it begins with `#EXTM3U`; a page to log in to is often given instead",
      });
    }
    try {
      return parse(text) as types.MasterPlaylist | MediaPlaylist;
    } catch (cause) {
      throw new MillraceError("parse", `\`${capture.shown}\` is a playlist of HLS with an error: ${String(cause)}`, {
        cause,
      });
    }
  });
}

/** The one of most bits a second. */
function bestOf({ variants }: types.MasterPlaylist, { shown }: Capture): types.Variant {
  const best = variants
    .filter((variant) => variant.isIFrameOnly !== true)
    .toSorted((left, right) => right.bandwidth - left.bandwidth)[0];
  if (best === undefined) throw new MillraceError("parse", `the playlist \`${shown}\` names no video`);
  return best;
}

function get(
  capture: Capture,
  url: URL,
  headers: Record<string, string>,
  maximumBytes: number,
): Promise<FetchResponse> {
  const { options } = capture;
  return safeFetch(url, {
    headers: { ...options.headers, ...headers },
    allowHosts: options.allow_hosts,
    idleMs: options.stall_s * 1000,
    maximumBytes,
    ...(capture.signal === undefined ? {} : { signal: capture.signal }),
  });
}

/** When a segment was shown: as the playlist says, else as if its end were now. */
function beginOf(segments: readonly Segment[], index: number): number {
  const said = (segments[index]!.programDateTime as Date | null | undefined)?.getTime();
  return said ?? Date.now() - segments.slice(index).reduce((sum, { duration }) => sum + duration * 1000, 0);
}

async function begin({ spool }: Capture, began: number, first: number, map: string | undefined): Promise<Open> {
  const path = await spool.begin(map === undefined ? "ts" : "mp4");
  return {
    path,
    handle: await open(path, "w"),
    began: Math.round(began),
    first,
    last: first,
    seconds: 0,
    bytes: 0,
    map,
  };
}

/** Writes a segment behind the others. What came of one that broke off is written over by the next attempt. */
async function add(capture: Capture, file: Open, base: URL, segment: Piece, keys: Map<string, Buffer>): Promise<void> {
  const { signal } = capture;
  const url = new URL(segment.uri, base);
  const range = (segment.byterange as types.Byterange | null) ?? undefined;
  const headers: Record<string, string> =
    range === undefined ? {} : { range: `bytes=${range.offset}-${range.offset + range.length - 1}` };
  const key = await keyOf(capture, base, segment, keys);
  await retry(
    async () => {
      await using answer = await get(capture, url, headers, maximumSegment);
      await answer.expectOk();
      let at = file.bytes;
      const write = async (chunk: Uint8Array): Promise<void> => {
        throwIfAborted(signal);
        await file.handle.write(chunk, 0, chunk.length, at);
        at += chunk.length;
      };
      const isPart = range !== undefined && answer.status !== 206;
      if (isPart || answer.framing === "close") {
        // Nobody would notice what is cut off.
        throw new MillraceError(
          "unsupported",
          `the server of \`${capture.shown}\` gives segments without their length`,
        );
      }
      const decipher = key === undefined ? undefined : createDecipheriv("aes-128-cbc", key.bytes, key.vector);
      for await (const chunk of answer.body()) await write(decipher === undefined ? chunk : decipher.update(chunk));
      if (decipher !== undefined) await write(last(decipher, capture));
      file.bytes = at;
    },
    signal === undefined ? {} : { signal },
  );
  await file.handle.truncate(file.bytes);
}

function last(decipher: ReturnType<typeof createDecipheriv>, { shown }: Capture): Buffer {
  try {
    return decipher.final();
  } catch (cause) {
    throw new MillraceError("corrupt", `a segment of \`${shown}\` does not fit its key`, { cause });
  }
}

async function keyOf(
  capture: Capture,
  base: URL,
  { key, mediaSequenceNumber }: Piece,
  keys: Map<string, Buffer>,
): Promise<{ bytes: Buffer; vector: Buffer } | undefined> {
  // The library says null of what is not there.
  if (!key || key.method === "NONE") return undefined;
  if (key.method !== "AES-128" || !key.uri || (key.format ?? "identity") !== "identity") {
    throw new MillraceError("unsupported", `\`${capture.shown}\` is encrypted by ${key.method}, which is not read`);
  }
  const url = new URL(key.uri, base);
  let bytes = keys.get(url.href);
  if (bytes === undefined) {
    bytes = await retry(async () => {
      await using answer = await get(capture, url, {}, 1024);
      await answer.expectOk();
      return Buffer.from(await answer.bytes());
    });
    if (bytes.length !== 16)
      throw new MillraceError("parse", `the key of \`${capture.shown}\` has ${bytes.length} bytes`);
    keys.set(url.href, bytes);
  }
  const vector = Buffer.alloc(16);
  if (!key.iv) vector.writeBigUInt64BE(BigInt(mediaSequenceNumber), 8);
  else Buffer.from(key.iv).copy(vector);
  return { bytes, vector };
}

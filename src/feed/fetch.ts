import { isMillraceError } from "../core/index.ts";
import { gather, type FeedColumn } from "./batch.ts";
import type { RowCache } from "./cache.ts";
import type { OpenSource } from "./source.ts";

/** A cache that turns out to be damaged is made anew; the rows are the same. */
async function fetchRows(source: OpenSource, rows: Float64Array): Promise<ReturnType<RowCache["gather"]>> {
  try {
    return source.cache.gather(rows);
  } catch (error) {
    if (!isMillraceError(error) || error.code !== "corrupt") throw error;
    source.cache[Symbol.dispose]();
    source.cache = await source.remake();
    return source.cache.gather(rows);
  }
}

export async function fetchOne(source: OpenSource, rows: Float64Array): Promise<FeedColumn[]> {
  const { arena, bases } = await fetchRows(source, rows);
  return gather(source.cache.layout, source.cache.seen, arena, bases);
}

export async function fetchMixed(sources: OpenSource[], from: Uint16Array, rows: Float64Array): Promise<FeedColumn[]> {
  // Records of all datasets side by side in one arena, so that one pass fills the columns.
  const parts: { bytes: Uint8Array; at: number }[] = [];
  const bases = new Float64Array(rows.length);
  let size = 0;
  for (const [index, source] of sources.entries()) {
    const places = [...from.keys()].filter((place) => from[place] === index);
    if (places.length === 0) continue;
    const fetched = await fetchRows(
      source,
      Float64Array.from(places, (place) => rows[place]!),
    );
    for (const [at, place] of places.entries()) {
      const base = fetched.bases[at]!;
      const length = new DataView(fetched.arena.buffer, fetched.arena.byteOffset + base, 4).getUint32(0, true);
      parts.push({ bytes: fetched.arena.slice(base, base + length), at: size });
      bases[place] = size;
      size += length;
    }
  }
  const arena = new Uint8Array(size);
  for (const { bytes, at } of parts) arena.set(bytes, at);
  const seen = sources[0]!.cache.seen.map((_, column) => {
    const lengths = new Set(sources.map((source) => source.cache.seen[column]!.listLength));
    return {
      nulls: sources.some((source) => source.cache.seen[column]!.nulls),
      listLength: lengths.size === 1 ? [...lengths][0]! : null,
    };
  });
  return gather(sources[0]!.cache.layout, seen, arena, bases);
}

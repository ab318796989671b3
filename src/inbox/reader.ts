import { existsSync, globSync, mkdirSync, statSync, watch } from "node:fs";
import { join } from "node:path";
import { isMillraceError, MillraceError } from "../core/index.ts";
import { committedUpTo, recordCommitted, removeCommitted, retireNewest } from "./committed.ts";
import { takeLock } from "./lock.ts";
import { Segment, segmentsIn, sizeOfSegment, type SegmentFile } from "./segment.ts";
import type { InboxReader } from "./types.ts";

/** Messages of the file system may be missed; so often the inbox is looked at anyway. */
const lookEveryMs = 500;

/** See `InboxReader`. The folder need not exist yet. */
export function openReader(folder: string): InboxReader {
  const open = new Map<string, Segment>();
  /** Undefined: it cannot be opened. */
  const segmentOf = (file: SegmentFile): Segment | undefined => {
    let segment = open.get(file.path);
    if (segment === undefined) {
      try {
        segment = new Segment(file);
      } catch (error) {
        if (isMillraceError(error)) throw error;
        return undefined;
      }
      open.set(file.path, segment);
    }
    return segment;
  };
  const files = (): SegmentFile[] => {
    const found = segmentsIn(folder);
    for (const [path, segment] of open) {
      if (found.some((file) => file.path === path)) continue;
      segment.close();
      open.delete(path);
    }
    return found;
  };
  const lastOf = (found: readonly SegmentFile[]): number => {
    const newest = found.at(-1);
    if (newest === undefined) return 0;
    const segment = segmentOf(newest);
    // One row at least was there: who reads is told that it cannot be read.
    return segment === undefined ? newest.first : segment.last();
  };

  const reader: InboxReader = {
    folder,
    last: () => lastOf(files()),
    first: () => files()[0]?.first ?? 1,

    *rows(from, to) {
      const found = files();
      const end = Math.min(to, lastOf(found));
      let next = from;
      for (const [index, file] of found.entries()) {
        if (next > end) return;
        const segment = segmentOf(file);
        const before = segment?.before ?? file.first - 1;
        if (next < file.first) {
          if (next <= before && index === 0 && next <= committedUpTo(folder)) throw gone(folder, next, file.first);
          if (next <= before)
            yield [damage(next, Math.min(before, end), `a file of the inbox \`${folder}\` is missing`)];
          next = file.first;
        }
        const following = found[index + 1];
        const upTo = Math.min(
          end,
          following === undefined ? end : (segmentOf(following)?.before ?? following.first - 1),
        );
        if (next > upTo) continue;
        if (segment === undefined) yield [damage(next, upTo, `the inbox file \`${file.path}\` cannot be opened`)];
        else yield* segment.rows(next, upTo);
        next = upTo + 1;
      }
    },

    async committed(name, upTo, { readers, keepMs = 0 }) {
      if (!existsSync(folder)) return;
      const least = recordCommitted(folder, name, upTo, readers);
      if (least === 0) return;
      removeCommitted(folder, least, keepMs);
      // Where nobody writes, nobody would begin a new file either.
      const lock = takeLock(folder);
      if (lock === undefined) return;
      try {
        retireNewest(folder, least, keepMs);
      } finally {
        lock.release();
      }
    },

    async wait(after, { milliseconds, signal }) {
      if (lastOf(files()) > after) return true;
      mkdirSync(folder, { recursive: true });
      return new Promise<boolean>((resolve) => {
        const end = (isNew: boolean): void => {
          clearTimeout(timer);
          clearInterval(look);
          watcher.close();
          signal?.removeEventListener("abort", stop);
          resolve(isNew);
        };
        const check = (): void => {
          if (lastOf(files()) > after) end(true);
        };
        const stop = (): void => end(false);
        const watcher = watch(folder, check);
        watcher.on("error", () => undefined);
        const look = setInterval(check, lookEveryMs);
        const timer = setTimeout(stop, milliseconds);
        signal?.addEventListener("abort", stop, { once: true });
        if (signal?.aborted === true) stop();
        else check();
      });
    },

    lag(after) {
      const last = lastOf(files());
      const records = Math.max(0, last - Math.max(after, reader.first() - 1));
      if (records === 0) return { records: 0, seconds: 0 };
      for (const [row] of reader.rows(Math.max(after + 1, reader.first()), last)) {
        if (row !== undefined && "received" in row)
          return { records, seconds: Math.max(0, Date.now() - row.received / 1000) / 1000 };
      }
      return { records, seconds: 0 };
    },

    status() {
      const found = files();
      const kept = join(folder, "quarantine");
      return {
        last: lastOf(found),
        committed: committedUpTo(folder),
        bytes: found.reduce((sum, { path }) => sum + sizeOfSegment(path), 0),
        quarantined: globSync("*", { cwd: kept }).reduce((sum, name) => sum + statSync(join(kept, name)).size, 0),
      };
    },

    async [Symbol.asyncDispose]() {
      for (const segment of open.values()) segment.close();
      open.clear();
    },
  };
  return reader;
}

const damage = (number: number, upTo: number, problem: string): { number: number; upTo: number; problem: string } => ({
  number,
  upTo,
  problem,
});

function gone(folder: string, from: number, first: number): MillraceError {
  return new MillraceError(
    "not-found",
    `row ${from} is no longer in the inbox \`${folder}\`, which begins at ${first}`,
    {
      hint: "rows are removed once every flow that reads them has committed them; go on with a new dataset, or restore the folder",
    },
  );
}

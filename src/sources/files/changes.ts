import { MillraceError, type RandomAccess } from "../../core/index.ts";
import { endsLine, etagOf, lastLineEnd, type Position, type Seen } from "./identity.ts";
import type { Found } from "./places.ts";

/** A file that has something new. `from` and `to` cut out what was added since it was last read. */
export interface News extends Found {
  etag: string;
  from?: number;
  to?: number;
}

/**
 * What of a file is new against the position; undefined: nothing. Marks in the position what will have been read.
 * `kindOf` says whether records of the file are lines, so
 * that what was added can be read alone, or whether it is an archive, whose members are looked at one by one.
 * Throws `conflict` for a file that has changed otherwise, unless `changed` says what to do.
 */
export async function newsOf(
  file: Found,
  position: Position,
  changed: "fail" | "ignore" | "reread",
  open: (file: Found) => Promise<RandomAccess>,
  kindOf: (file: Found) => Promise<"lines" | "archive" | "other">,
): Promise<News | undefined> {
  const seen = position.get(file.name);
  const { size, modified, revision } = file;
  if (seen?.size === size && seen.modified === modified && seen.revision === revision) return undefined;
  await using bytes = await open(file);
  const etag = await etagOf(bytes, Math.min(size, bytes.size));
  const now: Seen = { size, modified, etag, ...(revision === undefined ? {} : { revision }) };
  // What has no tag was told of, and never read.
  if (seen === undefined || seen.etag === "") {
    position.set(file.name, now);
    return { ...file, etag };
  }
  // A store that tells contents apart sees what the edges of a large file do not show.
  const replaced = seen.revision !== undefined && revision !== undefined && seen.revision !== revision;
  if (seen.size === file.size && seen.etag === etag && !replaced) {
    // Touched only. What was held back of it is still held back.
    position.set(file.name, { ...now, ...(seen.end === undefined ? {} : { end: seen.end }) });
    return undefined;
  }
  const kind = await kindOf(file);
  if (kind === "archive") {
    position.set(file.name, now);
    return { ...file, etag };
  }
  if (kind === "lines" && file.size > seen.size && (await etagOf(bytes, seen.size)) === seen.etag) {
    const from = seen.end ?? seen.size;
    if (await endsLine(bytes, from)) {
      // Whoever appends may be in the middle of a line: it is left for the next time.
      const to = await lastLineEnd(bytes, from, file.size);
      position.set(file.name, { ...now, ...(to === file.size ? {} : { end: to }) });
      return to === from ? undefined : { ...file, etag, from, to };
    }
  }
  if (changed === "ignore") {
    position.set(file.name, now);
    return undefined;
  }
  if (changed === "reread") {
    position.set(file.name, now);
    return { ...file, etag };
  }
  throw new MillraceError(
    "conflict",
    `\`${file.name}\` was read before and has changed since (${seen.size} bytes then, ${file.size} now)`,
    {
      where: { file: file.name },
      hint: "set `mode: replace`, or `changed: reread` with `mode: merge` and a `key`, or `changed: ignore` to keep what was read",
    },
  );
}

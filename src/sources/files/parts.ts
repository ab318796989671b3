import { isMillraceError, MillraceError, identityOf, type Column, type Part } from "../../core/index.ts";
import { isAssets, type FormatOptions } from "./formats.ts";
import { etagOf } from "./identity.ts";
import type { Readable, Wrapping } from "./members.ts";
import type { Place } from "./places.ts";

/** What a part says of one file. */
export interface PartFile {
  path: string;
  name: string;
  size: number;
  modified: number;
  etag: string;
  revision?: string;
  /** Bytes of the file on disk; of a member, those of its archive. */
  diskSize: number;
  wrapping: Wrapping;
}

export interface PartSpec {
  format: string;
  options: FormatOptions;
  columns: Column[];
  files: PartFile[];
  /** Why the one file of this part cannot be read by any parser: it becomes one rejected record. */
  poison?: string;
  /** Files that nobody can read, by name, and why: each becomes one rejected record. */
  told?: [name: string, why: string][];
}

/**
 * Holds a file to what the plan saw. One of lines that has only grown since is cut to what it was, so that a log can be read while
 * it is written. Throws `conflict` for any other change.
 */
export async function unchanged(file: PartFile, lines: boolean, place: Place): Promise<Wrapping> {
  const { wrapping, name, revision } = file;
  await using now = await place.open(file).catch((cause: unknown) => {
    if (!isMillraceError(cause) || cause.code !== "not-found") throw cause;
    throw new MillraceError("not-found", `\`${name}\` was there when the run was planned and is gone now`, {
      where: { file: name },
      cause,
    });
  });
  const planned = identityOf({ modified: file.modified, ...(revision === undefined ? {} : { etag: revision }) });
  if (now.size === file.diskSize && identityOf(now) === planned) return wrapping;
  const growing =
    lines && wrapping.container === "none" && wrapping.encoding === undefined && now.size >= file.diskSize;
  if (growing && (await etagOf(now, file.diskSize)) === file.etag) {
    return wrapping.from === undefined ? { ...wrapping, from: 0, to: file.diskSize } : wrapping;
  }
  throw new MillraceError(
    "conflict",
    `\`${name}\` has changed since the run was planned (${file.diskSize} bytes then, ${now.size} now)`,
    {
      where: { file: name },
      hint: "run again, once nobody writes to the file",
    },
  );
}

function partFile({ path, name, size, modified, etag, revision, diskSize, wrapping }: Readable): PartFile {
  return { path, name, size, modified, etag, ...(revision === undefined ? {} : { revision }), diskSize, wrapping };
}

/** A part that tells of a file instead of reading it. */
export function poisonPart(readable: Readable, columns: Column[], why: string): Omit<Part, "id"> {
  const file = partFile(readable);
  const spec: PartSpec = { format: readable.format, options: {}, columns, files: [file], poison: why };
  return { spec: spec as unknown as Part["spec"], bytes: 0 };
}

/** Assets of one part: whoever reads it again after a failure reads no more than these. */
const maximumAssets = 1_000;
const assetBytes = 256 * 1024 ** 2;

/** Groups files in their order until a part has about `partBytes`. What a converter reads is one file a part, unless it is assets. */
export function partsOf(
  shape: { format: string; options: FormatOptions; readables: Readable[] },
  columns: Column[],
  partBytes: number,
): Omit<Part, "id">[] {
  const assets = isAssets(shape.format);
  const converted = !assets && !["csv", "tsv", "json", "ndjson", "parquet"].includes(shape.format);
  const most = assets ? Math.min(partBytes, assetBytes) : partBytes;
  const parts: Omit<Part, "id">[] = [];
  let files: PartFile[] = [];
  let bytes = 0;
  const close = (): void => {
    if (files.length === 0) return;
    const spec: PartSpec = { format: shape.format, options: shape.options, columns, files };
    parts.push({ spec: spec as unknown as Part["spec"], bytes });
    files = [];
    bytes = 0;
  };
  for (const readable of shape.readables) {
    const { size, wrapping } = readable;
    const length = wrapping.from === undefined ? size : wrapping.to! - wrapping.from;
    const full = converted || bytes + length > most || (assets && files.length >= maximumAssets);
    if (files.length > 0 && full) close();
    files.push(partFile(readable));
    bytes += length;
  }
  close();
  return parts;
}

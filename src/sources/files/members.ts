import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { asMillraceError, MillraceError } from "../../core/index.ts";
import { listArchive, unpack, type Container } from "../../sandbox/index.ts";
import { detect, detectAsset, headBytes, readHead, stripContainer, formatOfName, type Nature } from "./detect.ts";
import { foreignKind } from "./foreign.ts";
import { isAssets } from "./formats.ts";
import type { FilesOptions } from "./index.ts";
import type { Held, Place } from "./places.ts";
import { makeScratch } from "./scratch.ts";

/** How the bytes of a readable file come out of the file on disk. Survives JSON. */
export type Wrapping = {
  container: Container;
  member?: string;
  encoding?: string;
  /** Bytes of the file on disk, `from` inclusive, `to` exclusive: what was added to it since it was last read. */
  from?: number;
  to?: number;
};

/** One thing to read: a file, or a member of an archive. */
export interface Readable {
  /** `archive.zip!member` for members. */
  name: string;
  /** The file on disk or in the store. */
  path: string;
  size: number;
  modified: number;
  etag: string;
  revision?: string;
  /** Bytes of the file on disk; of a member, those of its archive. */
  diskSize: number;
  format: string;
  wrapping: Wrapping;
  /** First bytes as they lie on disk, when they are the content. */
  head?: Buffer;
}

interface OnDisk {
  name: string;
  path: string;
  size: number;
  modified: number;
  etag: string;
  revision?: string;
}

/** What is needed to read in a file. */
export interface Reading {
  place: Place;
  options: FilesOptions;
  /** Folder for unpacked content. */
  scratch: string;
}

/** A JSON document is unpacked, because its end must be looked at before it is read. */
const nativelyCompressed = new Set(["csv", "tsv", "ndjson"]);
const encodedText = new Set(["csv", "tsv", "json", "ndjson"]);

export function limitsOf(options: FilesOptions): {
  maximumBytes: number;
  maximumRatio: number;
  maximumEntries: number;
} {
  return {
    maximumBytes: options.unpack_max_bytes,
    maximumRatio: options.unpack_max_ratio,
    maximumEntries: options.unpack_max_entries,
  };
}

/** True when the engine or the converter can take the file as it lies there. */
export function isPlain(format: string, wrapping: Wrapping): boolean {
  if (wrapping.encoding !== undefined || wrapping.from !== undefined) return false;
  if (wrapping.container === "none") return true;
  return (wrapping.container === "gzip" || wrapping.container === "zstd") && nativelyCompressed.has(format);
}

/** What there is to read in a file on disk: itself, what it wraps, or the members of an archive that have a known format. */
export async function readablesOf(
  file: OnDisk,
  { place, options }: Reading,
  declared: { format?: string; encoding?: string },
  signal: AbortSignal | undefined,
): Promise<Readable[]> {
  const head = await headBytesOf(place, file);
  const assets = isAssets(declared.format);
  const nature: Nature = assets
    ? { container: detectAsset(head, file.name, declared.format!) }
    : detect(file.name, head);
  const describeContent = (name: string, content: Buffer, container: Container, member?: string): Readable => {
    const inner: Nature = assets
      ? { container: "none" }
      : detect(name, content, member === undefined ? file.name : `${file.name}!${member}`);
    if (inner.container !== "none") {
      throw new MillraceError("unsupported", `\`${file.name}\` holds another archive or compressed file`, {
        where: { file: file.name },
        hint: "unpack it once, and read what comes out",
      });
    }
    const format = declared.format ?? inner.format!;
    const encoding = encodingOf(format, declared.encoding, inner.encoding);
    return {
      ...file,
      name: member === undefined ? file.name : `${file.name}!${member}`,
      diskSize: file.size,
      format,
      wrapping: {
        container,
        ...(member === undefined ? {} : { member }),
        ...(encoding === undefined ? {} : { encoding }),
      },
      ...(container === "none" ? { head: content } : {}),
    };
  };
  if (nature.container === "none") return [describeContent(file.name, head, "none")];
  const held = await place.hold(file, signal);
  try {
    const local = { ...file, path: held.path };
    if (nature.container !== "zip") {
      const content = await headOf(local, { container: nature.container }, options, signal);
      return content.length === 0
        ? []
        : [describeContent(stripContainer(file.name), content, nature.container)].map((each) => ({
            ...each,
            name: file.name,
          }));
    }
    const readables: Readable[] = [];
    const foreign: string[] = [];
    for (const entry of await listArchive(file.name, { path: held.path, ...limitsOf(options) }, signal)) {
      const skipped = basename(entry.name).startsWith(".") || entry.name.startsWith("__MACOSX/");
      if (skipped || entry.size === 0) continue;
      const content = await headOf(local, { container: "zip", member: entry.name }, options, signal);
      // A read-me or a picture beside the data.
      const kind =
        declared.format === undefined && formatOfName(entry.name) === undefined
          ? foreignKind(entry.name, content)
          : undefined;
      if (kind !== undefined) {
        foreign.push(`\`${entry.name}\` is ${kind}`);
        continue;
      }
      const readable = describeContent(entry.name, content, "zip", entry.name);
      readables.push({ ...readable, size: entry.size, etag: `${entry.crc}-${entry.size}` });
    }
    if (readables.length === 0 && foreign.length > 0) {
      throw new MillraceError("unsupported", `\`${file.name}\` holds nothing that can be read: ${foreign[0]}`, {
        where: { file: file.name },
        hint: "leave it out of `path`, or say with `format` what it holds",
      });
    }
    return readables;
  } finally {
    await held.release();
  }
}

async function headBytesOf(place: Place, file: OnDisk): Promise<Buffer> {
  await using bytes = await place.open(file);
  // Awaited here: the file is closed at the end of this block.
  return await readHead(bytes);
}

function encodingOf(format: string, declared: string | undefined, found: string | undefined): string | undefined {
  if (!encodedText.has(format)) return undefined;
  if (declared !== undefined && !/^utf-?8$/i.test(declared)) return declared;
  return found;
}

async function headOf(
  file: OnDisk,
  wrapping: Wrapping,
  options: FilesOptions,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let held = 0;
  for await (const chunk of unpack(file.name, { path: file.path, ...wrapping, ...limitsOf(options) }, signal)) {
    chunks.push(chunk);
    held += chunk.length;
    if (held >= headBytes) break;
  }
  return Buffer.concat(chunks, held).subarray(0, headBytes);
}

/**
 * A local file that engine or converter can read: the file itself or its copy, or its unpacked, re-encoded or cut-out content in the
 * scratch folder, made once. Throws what `unpack` throws.
 */
export async function materialise(
  readable: Pick<Readable, "name" | "path" | "modified" | "etag" | "revision" | "diskSize" | "format" | "wrapping">,
  { place, options, scratch }: Reading,
  signal: AbortSignal | undefined,
): Promise<Held> {
  const { wrapping, path, name, etag, revision } = readable;
  const hold = (): Promise<Held> => place.hold({ ...readable, size: readable.diskSize }, signal);
  if (isPlain(readable.format, wrapping)) {
    const held = await hold();
    // The engine takes `*?[` for a glob, and in a glob a backslash has a meaning of its own.
    if (!(held.path.includes("\\") && /[*?[]/.test(held.path))) return held;
    await held.release();
  }
  const key = createHash("sha256")
    .update(JSON.stringify([place.id, path, etag, revision, wrapping]))
    .digest("hex")
    .slice(0, 24);
  const target = join(scratch, `${key}.${readable.format}`);
  const made: Held = { path: target, release: async () => undefined };
  if (
    await stat(target).then(
      () => true,
      () => false,
    )
  )
    return made;
  makeScratch(scratch);
  const partial = `${target}.${process.pid}.partial`;
  const { from, to } = wrapping;
  let held: Held | undefined;
  try {
    const content =
      from !== undefined && to !== undefined
        ? rangeOf(place, readable, from, to, signal)
        : unpack(name, { path: (held = await hold()).path, ...wrapping, ...limitsOf(options) }, signal);
    await pipeline(content, createWriteStream(partial, { mode: 0o600 }));
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { force: true });
    throw asMillraceError(error, { file: name }, "parse");
  } finally {
    await held?.release();
  }
  return made;
}

const rangeBytes = 4 * 1024 ** 2;

/** What was cut out is read where it lies: what follows and what came before is not needed here. */
async function* rangeOf(
  place: Place,
  file: Pick<Readable, "path" | "name">,
  from: number,
  to: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  if (from === to) return;
  await using bytes = await place.open(file);
  for (let at = from; at < to; at += rangeBytes) yield await bytes.read(at, Math.min(rangeBytes, to - at), signal);
}

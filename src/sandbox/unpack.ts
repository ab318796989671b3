import { closeSync, openSync, readSync } from "node:fs";
import { stat } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { openPromise, type Entry } from "yauzl";
import { MillraceError } from "../core/errors.ts";
import { allowedBytes, unpackedBytes, withinLimits } from "../core/unpacked.ts";
import { decodeBzip2 } from "./bzip2.ts";
import type { ArchiveEntry, UnpackOptions } from "./containers.ts";
import { createEntryGuard } from "./zip.ts";

/** Runs in the child. With `list`, yields the entries of a zip archive; else the unpacked bytes of one file, in UTF-8 when it is text. */
export default async function* unpackFile(
  options: UnpackOptions & { list?: boolean },
): AsyncIterable<Uint8Array | ArchiveEntry[]> {
  if (options.list) {
    yield await listEntries(options);
    return;
  }
  const { packed, bytes: unpacked } = await open(options);
  const bytes = withinLimits(packed, unpacked, options);
  yield* options.encoding === undefined ? bytes : toUtf8(bytes, options.encoding);
}

async function open(
  options: UnpackOptions,
): Promise<{ packed: number; bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array> }> {
  const { path } = options;
  if (options.container === "zip") return openEntry(options);
  const packed = (await stat(path)).size;
  switch (options.container) {
    case "none":
      return { packed: Infinity, bytes: unpackedBytes(path, "none") };
    case "gzip":
    case "zstd":
      return { packed, bytes: unpackedBytes(path, options.container) };
    case "bzip2":
      return { packed, bytes: bunzip(path) };
  }
}

function* bunzip(path: string): Generator<Uint8Array> {
  const file = openSync(path, "r");
  try {
    yield* decodeBzip2(() => {
      const chunk = Buffer.allocUnsafe(256 * 1024);
      const read = readSync(file, chunk, 0, chunk.length, null);
      return read === 0 ? undefined : chunk.subarray(0, read);
    });
  } finally {
    closeSync(file);
  }
}

async function* toUtf8(bytes: AsyncIterable<Uint8Array>, encoding: string): AsyncGenerator<Uint8Array> {
  const decoder = new TextDecoder(encoding, { fatal: true });
  const encoder = new TextEncoder();
  let offset = 0;
  const decode = (chunk?: Uint8Array): Uint8Array => {
    try {
      return encoder.encode(chunk ? decoder.decode(chunk, { stream: true }) : decoder.decode());
    } catch (cause) {
      throw new MillraceError(
        "parse",
        `bytes that are not ${encoding} within the ${chunk?.length ?? 0} bytes after offset ${offset}`,
        {
          cause,
          hint: "set `options: { encoding: … }` to the encoding of the file",
        },
      );
    }
  };
  for await (const chunk of bytes) {
    yield decode(chunk);
    offset += chunk.length;
  }
  yield decode();
}

async function* eachFile(
  options: UnpackOptions,
): AsyncGenerator<{ entry: Entry; open: () => Promise<AsyncIterable<Uint8Array>> }> {
  const archive = await openPromise(options.path, { autoClose: false });
  try {
    if (archive.entryCount > options.maximumEntries) {
      throw new MillraceError("limit", `it has ${archive.entryCount} entries, more than ${options.maximumEntries}`);
    }
    const guard = createEntryGuard(options.maximumEntries);
    for await (const entry of archive.eachEntry()) {
      guard(entry);
      if (entry.fileName.endsWith("/")) continue;
      yield { entry, open: () => archive.openReadStreamPromise(entry) };
    }
  } finally {
    archive.close();
  }
}

async function listEntries(options: UnpackOptions): Promise<ArchiveEntry[]> {
  const entries: ArchiveEntry[] = [];
  const packed = (await stat(options.path)).size;
  let total = 0;
  for await (const { entry } of eachFile(options)) {
    total += entry.uncompressedSize;
    if (total > allowedBytes(packed, options)) {
      throw new MillraceError("limit", "its entries unpack to more than an archive of its size should", {
        hint: "raise `unpack_max_bytes` or `unpack_max_ratio` if the archive is what it should be",
      });
    }
    entries.push({
      name: entry.fileName,
      size: entry.uncompressedSize,
      packed: entry.compressedSize,
      crc: entry.crc32.toString(16).padStart(8, "0"),
      encrypted: (entry.generalPurposeBitFlag & 1) === 1,
    });
  }
  return entries;
}

/** The bytes of an entry with their checksum verified: yauzl verifies their number only. */
async function openEntry(options: UnpackOptions): Promise<{ packed: number; bytes: AsyncIterable<Uint8Array> }> {
  const files = eachFile(options);
  for await (const file of { [Symbol.asyncIterator]: () => ({ next: () => files.next() }) }) {
    const { entry } = file;
    if (entry.fileName !== options.member) continue;
    if ((entry.generalPurposeBitFlag & 1) === 1) {
      throw new MillraceError("unsupported", `the entry \`${entry.fileName}\` is encrypted`, {
        hint: "store it without a password",
      });
    }
    const bytes = async function* (): AsyncGenerator<Uint8Array> {
      let crc = 0;
      for await (const chunk of await file.open()) {
        crc = crc32(chunk, crc);
        yield chunk;
      }
      await files.return(undefined);
      if (crc >>> 0 !== entry.crc32)
        throw new MillraceError("parse", `the checksum of the entry \`${entry.fileName}\` differs`);
    };
    return { packed: entry.compressedSize, bytes: bytes() };
  }
  throw new MillraceError("not-found", `it has no entry \`${options.member}\``);
}

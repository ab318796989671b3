import type { Transform } from "node:stream";
import { MillraceError } from "./errors.ts";

export type Compression = "none" | "gzip" | "zstd";

export interface UnpackLimits {
  maximumBytes: number;
  /** Unpacked bytes to packed ones. */
  maximumRatio: number;
}

/** Below this much output a high ratio is normal: a small file of equal lines. */
const freeBytes = 1024 * 1024;

/** How much `packed` bytes may unpack to: of a file, an archive, a stream. */
export function allowedBytes(packed: number, { maximumBytes, maximumRatio }: UnpackLimits): number {
  return Math.min(maximumBytes, Math.max(freeBytes, packed * maximumRatio));
}

/** What became of `packed` bytes, as long as it is not too much. Throws `limit`. */
export async function* withinLimits(
  packed: number,
  unpacked: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  limits: UnpackLimits,
): AsyncGenerator<Uint8Array, void, undefined> {
  const allowed = allowedBytes(packed, limits);
  let total = 0;
  for await (const chunk of unpacked) {
    total += chunk.length;
    if (total > allowed) {
      throw total > limits.maximumBytes
        ? new MillraceError("limit", `it unpacks to more than ${limits.maximumBytes} bytes`, {
            hint: "raise `unpack_max_bytes`",
          })
        : new MillraceError(
            "limit",
            `it unpacks to more than ${limits.maximumRatio} times its size, like a decompression bomb`,
            { hint: "raise `unpack_max_ratio` if the file is what it should be" },
          );
    }
    yield chunk;
  }
}

function decoderOf(compression: "gzip" | "zstd", chunkSize: number): Transform {
  const zlib = process.getBuiltinModule("node:zlib");
  return compression === "gzip" ? zlib.createGunzip({ chunkSize }) : zlib.createZstdDecompress({ chunkSize });
}

/** Twice as fast as the 64 KiB and 16 KiB that Node takes by itself. */
const largeChunk = 512 * 1024;

/**
 * The bytes of a local file, unpacked; the reader may stop when it has seen enough. Errors are thrown to the reader and to nobody
 * else: `Readable.compose` emits some where nothing can catch them, and never ends on a file that is cut.
 */
export async function* unpackedBytes(
  path: string,
  compression: Compression,
  options: { highWaterMark?: number } = {},
): AsyncGenerator<Buffer, void, undefined> {
  const { highWaterMark = largeChunk } = options;
  const source = process.getBuiltinModule("node:fs").createReadStream(path, { highWaterMark });
  if (compression === "none") {
    yield* source as AsyncIterable<Buffer>;
    return;
  }
  const decoder = decoderOf(compression, highWaterMark);
  // What goes wrong reaches the reader through the decoder.
  const feeding = process
    .getBuiltinModule("node:stream/promises")
    .pipeline(source, decoder)
    .catch(() => undefined);
  try {
    yield* decoder as AsyncIterable<Buffer>;
  } finally {
    decoder.destroy();
    await feeding;
  }
}

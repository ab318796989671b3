import type { Transform } from "node:stream";

export type Compression = "none" | "gzip" | "zstd";

function decoderOf(compression: "gzip" | "zstd"): Transform {
  const zlib = process.getBuiltinModule("node:zlib");
  return compression === "gzip" ? zlib.createGunzip() : zlib.createZstdDecompress();
}

/**
 * The bytes of a local file, unpacked; the reader may stop when it has seen enough. Errors are thrown to the reader and to nobody
 * else: `Readable.compose` emits some where nothing can catch them, and never ends on a file that is cut.
 */
export async function* unpackedBytes(
  path: string,
  compression: Compression,
  options: { highWaterMark?: number } = {},
): AsyncGenerator<Buffer, void, undefined> {
  const source = process.getBuiltinModule("node:fs").createReadStream(path, options);
  if (compression === "none") {
    yield* source as AsyncIterable<Buffer>;
    return;
  }
  const decoder = decoderOf(compression);
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

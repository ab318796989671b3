import { createReadStream } from "node:fs";
import { createGunzip, createZstdDecompress } from "node:zlib";
import type { FileRef } from "../core/index.ts";

/**
 * The first bytes of a text file, unpacked; the reader stops when it has seen enough. It ends early, without an error, where the
 * content cannot be unpacked: the engine tells what is wrong with it.
 */
export async function* sampleText(file: FileRef, compression: string): AsyncGenerator<Buffer, void, undefined> {
  const bytes = createReadStream(file.path, { highWaterMark: 256 * 1024 });
  const text =
    compression === "gzip"
      ? bytes.compose(createGunzip())
      : compression === "zstd"
        ? bytes.compose(createZstdDecompress())
        : bytes;
  try {
    yield* text as AsyncIterable<Buffer>;
  } catch {
    return;
  } finally {
    bytes.destroy();
  }
}

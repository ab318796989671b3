import { unpackedBytes, type FileRef } from "../core/index.ts";

/**
 * The first bytes of a text file, unpacked; the reader stops when it has seen enough. It ends early, without an error, where the
 * content cannot be unpacked: the engine tells what is wrong with it.
 */
export async function* sampleText(file: FileRef, compression: string): AsyncGenerator<Buffer, void, undefined> {
  const packed = compression === "gzip" || compression === "zstd" ? compression : "none";
  try {
    yield* unpackedBytes(file.path, packed, { highWaterMark: 256 * 1024 });
  } catch {
    return;
  }
}

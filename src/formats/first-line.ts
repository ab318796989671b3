import { createReadStream } from "node:fs";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { MillraceError, type FileRef } from "../core/index.ts";

/**
 * Holds the first line of a text file to a length. What finds out the dialect tries dozens of them on the first record, which takes
 * minutes when that is as long as the file. Throws `limit`; what cannot be unpacked is left to the engine to tell.
 */
export async function limitFirstLine(file: FileRef, compression: string, maximumBytes: number): Promise<void> {
  const bytes = createReadStream(file.path, { end: maximumBytes });
  const text =
    compression === "gzip"
      ? bytes.compose(createGunzip())
      : compression === "zstd"
        ? bytes.compose(createZstdDecompress())
        : bytes;
  let length = 0;
  try {
    for await (const chunk of text as AsyncIterable<Buffer>) {
      if (chunk.includes(0x0a) || chunk.includes(0x0d)) return;
      length += chunk.length;
      if (length > maximumBytes) break;
    }
  } catch {
    return;
  } finally {
    bytes.destroy();
  }
  if (length <= maximumBytes) return;
  throw new MillraceError("limit", `the first line of \`${file.name}\` is longer than ${maximumBytes} bytes`, {
    where: { file: file.name },
    hint: "raise `options: { max_line_bytes: … }` if it is text in lines at all",
  });
}

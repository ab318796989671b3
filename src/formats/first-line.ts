import { MillraceError, type FileRef } from "../core/index.ts";
import { sampleText } from "./sample-text.ts";

/**
 * Holds the first line of a text file to a length. What finds out the dialect tries dozens of them on the first record, which takes
 * minutes when that is as long as the file. Throws `limit`.
 */
export async function limitFirstLine(file: FileRef, compression: string, maximumBytes: number): Promise<void> {
  let length = 0;
  for await (const chunk of sampleText(file, compression)) {
    if (chunk.includes(0x0a) || chunk.includes(0x0d)) return;
    length += chunk.length;
    if (length > maximumBytes) {
      throw new MillraceError("limit", `the first line of \`${file.name}\` is longer than ${maximumBytes} bytes`, {
        where: { file: file.name },
        hint: "raise `options: { max_line_bytes: … }` if it is text in lines at all",
      });
    }
  }
}

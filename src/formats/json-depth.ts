import { MillraceError, type FileRef } from "../core/index.ts";
import { sampleText } from "./sample-text.ts";

/** The engine finds out types by recursion: it ends with the whole process somewhere above ten thousand levels. */
const maximumDepth = 500;

const [quote, backslash, lineFeed, comma] = [0x22, 0x5c, 0x0a, 0x2c];
const [openBracket, closeBracket, openBrace, closeBrace] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * Holds the records that types are inferred from to a depth of nesting. `records`: how many of them the engine looks at, -1 for all.
 * Throws `limit`.
 */
export async function limitDepth(file: FileRef, compression: string, records: number): Promise<void> {
  let depth = 0;
  let isText = false;
  let isEscaped = false;
  /** The elements of an array are records too. */
  let isArray = false;
  let left = records < 0 ? Infinity : records;
  for await (const chunk of sampleText(file, compression)) {
    for (let index = 0; index < chunk.length; index++) {
      const byte = chunk[index]!;
      if (isText) {
        if (isEscaped) isEscaped = false;
        else if (byte === backslash) isEscaped = true;
        // A line feed ends a string that was not closed: JSON has none in strings.
        else if (byte === quote || byte === lineFeed) isText = false;
      } else if (byte === quote) isText = true;
      else if (byte === openBracket || byte === openBrace) {
        if (depth === 0) isArray = byte === openBracket;
        if (++depth > maximumDepth) {
          throw new MillraceError("limit", `\`${file.name}\` is nested more than ${maximumDepth} deep`, {
            where: { file: file.name },
            hint: "no data is; the file is damaged, or made to do harm",
          });
        }
      } else if (byte === closeBracket || byte === closeBrace) depth = Math.max(0, depth - 1);
      else if (byte === lineFeed && depth === 0) left--;
      else if (byte === comma && depth === 1 && isArray) left--;
    }
    if (left <= 0) return;
  }
}

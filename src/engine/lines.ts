/** Counts the records of newline-delimited text as it passes: lines that are not blank. Chunks may be cut anywhere. */
export interface LineCount {
  chunks: AsyncIterable<Uint8Array>;
  lines(): number;
}

const newline = 10;
const space = 32;

export function countLines(chunks: AsyncIterable<Uint8Array>): LineCount {
  let lines = 0;
  /** Whether the line that the last chunk ended in has shown a character yet. */
  let begun = false;
  const count = (chunk: Uint8Array): void => {
    for (let at = 0; at < chunk.length; at++) {
      if (!begun) {
        if (chunk[at]! <= space) continue;
        lines++;
        begun = true;
      }
      at = chunk.indexOf(newline, at);
      if (at < 0) return;
      begun = false;
    }
  };
  return {
    chunks: (async function* () {
      for await (const chunk of chunks) {
        count(chunk);
        yield chunk;
      }
    })(),
    lines: () => lines,
  };
}

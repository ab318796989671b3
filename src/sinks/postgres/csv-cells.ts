const [comma, quote, newline, carriageReturn] = [0x2c, 0x22, 0x0a, 0x0d];

/** Writes the text of a cell anew. */
export type CellWriter = (cell: string) => string;

/**
 * CSV in which the cells of some columns are written anew, by the writer at the place of the column; other cells, and null (an empty
 * unquoted cell), pass as they are. Works on bytes: only a cell that is written anew becomes a string.
 */
export async function* rewriteCells(
  chunks: AsyncIterable<Uint8Array>,
  writers: readonly (CellWriter | undefined)[],
): AsyncGenerator<Uint8Array> {
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  /** A long record is looked at again only once twice as much of it is there, or it would be copied for each chunk. */
  let enough = 0;
  let inHeader = true;
  const rewrite = function* (): Generator<Uint8Array> {
    const bytes = Buffer.concat(waiting);
    const { parts, end } = rewriteRecords(bytes, writers, inHeader);
    if (end > 0) inHeader = false;
    waiting = end === bytes.length ? [] : [bytes.subarray(end)];
    waitingBytes = bytes.length - end;
    enough = waitingBytes * 2;
    if (parts.length > 0) yield Buffer.concat(parts);
  };
  for await (const chunk of chunks) {
    waiting.push(chunk);
    waitingBytes += chunk.byteLength;
    if (waitingBytes >= enough) yield* rewrite();
  }
  // What waits may be whole: not every chunk was looked at.
  if (waitingBytes > 0) yield* rewrite();
  if (waitingBytes === 0) return;
  waiting.push(Buffer.of(newline));
  yield* rewrite();
}

/** All whole records in `bytes`, as parts to be joined; `end` is where the first begins that is not whole. The header passes. */
function rewriteRecords(
  bytes: Buffer,
  writers: readonly (CellWriter | undefined)[],
  header: boolean,
): { parts: Buffer[]; end: number } {
  const parts: Buffer[] = [];
  let inHeader = header;
  let end = 0;
  for (;;) {
    const record: Buffer[] = [];
    /** What stands before this is in `record`. */
    let taken = end;
    let at = end;
    for (let column = 0; ; column++) {
      const start = at;
      at = bytes[start] === quote ? endOfQuoted(bytes, start + 1) : endOfPlain(bytes, start);
      let stop = at;
      if (at >= 0 && bytes[start] === quote && bytes[at] === carriageReturn) at++;
      if (at < 0 || at >= bytes.length) return { parts, end };
      if (bytes[start] !== quote && bytes[at] === newline && stop > start && bytes[at - 1] === carriageReturn) stop--;
      const writer = inHeader ? undefined : writers[column];
      if (writer !== undefined && stop > start) {
        record.push(bytes.subarray(taken, start), quoted(writer(textOf(bytes, start, stop))));
        taken = stop;
      }
      if (bytes[at++] === newline) break;
    }
    parts.push(...record, bytes.subarray(taken, at));
    end = at;
    inHeader = false;
  }
}

function endOfPlain(bytes: Buffer, from: number): number {
  let at = from;
  while (at < bytes.length && bytes[at] !== comma && bytes[at] !== newline) at++;
  return at;
}

/** What follows the quote that ends a cell; below 0 when these bytes do not say where that is. */
function endOfQuoted(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(quote, from); at >= 0; at = bytes.indexOf(quote, at + 2)) {
    if (at + 1 >= bytes.length) return -1;
    if (bytes[at + 1] !== quote) return at + 1;
  }
  return -1;
}

function textOf(bytes: Buffer, from: number, to: number): string {
  return bytes[from] === quote
    ? bytes.toString("utf8", from + 1, to - 1).replaceAll('""', '"')
    : bytes.toString("utf8", from, to);
}

const quoted = (text: string): Buffer => Buffer.from(`"${text.replaceAll('"', '""')}"`);

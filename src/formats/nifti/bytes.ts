import { closeSync, openSync, readSync, statSync } from "node:fs";
import { MillraceError, unpackedBytes } from "../../core/index.ts";

/** A file from its begin to its end; nothing of it is given twice. */
export interface Bytes {
  /** Of the file, where it is not packed. */
  readonly size: number | undefined;
  /** Its first bytes, which `take` gives all the same. */
  readonly head: Buffer;
  /** The next `length` bytes, or fewer where the file ends. */
  take(length: number): Promise<Buffer>;
  /** Goes on to an offset from the begin. Throws `parse` when the file ends before it. */
  pass(offset: number): Promise<void>;
  close(): Promise<void>;
}

export const endsEarly = (): MillraceError => new MillraceError("parse", "it ends before its voxels do");

/** The bytes of a file as they are, or unpacked where it is in gzip. */
export async function openBytes(path: string, headBytes: number): Promise<Bytes> {
  const isPacked = isGzip(path);
  const chunks = unpackedBytes(path, isPacked ? "gzip" : "none")[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array(0);
  let passed = 0;
  /** Some bytes, at most `most`; none at the end. */
  const some = async (most: number): Promise<Uint8Array> => {
    while (rest.length === 0) {
      const next = await chunks.next();
      if (next.done === true) return rest;
      rest = next.value;
    }
    const given = rest.subarray(0, most);
    rest = rest.subarray(given.length);
    passed += given.length;
    return given;
  };
  const take = async (length: number): Promise<Buffer> => {
    const result = Buffer.alloc(length);
    let filled = 0;
    while (filled < length) {
      const chunk = await some(length - filled);
      if (chunk.length === 0) break;
      result.set(chunk, filled);
      filled += chunk.length;
    }
    return result.subarray(0, filled);
  };
  const head = await take(headBytes);
  rest = Buffer.concat([head, rest]);
  passed = 0;
  return {
    size: isPacked ? undefined : statSync(path).size,
    head,
    take,
    async pass(offset) {
      if (offset < passed) throw endsEarly();
      while (passed < offset) {
        if ((await some(offset - passed)).length === 0) throw endsEarly();
      }
    },
    async close() {
      await chunks.return();
    },
  };
}

function isGzip(path: string): boolean {
  const head = Buffer.alloc(2);
  const descriptor = openSync(path, "r");
  try {
    readSync(descriptor, head, 0, 2, 0);
  } finally {
    closeSync(descriptor);
  }
  return head[0] === 0x1f && head[1] === 0x8b;
}

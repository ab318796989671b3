/**
 * What parent and child say to each other over pipes: frames of 1 byte kind, 4 bytes length (big endian), then the payload.
 * The parent sends `job` frames; the child answers each with any number of `bytes` and `message`, then one `done` or `failed`.
 * Before the first job it says `ready`: how long a process takes to start is not the parser's doing.
 */
export const frame = { job: 0, bytes: 1, message: 2, done: 3, failed: 4, ready: 5 } as const;
export type FrameKind = (typeof frame)[keyof typeof frame];

/** A child that is broken must not make the parent allocate what a damaged length says. */
const maximumFrame = 64 * 1024 * 1024;

export function frameHeader(kind: FrameKind, length: number): Buffer {
  const header = Buffer.allocUnsafe(5);
  header.writeUInt8(kind, 0);
  header.writeUInt32BE(length, 1);
  return header;
}

export interface Frame {
  kind: number;
  payload: Buffer;
}

/** Splits a pipe into frames. A pipe that ends inside a frame ends the iteration: the reader sees that `done` is missing. */
export async function* readFrames(chunks: AsyncIterable<Buffer>): AsyncGenerator<Frame, void, undefined> {
  let pending: Buffer[] = [];
  let held = 0;
  let wanted = 5;
  for await (const chunk of chunks) {
    pending.push(chunk);
    held += chunk.length;
    if (held < wanted) continue;
    let buffer = pending.length === 1 ? chunk : Buffer.concat(pending, held);
    while (buffer.length >= 5) {
      const length = buffer.readUInt32BE(1);
      if (length > maximumFrame) throw new Error(`a frame of ${length} bytes exceeds the limit of ${maximumFrame}`);
      wanted = 5 + length;
      if (buffer.length < wanted) break;
      yield { kind: buffer[0]!, payload: buffer.subarray(5, wanted) };
      buffer = buffer.subarray(wanted);
      wanted = 5;
    }
    pending = buffer.length > 0 ? [buffer] : [];
    held = buffer.length;
  }
}

import type { IncomingMessage } from "node:http";
import { gunzip } from "node:zlib";

/** What all bodies that are being read may hold together; who comes when it is full is told to come again. */
export class Held {
  readonly #most: number;
  #bytes = 0;

  constructor(most: number) {
    this.#most = most;
  }

  add(bytes: number): boolean {
    this.#bytes += bytes;
    return this.#bytes <= this.#most;
  }

  release(bytes: number): void {
    this.#bytes -= bytes;
  }
}

/** A status instead of a body: 413 too large, 503 too much at once, 400 not what it says it is. Undefined: the client went away. */
export type BodyOutcome = Buffer | 413 | 503 | 400 | undefined;

/** The body within its bound, and within what all bodies may hold. `done` is called once. */
export function readBody(
  request: IncomingMessage,
  maxBytes: number,
  held: Held,
  done: (outcome: BodyOutcome) => void,
): void {
  const chunks: Buffer[] = [];
  let size = 0;
  let isOver = false;
  const end = (outcome: BodyOutcome): void => {
    if (isOver) return;
    isOver = true;
    held.release(size);
    done(outcome);
  };
  request.on("data", (chunk: Buffer) => {
    if (isOver) return;
    size += chunk.length;
    const hasRoom = held.add(chunk.length);
    if (size > maxBytes) end(413);
    else if (!hasRoom) end(503);
    else chunks.push(chunk);
  });
  request.on("end", () => end(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)));
  request.on("error", () => end(undefined));
  request.on("close", () => end(undefined));
}

/** Unpacks within the bound: a small body may be of any size when it is unpacked. */
export function unpack(body: Buffer, maxBytes: number, done: (outcome: Buffer | 413 | 400) => void): void {
  gunzip(body, { maxOutputLength: maxBytes }, (error, unpacked) => {
    if (error === null) done(unpacked);
    else done((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE" ? 413 : 400);
  });
}

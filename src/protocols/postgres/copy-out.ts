import type pg from "pg";
import { MillraceError } from "../../core/index.ts";

/** Bytes that may wait for the consumer before the socket is paused. */
const maximumWaiting = 1 << 20;

const copyData = 0x64;
const copyDone = 0x63;
const copyOutResponse = 0x48;
const noticeResponse = 0x4e;
const parameterStatus = 0x53;
const notification = 0x41;

type Listener = (bytes: Buffer) => void;
type DataSocket = pg.Connection["stream"] & { listeners(event: "data"): Listener[] };

/**
 * `COPY … TO STDOUT` as it comes off the socket: one pass that takes the five bytes before each row away, in place.
 * No row becomes an object, and the only memory is that of the socket's own chunks.
 *
 *     CopyOutResponse  H, length, format (1), columns (2), format of each (2)
 *     CopyData         d, length, bytes: one row for each message
 *     CopyDone         c, length
 *     CommandComplete  C, length, tag: `COPY 1234`
 *     ReadyForQuery    Z
 *
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
 */
export class CopyOut {
  /** Rows by the server's own count; undefined until it has confirmed the end. */
  rows: number | undefined;
  readonly #text: string;
  #socket: DataSocket | undefined;
  #ordinary: Listener | undefined;
  #listener: Listener = (chunk) => this.#receive(chunk);
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #paused = false;
  #done = false;
  #finished = false;
  #error: unknown;
  #wake: (() => void) | undefined;
  #header = Buffer.alloc(5);
  #headerLength = 0;
  #code = 0;
  #remaining = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** The next chunk; undefined once the server has said that it was all. Throws what the server or the connection reported. */
  async next(): Promise<Buffer | undefined> {
    while (this.#waiting.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#finished) {
        if (this.rows === undefined)
          throw new MillraceError("unreachable", "the answer broke off", { temporary: true });
        return undefined;
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const chunk = this.#waiting.shift()!;
    this.#waitingBytes -= chunk.length;
    if (this.#paused && this.#waitingBytes < maximumWaiting / 2) this.#resume();
    return chunk;
  }

  /** What `next` throws from now on, also while it is waiting. Chunks that have come already are dropped. */
  fail(error: unknown): void {
    this.#error ??= error;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#resume();
    this.#wake?.();
  }

  // From here on: what `pg` calls on a query.

  submit(connection: pg.Connection): void {
    const socket = connection.stream as DataSocket;
    this.#socket = socket;
    this.#ordinary = socket.listeners("data")[0];
    socket.removeListener("data", this.#ordinary!);
    socket.on("data", this.#listener);
    (connection as unknown as { query(text: string): void }).query(this.#text);
  }

  handleError(error: unknown): void {
    this.#detach();
    this.fail(error);
  }

  handleCommandComplete(message: { text: string }): void {
    const count = /^COPY (\d+)$/.exec(message.text)?.[1];
    if (this.#done && count !== undefined) this.rows = Number(count);
  }

  handleReadyForQuery(): void {
    this.#finished = true;
    this.#wake?.();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket?.resume();
  }

  /** Gives the socket back to `pg`, with what is not ours. */
  #detach(rest?: Buffer): void {
    if (this.#socket === undefined || this.#ordinary === undefined) return;
    const ordinary = this.#ordinary;
    this.#ordinary = undefined;
    this.#socket.removeListener("data", this.#listener);
    this.#socket.on("data", ordinary);
    this.#resume();
    if (rest !== undefined) ordinary(rest);
  }

  #receive(chunk: Buffer): void {
    const end = chunk.length;
    let from = 0;
    let to = 0;
    let rest: Buffer | undefined;
    while (from < end) {
      if (this.#remaining > 0) {
        const length = Math.min(this.#remaining, end - from);
        if (this.#code === copyData) {
          if (to !== from) chunk.copyWithin(to, from, from + length);
          to += length;
        }
        from += length;
        this.#remaining -= length;
        continue;
      }
      if (this.#headerLength === 0 && end - from >= 5) {
        this.#code = chunk[from]!;
        this.#remaining = chunk.readInt32BE(from + 1) - 4;
        from += 5;
      } else {
        this.#header[this.#headerLength++] = chunk[from++]!;
        if (this.#headerLength < 5) continue;
        this.#headerLength = 0;
        this.#code = this.#header[0]!;
        this.#remaining = this.#header.readInt32BE(1) - 4;
      }
      if (this.#code === copyData) continue;
      if (this.#code === copyDone) this.#done = true;
      else if (!isAside(this.#code)) {
        const header = Buffer.alloc(5);
        header[0] = this.#code;
        header.writeInt32BE(this.#remaining + 4, 1);
        rest = Buffer.concat([header, chunk.subarray(from)]);
        this.#remaining = 0;
        break;
      }
    }
    if (to > 0 && this.#error === undefined) {
      this.#waiting.push(chunk.subarray(0, to));
      this.#waitingBytes += to;
      if (!this.#paused && this.#waitingBytes >= maximumWaiting) {
        this.#paused = true;
        this.#socket?.pause();
      }
      this.#wake?.();
    }
    if (rest !== undefined) this.#detach(rest);
  }
}

/** Messages that may come in between and say nothing about the data. */
function isAside(code: number): boolean {
  return code === copyOutResponse || code === noticeResponse || code === parameterStatus || code === notification;
}

import type pg from "pg";
import { MillraceError } from "../../core/index.ts";
import type { Session } from "./session.ts";

/** Bytes that may wait for the reader before the socket is paused. */
const maximumWaiting = 1 << 20;
/** How often the server is told that we are there. It ends a connection after 60 seconds of silence, unless it is set otherwise. */
const aliveMs = 10_000;
/** Moments of the server count from 2000-01-01. */
const serverEpochMs = 946_684_800_000;

const code = { copyData: 0x64, copyBoth: 0x57, notice: 0x4e, parameter: 0x53, notification: 0x41 };

type Listener = (bytes: Buffer) => void;
type DataSocket = pg.Connection["stream"] & { listeners(event: "data"): Listener[] };

/** One message of the stream, inside a buffer that is good until the next one is asked for. */
export interface StreamMessage {
  buffer: Buffer;
  start: number;
  end: number;
}

/**
 * `START_REPLICATION`: the messages of the server one after the other, as views of what came off the socket. What is not asked for waits at
 * the server.
 *
 *     CopyBothResponse  W, …
 *     CopyData          d, length, bytes: one message
 *
 * https://www.postgresql.org/docs/current/protocol-replication.html
 */
export class ReplicationStream {
  readonly #session: Session;
  readonly #text: string;
  #socket: DataSocket | undefined;
  #ordinary: Listener | undefined;
  readonly #listener: Listener = (chunk) => this.#receive(chunk);
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #paused = false;
  #error: unknown;
  #wake: (() => void) | undefined;
  #buffer: Buffer = Buffer.alloc(0);
  #at = 0;
  readonly #message: StreamMessage = { buffer: this.#buffer, start: 0, end: 0 };
  #timer: NodeJS.Timeout | undefined;
  #confirmed = 0n;
  #begun = false;

  constructor(session: Session, text: string) {
    this.#session = session;
    this.#text = text;
    session.client.once("end", () => this.fail(new Error("Connection terminated")));
    (session.client as unknown as { query(query: ReplicationStream): unknown }).query(this);
    this.#timer = setInterval(() => this.#report(), aliveMs).unref();
  }

  /** Resolves once the server sends. Throws why it does not. */
  async started(): Promise<void> {
    for (;;) {
      this.head();
      if (this.#begun) return;
      await this.more();
    }
  }

  /** The message that comes next; the same one again until `take`. `undefined`: it has not come yet, see `more`. */
  head(): StreamMessage | undefined {
    for (;;) {
      const have = this.#buffer.length - this.#at;
      if (have < 5) return undefined;
      const end = this.#at + 1 + this.#buffer.readInt32BE(this.#at + 1);
      if (end > this.#buffer.length) return undefined;
      const kind = this.#buffer[this.#at]!;
      if (kind === code.copyData) {
        this.#message.buffer = this.#buffer;
        this.#message.start = this.#at + 5;
        this.#message.end = end;
        return this.#message;
      }
      if (kind === code.copyBoth) this.#begun = true;
      if (kind === code.copyBoth || kind === code.notice || kind === code.parameter || kind === code.notification) {
        this.#at = end;
        continue;
      }
      // Whatever else it is says that the stream is over: `pg` knows how to read it.
      this.#detach(this.#buffer.subarray(this.#at));
      this.#buffer = Buffer.alloc(0);
      this.#at = 0;
      return undefined;
    }
  }

  take(): void {
    this.#at = this.#message.end;
  }

  /** Waits for more bytes. Throws what the server or the connection reported. */
  async more(): Promise<void> {
    while (this.#waiting.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const rest = this.#buffer.subarray(this.#at);
    // A message that is longer than a chunk: all of it is waited for, so that it is copied once.
    const wanted = rest.length < 5 ? 5 : 1 + rest.readInt32BE(1);
    const parts: Buffer[] = rest.length === 0 ? [] : [rest];
    let have = rest.length;
    do {
      while (this.#waiting.length > 0 && (have < wanted || parts.length === 0)) {
        const chunk = this.#waiting.shift()!;
        this.#waitingBytes -= chunk.length;
        parts.push(chunk);
        have += chunk.length;
      }
      this.#resume();
      if (have >= wanted) break;
      if (this.#error !== undefined) throw this.#error;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    } while (have < wanted);
    this.#buffer = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    this.#at = 0;
  }

  /** All before it is in a dataset: the server may forget it. Never say so of what is not committed. */
  confirm(lsn: bigint): void {
    this.#confirmed = lsn;
    this.#report();
  }

  /** The server asked whether we are there. */
  answer(): void {
    this.#report();
  }

  /** What `more` throws from now on, also while it is waiting. */
  fail(error: unknown): void {
    this.#error ??= error;
    clearInterval(this.#timer);
    this.#wake?.();
  }

  close(): void {
    this.fail(new MillraceError("aborted", "the stream is closed"));
    this.#session.client.connection.stream.destroy();
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
    this.fail(error);
  }

  handleCommandComplete(): void {
    this.fail(new MillraceError("unreachable", "the server has ended the stream", { temporary: true }));
  }

  handleReadyForQuery(): void {
    this.fail(new MillraceError("unreachable", "the server has ended the stream", { temporary: true }));
  }

  #resume(): void {
    if (!this.#paused || this.#waitingBytes >= maximumWaiting / 2) return;
    this.#paused = false;
    this.#socket?.resume();
  }

  #receive(chunk: Buffer): void {
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (!this.#paused && this.#waitingBytes >= maximumWaiting) {
      this.#paused = true;
      this.#socket?.pause();
    }
    this.#wake?.();
  }

  /** Gives the socket back to `pg`, with what is not ours. */
  #detach(rest: Buffer): void {
    if (this.#socket === undefined || this.#ordinary === undefined) return;
    const ordinary = this.#ordinary;
    this.#ordinary = undefined;
    this.#socket.removeListener("data", this.#listener);
    this.#socket.on("data", ordinary);
    this.#paused = false;
    this.#socket.resume();
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    ordinary(Buffer.concat([rest, ...waiting]));
  }

  /**
   *     Standby status update  r, written (8), flushed (8), applied (8), moment (8), wants an answer (1)
   *
   * Zero confirms nothing.
   */
  #report(): void {
    if (this.#error !== undefined || this.#ordinary === undefined) return;
    const message = Buffer.alloc(39);
    message[0] = code.copyData;
    message.writeInt32BE(38, 1);
    message[5] = 0x72;
    for (const offset of [6, 14, 22]) message.writeBigUInt64BE(this.#confirmed, offset);
    message.writeBigInt64BE(BigInt(Date.now() - serverEpochMs) * 1000n, 30);
    this.#socket?.write(message);
  }
}

import { MillraceError } from "../../core/index.ts";
import { broken, CsvWriter } from "./csv.ts";
import type { CellForm } from "./types.ts";

/** What we use of a mysql2 connection beyond its typings: while a result is read, its bytes come to us and not to its parser. */
export interface Wire {
  stream: { pause(): unknown; resume(): unknown; destroy(): unknown };
  packetParser: { execute(chunk: Buffer): void };
  addCommand(command: { execute(): boolean; onResult(error: Error): void }): void;
  handlePacket(): void;
  write(bytes: Buffer): void;
}

/** The server's own error, in the shape that mysql2 gives it. */
export class ServerError extends Error {
  readonly errno: number;
  constructor(errno: number, message: string) {
    super(message);
    this.errno = errno;
  }
}

/** Chunks that may wait for the consumer before the socket is paused. */
const maximumWaiting = 4;
const largestPacket = 0xffffff;

/**
 * One result of the text protocol, as CSV (see `CsvWriter`).
 *
 *     COM_QUERY            03 statement
 *     result               field count, field definitions, EOF, rows, EOF    or    ERR
 *     packet               length (3 bytes, little endian), sequence number, payload; 16 MB and more go on in the next packet
 *     row                  one length-encoded string a column; fb is null
 *     EOF                  fe and less than 9 bytes; ERR: ff, code (2), # and SQL state (6), message
 *
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html
 */
export class CsvResult {
  /** Packets of the server so far: a sign of life. */
  packets = 0;
  /** The server has said all that it has to say about this statement. */
  ended = false;
  readonly #wire: Wire;
  readonly #ordinaryParser: Wire["packetParser"];
  readonly #writer: CsvWriter;
  readonly #done: Promise<void>;
  #resolveDone: () => void = () => undefined;
  #error: Error | undefined;
  #discards = false;
  #paused = false;
  #waiting: Buffer[] = [];
  #wake: (() => void) | undefined;
  #state: "header" | "fields" | "rows" = "header";
  #sequence = 1;
  #pieces: Buffer[] = [];
  #piecesLength = 0;
  #wanted = 4;
  #large: Buffer[] = [];

  /** Sends the statement. `forms` has one entry for each column of the result. */
  constructor(wire: Wire, sql: string, forms: readonly CellForm[]) {
    this.#wire = wire;
    this.#ordinaryParser = wire.packetParser;
    this.#writer = new CsvWriter(forms, (chunk) => {
      this.#waiting.push(chunk);
      this.#wake?.();
    });
    this.#done = new Promise((resolve) => (this.#resolveDone = resolve));
    let started = false;
    wire.addCommand({
      execute: () => {
        if (started) return true;
        started = true;
        wire.packetParser = { execute: (chunk) => this.#receive(chunk) };
        wire.write(commandPacket(sql));
        return false;
      },
      onResult: (error) => this.lose(error),
    });
  }

  /** Rows of the result so far. */
  get rows(): number {
    return this.#writer.rows;
  }

  /** The next chunk, which ends with a whole row; undefined once the server has confirmed the end of the result. */
  async next(): Promise<Buffer | undefined> {
    while (this.#waiting.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      if (this.ended) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const chunk = this.#waiting.shift();
    if (this.#paused && this.#waiting.length < maximumWaiting / 2) this.#resume();
    return chunk;
  }

  /** From now on rows are thrown away; resolves when the server has ended the statement, or the connection is lost. */
  async discard(): Promise<void> {
    this.#discards = true;
    this.#waiting = [];
    this.#resume();
    await this.#done;
  }

  /** What `next` is to throw from now on, also when it is waiting. */
  fail(error: Error): void {
    this.#error ??= error;
    this.#waiting = [];
    this.#wake?.();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#wire.stream.resume();
  }

  /** The connection is gone: nothing more will come. */
  lose(error: Error): void {
    this.#error ??= error;
    this.#finish();
  }

  #finish(): void {
    if (this.ended) return;
    this.ended = true;
    this.#wire.packetParser = this.#ordinaryParser;
    if (this.#error === undefined) this.#writer.end();
    this.#resolveDone();
    this.#wake?.();
  }

  #receive(chunk: Buffer): void {
    try {
      this.#parse(chunk);
    } catch (error) {
      this.lose(error as Error);
      this.#wire.stream.destroy();
    }
  }

  #parse(chunk: Buffer): void {
    let data = chunk;
    if (this.#piecesLength > 0) {
      this.#pieces.push(chunk);
      this.#piecesLength += chunk.length;
      if (this.#piecesLength < this.#wanted) return;
      data = Buffer.concat(this.#pieces, this.#piecesLength);
      this.#pieces = [];
      this.#piecesLength = 0;
    }
    let position = 0;
    const end = data.length;
    for (;;) {
      this.#wanted = 4;
      if (end - position < 4) break;
      const length = data[position]! | (data[position + 1]! << 8) | (data[position + 2]! << 16);
      if (end - position < 4 + length) {
        this.#wanted = 4 + length;
        break;
      }
      if (data[position + 3] !== this.#sequence) throw broken("a packet is missing");
      this.#sequence = (this.#sequence + 1) & 0xff;
      this.packets++;
      position += 4;
      if (length === largestPacket || this.#large.length > 0) {
        this.#large.push(data.subarray(position, position + length));
        if (length < largestPacket) {
          const whole = Buffer.concat(this.#large);
          this.#large = [];
          this.#packet(whole, 0, whole.length);
        }
      } else {
        this.#packet(data, position, position + length);
      }
      position += length;
      if (this.ended) return;
    }
    if (position < end) {
      this.#pieces = [data.subarray(position)];
      this.#piecesLength = end - position;
    }
    if (!this.#paused && !this.#discards && this.#waiting.length >= maximumWaiting) {
      this.#paused = true;
      this.#wire.stream.pause();
    }
  }

  #packet(data: Buffer, start: number, end: number): void {
    const first = data[start]!;
    if (this.#state === "rows" && first !== 0xff && (first !== 0xfe || end - start >= 9)) {
      if (!this.#discards) this.#writer.row(data, start, end);
      return;
    }
    if (first === 0xff) {
      const sqlState = data[start + 3] === 0x23 ? 6 : 0;
      this.#error ??= new ServerError(data.readUInt16LE(start + 1), data.toString("utf8", start + 3 + sqlState, end));
      return this.#release();
    }
    if (this.#state === "header") {
      const columns = first < 0xfb ? first : first === 0xfc ? data.readUInt16LE(start + 1) : -1;
      if (columns !== this.#writer.columns) throw broken(`${columns} columns arrived and not ${this.#writer.columns}`);
      this.#state = "fields";
    } else if (first === 0xfe && end - start < 9) {
      if (this.#state === "fields") this.#state = "rows";
      else this.#release();
    }
  }

  /** The statement is over and the connection free for the next one. */
  #release(): void {
    this.#finish();
    this.#wire.handlePacket();
  }
}

function commandPacket(sql: string): Buffer {
  const length = Buffer.byteLength(sql) + 1;
  if (length >= largestPacket) {
    throw new MillraceError("limit", `the statement has ${length} bytes; the protocol takes ${largestPacket} at once`);
  }
  const packet = Buffer.allocUnsafe(4 + length);
  packet.writeUIntLE(length, 0, 3);
  packet[3] = 0;
  packet[4] = 0x03;
  packet.write(sql, 5);
  return packet;
}

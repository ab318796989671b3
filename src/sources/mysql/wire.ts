import { MillraceError } from "../../core/index.ts";
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

/** Chunks handed over are about this long. */
const chunkBytes = 256 * 1024;
/** Chunks that may wait for the consumer before the socket is paused. */
const maximumWaiting = 4;
/** A longer value is searched and copied natively instead of byte by byte. */
const nativeFrom = 192;
const largestPacket = 0xffffff;
const comma = 0x2c;
const quote = 0x22;
const newline = 0x0a;

const formCodes: Record<CellForm, number> = { plain: 0, text: 1, utc: 2, hex: 3, geometry: 4 };
const hexDigits = Buffer.from("0123456789abcdef");

/**
 * One result of the text protocol as CSV without header: null is an empty cell, text is always quoted, bytes are hexadecimal.
 *
 * The bytes of the socket become the bytes of the CSV in one pass; no value and no row is ever a JavaScript object.
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
  /** Rows transcoded so far. */
  rows = 0;
  /** The server has said all that it has to say about this statement. */
  ended = false;
  readonly #wire: Wire;
  readonly #ordinaryParser: Wire["packetParser"];
  readonly #forms: Uint8Array;
  readonly #done: Promise<void>;
  #resolveDone: () => void = () => undefined;
  #error: Error | undefined;
  #discards = false;
  #paused = false;
  #waiting: Buffer[] = [];
  #wake: (() => void) | undefined;
  #output: Buffer = Buffer.allocUnsafe(chunkBytes);
  #position = 0;
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
    this.#forms = Uint8Array.from(forms, (form) => formCodes[form]);
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
      onResult: (error) => this.#lost(error),
    });
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

  #lost(error: Error): void {
    this.#error ??= error;
    this.#finish();
  }

  #finish(): void {
    if (this.ended) return;
    this.ended = true;
    this.#wire.packetParser = this.#ordinaryParser;
    if (this.#error === undefined) this.#flush(0);
    this.#resolveDone();
    this.#wake?.();
  }

  #receive(chunk: Buffer): void {
    try {
      this.#parse(chunk);
    } catch (error) {
      this.#lost(error as Error);
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
      if (!this.#discards) this.#row(data, start, end);
      return;
    }
    if (first === 0xff) {
      const sqlState = data[start + 3] === 0x23 ? 6 : 0;
      this.#error ??= new ServerError(data.readUInt16LE(start + 1), data.toString("utf8", start + 3 + sqlState, end));
      return this.#release();
    }
    if (this.#state === "header") {
      const columns = first < 0xfb ? first : first === 0xfc ? data.readUInt16LE(start + 1) : -1;
      if (columns !== this.#forms.length) throw broken(`${columns} columns arrived and not ${this.#forms.length}`);
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

  #flush(room: number): void {
    if (this.#position > 0) {
      this.#waiting.push(this.#output.subarray(0, this.#position));
      this.#position = 0;
      this.#wake?.();
    }
    this.#output = room === 0 ? Buffer.alloc(0) : Buffer.allocUnsafe(Math.max(chunkBytes, room));
  }

  #row(data: Buffer, start: number, end: number): void {
    const forms = this.#forms;
    // Quotes and hexadecimal double a value at most; a comma and two quotes or `+00` come to each column.
    const room = 2 * (end - start) + 4 * forms.length + 1;
    if (this.#position + room > this.#output.length) this.#flush(room);
    const output = this.#output;
    let to = this.#position;
    let from = start;
    for (let column = 0; column < forms.length; column++) {
      if (column > 0) output[to++] = comma;
      let length = data[from++]!;
      if (length === 0xfb) continue;
      if (length > 0xfb) {
        if (length === 0xfc) {
          length = data[from]! | (data[from + 1]! << 8);
          from += 2;
        } else if (length === 0xfd) {
          length = data[from]! | (data[from + 1]! << 8) | (data[from + 2]! << 16);
          from += 3;
        } else {
          length = Number(data.readBigUInt64LE(from));
          from += 8;
        }
      }
      const stop = from + length;
      if (stop > end) throw broken("a value is longer than its row");
      switch (forms[column]) {
        case 1:
          to = writeText(data, from, stop, output, to);
          break;
        case 3:
          to = writeHex(data, from, stop, output, to);
          break;
        case 4:
          to = writeHex(data, Math.min(from + 4, stop), stop, output, to);
          break;
        default:
          for (let index = from; index < stop; index++) output[to++] = data[index]!;
          if (forms[column] === 2) {
            output[to++] = 0x2b;
            output[to++] = 0x30;
            output[to++] = 0x30;
          }
      }
      from = stop;
    }
    if (from !== end) throw broken("a row is longer than its values");
    output[to++] = newline;
    this.#position = to;
    this.rows++;
  }
}

function writeText(data: Buffer, from: number, stop: number, output: Buffer, to: number): number {
  output[to++] = quote;
  if (stop - from >= nativeFrom) {
    const value = data.subarray(from, stop);
    let copied = 0;
    for (let found = value.indexOf(quote); found !== -1; found = value.indexOf(quote, found + 1)) {
      to += value.copy(output, to, copied, found + 1);
      output[to++] = quote;
      copied = found + 1;
    }
    to += value.copy(output, to, copied);
  } else {
    for (; from < stop; from++) {
      const byte = data[from]!;
      if (byte === quote) output[to++] = quote;
      output[to++] = byte;
    }
  }
  output[to++] = quote;
  return to;
}

function writeHex(data: Buffer, from: number, stop: number, output: Buffer, to: number): number {
  // The empty value is not null.
  if (from === stop) {
    output[to++] = quote;
    output[to++] = quote;
    return to;
  }
  for (; from < stop; from++) {
    const byte = data[from]!;
    output[to++] = hexDigits[byte >> 4]!;
    output[to++] = hexDigits[byte & 15]!;
  }
  return to;
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

function broken(what: string): MillraceError {
  return new MillraceError("unreachable", `the server's answer is not what the protocol says: ${what}`, {
    temporary: true,
  });
}

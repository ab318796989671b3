import { MillraceError } from "../core/index.ts";

/** What a client may send in one command. */
export interface CommandLimits {
  /** Words of a command, its name with them. */
  words: number;
  /** Bytes of a command. */
  bytes: number;
}

export interface Command {
  /** Name and arguments: views of what was received. */
  words: Buffer[];
  /** Where the next command begins. */
  end: number;
}

const [star, dollar, carriageReturn, lineFeed, zero] = [0x2a, 0x24, 0x0d, 0x0a, 0x30];

/**
 * Reads the command that begins at `start`: an array of bulk strings, as every Redis client sends it. undefined: it has not arrived whole.
 * Throws `corrupt` for anything else, and `limit`; the connection is of no use after either.
 * Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
 */
export function readCommand(bytes: Buffer, start: number, limits: CommandLimits): Command | undefined {
  const count = readNumber(bytes, start, star, limits.words, "words");
  if (count === undefined) return undefined;
  let at = count.end;
  const words: Buffer[] = [];
  for (let word = 0; word < count.value; word++) {
    const length = readNumber(bytes, at, dollar, limits.bytes, "bytes");
    if (length === undefined) return undefined;
    const end = length.end + length.value;
    if (end + 2 - start > limits.bytes) throw tooLong(limits.bytes, "bytes");
    if (bytes.length < end + 2) return undefined;
    if (bytes[end] !== carriageReturn || bytes[end + 1] !== lineFeed) throw noCommand();
    words.push(bytes.subarray(length.end, end));
    at = end + 2;
  }
  return { words, end: at };
}

/** `*3\r\n` or `$5\r\n`: no sign, at most seven digits. */
function readNumber(
  bytes: Buffer,
  start: number,
  mark: number,
  maximum: number,
  unit: string,
): { value: number; end: number } | undefined {
  if (start >= bytes.length) return undefined;
  if (bytes[start] !== mark) throw noCommand();
  let value = 0;
  for (let at = start + 1; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte === carriageReturn && at > start + 1) {
      if (at + 1 === bytes.length) return undefined;
      if (bytes[at + 1] !== lineFeed) throw noCommand();
      if (value > maximum) throw tooLong(maximum, unit);
      return { value, end: at + 2 };
    }
    if (byte < zero || byte > zero + 9 || at > start + 7) throw noCommand();
    value = value * 10 + byte - zero;
  }
  return undefined;
}

const noCommand = (): MillraceError =>
  new MillraceError("corrupt", "Protocol error: a command is an array of bulk strings");

const tooLong = (maximum: number, unit: string): MillraceError =>
  new MillraceError("limit", `Protocol error: a command has at most ${maximum} ${unit}`);

/** Replies to one client, in the order of its commands, until they are sent. */
export class Replies {
  /** 3 when the client asked for it: there nulls and maps have types of their own. */
  protocol: 2 | 3 = 2;
  #bytes = Buffer.allocUnsafe(4096);
  #used = 0;

  get length(): number {
    return this.#used;
  }

  simple(text: string): void {
    this.#line(`+${text}`);
  }

  /** A message is one line. */
  error(code: string, message: string): void {
    this.#line(`-${code} ${message.replaceAll(/\s+/g, " ")}`);
  }

  integer(value: number): void {
    this.#line(`:${value}`);
  }

  nil(): void {
    this.#line(this.protocol === 3 ? "_" : "$-1");
  }

  array(length: number): void {
    this.#line(`*${length}`);
  }

  /** A name and a value follow for each entry. */
  map(entries: number): void {
    this.#line(this.protocol === 3 ? `%${entries}` : `*${entries * 2}`);
  }

  text(value: string): void {
    const length = Buffer.byteLength(value);
    this.#line(`$${length}`);
    this.#reserve(length + 2);
    this.#used += this.#bytes.write(value, this.#used, "utf8");
    this.#line("");
  }

  /** Bytes from `start` to `end` of `from`. */
  blob(from: Buffer, start: number, end: number): void {
    this.#line(`$${end - start}`);
    this.#reserve(end - start + 2);
    this.#used += from.copy(this.#bytes, this.#used, start, end);
    this.#line("");
  }

  /** What is to be sent; nothing is kept of it. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#used);
    this.#bytes = Buffer.allocUnsafe(4096);
    this.#used = 0;
    return taken;
  }

  #line(text: string): void {
    this.#reserve(text.length * 3 + 2);
    this.#used += this.#bytes.write(`${text}\r\n`, this.#used, "utf8");
  }

  #reserve(bytes: number): void {
    if (this.#used + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#used + bytes));
    this.#bytes.copy(larger, 0, 0, this.#used);
    this.#bytes = larger;
  }
}

import { MillraceError } from "../../core/index.ts";
import type { CellForm } from "./types.ts";

/** Chunks handed over are about this long. */
const chunkBytes = 256 * 1024;
/** A longer value is searched and copied natively instead of byte by byte. */
const nativeFrom = 192;
const comma = 0x2c;
const quote = 0x22;
const newline = 0x0a;

const formCodes: Record<CellForm, number> = { plain: 0, text: 1, utc: 2, hex: 3, geometry: 4 };
const hexDigits = Buffer.from("0123456789abcdef");

/**
 * Rows of the text protocol as CSV without header: null is an empty cell, text is always quoted, bytes are hexadecimal.
 * The bytes of a row become the bytes of its line in one pass; no value and no row is ever a JavaScript object.
 */
export class CsvWriter {
  /** Rows written so far. */
  rows = 0;
  readonly columns: number;
  readonly #forms: Uint8Array;
  readonly #onChunk: (chunk: Buffer) => void;
  #output: Buffer = Buffer.allocUnsafe(chunkBytes);
  #position = 0;

  /** `onChunk` is given chunks that end with a whole row. */
  constructor(forms: readonly CellForm[], onChunk: (chunk: Buffer) => void) {
    this.columns = forms.length;
    this.#forms = Uint8Array.from(forms, (form) => formCodes[form]);
    this.#onChunk = onChunk;
  }

  /** Hands over what is left. */
  end(): void {
    this.#flush(0);
  }

  #flush(room: number): void {
    if (this.#position > 0) {
      const chunk = this.#output.subarray(0, this.#position);
      this.#position = 0;
      this.#onChunk(chunk);
    }
    this.#output = room === 0 ? Buffer.alloc(0) : Buffer.allocUnsafe(Math.max(chunkBytes, room));
  }

  /** One row: the payload of its packet lies from `start` to `end`. Throws when its lengths do not add up. */
  row(data: Buffer, start: number, end: number): void {
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

/** The bytes are not what the protocol says; after that the connection is of no use. */
export function broken(what: string): MillraceError {
  return new MillraceError("unreachable", `the server's answer is not what the protocol says: ${what}`, {
    temporary: true,
  });
}

const quote = 0x22;
const comma = 0x2c;
/** Values up to this many bytes are copied one by one, which is faster than a call. */
const shortValue = 256;

/** Where a value was left open, to be asked of the server. */
export interface OpenCell {
  /** Position in the buffer, where the cell belongs. */
  at: number;
  column: number;
  text: string;
}

/** Rows of CSV in one growing buffer. Null is an empty cell; whatever has a text is quoted. */
export class CsvRows {
  #buffer: Buffer = Buffer.allocUnsafe(1 << 18);
  #length = 0;
  open: OpenCell[] = [];

  get length(): number {
    return this.#length;
  }

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + bytes));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }

  comma(): void {
    this.#room(1);
    this.#buffer[this.#length++] = comma;
  }

  /** Text that needs no quotes. */
  plain(text: string): void {
    this.#room(text.length);
    this.#length += this.#buffer.write(text, this.#length, "latin1");
  }

  /** A cell whose text comes later. */
  later(column: number, text: string): void {
    this.open.push({ at: this.#length, column, text });
  }

  /** The bytes of a value as a cell. */
  cell(source: Buffer, start: number, end: number): void {
    this.#room(2 * (end - start) + 2);
    const buffer = this.#buffer;
    let to = this.#length;
    buffer[to++] = quote;
    if (end - start <= shortValue) {
      for (let from = start; from < end; from++) {
        const byte = source[from]!;
        buffer[to++] = byte;
        if (byte === quote) buffer[to++] = quote;
      }
    } else {
      const value = source.subarray(start, end);
      let from = 0;
      for (;;) {
        const found = value.indexOf(quote, from);
        if (found < 0) break;
        to += value.copy(buffer, to, from, found + 1);
        buffer[to++] = quote;
        from = found + 1;
      }
      to += value.copy(buffer, to, from);
    }
    buffer[to++] = quote;
    this.#length = to;
  }

  /** What has been written; the next rows go elsewhere. `texts`: of the open cells, in their order; null is an empty cell. */
  take(texts: readonly (string | null)[] = []): Buffer {
    const whole = this.#buffer.subarray(0, this.#length);
    const { open } = this;
    this.#buffer = Buffer.allocUnsafe(1 << 18);
    this.#length = 0;
    this.open = [];
    if (open.length === 0) return whole;
    const parts: Buffer[] = [];
    let from = 0;
    for (const [index, { at }] of open.entries()) {
      parts.push(whole.subarray(from, at));
      const text = texts[index] ?? null;
      if (text !== null) parts.push(Buffer.from(`"${text.replaceAll('"', '""')}"`));
      from = at;
    }
    parts.push(whole.subarray(from));
    return Buffer.concat(parts);
  }
}

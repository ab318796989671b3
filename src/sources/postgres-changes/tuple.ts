/** The kinds of a value in a row of the log. */
const [kindNull, kindUnchanged] = [0x6e, 0x75];

/** Where the values of one row are in a message: by the position of the column in the log's row. Used again for every row. */
export class Tuple {
  buffer: Buffer = Buffer.alloc(0);
  columns = 0;
  starts = new Int32Array(64);
  /** Negative: there is no value, see `isNull` and `isUnchanged`. */
  ends = new Int32Array(64);

  /**
   *     columns (2), for each: kind (n null, u unchanged and not sent, t text), length (4), bytes
   *
   * Returns where the row ends.
   */
  read(buffer: Buffer, at: number): number {
    this.buffer = buffer;
    this.columns = buffer.readInt16BE(at);
    if (this.columns > this.starts.length) {
      this.starts = new Int32Array(this.columns * 2);
      this.ends = new Int32Array(this.columns * 2);
    }
    at += 2;
    for (let column = 0; column < this.columns; column++) {
      const kind = buffer[at++]!;
      if (kind === kindNull || kind === kindUnchanged) {
        this.starts[column] = 0;
        this.ends[column] = kind === kindNull ? -1 : -2;
        continue;
      }
      const length = buffer.readInt32BE(at);
      this.starts[column] = at + 4;
      at += 4 + length;
      this.ends[column] = at;
    }
    return at;
  }

  isNull(column: number): boolean {
    return this.ends[column] === -1;
  }

  /** Stored outside of the row and not changed: the log does not have it. */
  isUnchanged(column: number): boolean {
    return this.ends[column] === -2;
  }

  /** Whether a value is the same in both; one that was not sent is. */
  same(column: number, other: Tuple): boolean {
    if (this.isUnchanged(column) || other.isUnchanged(column)) return true;
    if (this.isNull(column) || other.isNull(column)) return this.isNull(column) && other.isNull(column);
    const [start, end] = [this.starts[column]!, this.ends[column]!];
    return this.buffer.compare(other.buffer, other.starts[column]!, other.ends[column]!, start, end) === 0;
  }
}

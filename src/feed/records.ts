import { crc32 } from "node:zlib";
import { MillraceError, type ColumnBatch, type ColumnData } from "../core/index.ts";
import { padded, type LaidColumn, type Layout } from "./layout.ts";

/** What was seen while records were written: what a batch need not look for. */
export interface SeenColumn {
  nulls: boolean;
  /** Lists: the length that all have, undefined before the first, null when they differ. */
  listLength?: number | null;
}

/** Batches of columns → records. `take` hands over what was written and begins anew. */
export class RecordWriter {
  readonly seen: SeenColumn[];
  readonly #layout: Layout;
  #bytes = Buffer.alloc(1 << 20);
  #used = 0;
  #offsets: number[] = [];
  #flushed = 0;

  constructor(layout: Layout) {
    this.#layout = layout;
    this.seen = layout.columns.map(() => ({ nulls: false }));
  }

  get pending(): number {
    return this.#used;
  }

  /** Throws `unsupported` for nulls inside of lists, naming the column. */
  write(batch: ColumnBatch): void {
    const { columns, fixedBytes } = this.#layout;
    for (let row = 0; row < batch.rows; row++) {
      this.#reserve(fixedBytes);
      const start = this.#used;
      this.#bytes.fill(0, start, start + fixedBytes);
      let end = start + fixedBytes;
      for (const [index, laid] of columns.entries()) {
        const data = batch.columns[index]!;
        if (!isPresent(data, row)) {
          this.seen[index]!.nulls = true;
          continue;
        }
        this.#bytes[start + 8 + (index >> 3)]! |= 1 << (index & 7);
        const { slot } = laid;
        if (slot.kind === "value") this.#value(start + slot.at, slot.width, data.values[row]!, laid);
        else {
          const bytes =
            slot.kind === "list" ? this.#elements(data, row, index, laid) : (data.values[row] as Uint8Array);
          this.#reserve(end - start + bytes.byteLength + 8);
          this.#bytes.writeUInt32LE(end - start, start + slot.at);
          this.#bytes.writeUInt32LE(bytes.byteLength, start + slot.at + 4);
          this.#bytes.set(bytes, end);
          end += bytes.byteLength;
        }
      }
      const length = padded(end - start);
      this.#bytes.fill(0, end, start + length);
      this.#bytes.writeUInt32LE(length, start);
      this.#bytes.writeUInt32LE(crc32(this.#bytes.subarray(start + 8, start + length)), start + 4);
      this.#offsets.push(this.#flushed + start);
      this.#used = start + length;
    }
  }

  /** The bytes are good until the next `write`. */
  take(): { bytes: Uint8Array; offsets: number[] } {
    const taken = { bytes: this.#bytes.subarray(0, this.#used), offsets: this.#offsets };
    this.#flushed += this.#used;
    this.#used = 0;
    this.#offsets = [];
    return taken;
  }

  #reserve(bytes: number): void {
    if (this.#used + bytes + 8 <= this.#bytes.length) return;
    const larger = Buffer.alloc(Math.max(this.#bytes.length * 2, this.#used + bytes + 8));
    this.#bytes.copy(larger, 0, 0, this.#bytes.length);
    this.#bytes = larger;
  }

  #value(at: number, width: number, value: unknown, { type }: LaidColumn): void {
    if (width === 16) {
      const unscaled = BigInt(value as string);
      this.#bytes.writeBigUInt64LE(BigInt.asUintN(64, unscaled), at);
      this.#bytes.writeBigInt64LE(unscaled >> 64n, at + 8);
    } else if (width === 8) {
      if (type === "double") this.#bytes.writeDoubleLE(value as number, at);
      else this.#bytes.writeBigInt64LE(value as bigint, at);
    } else if (width === 4) {
      if (type === "float") this.#bytes.writeFloatLE(value as number, at);
      else this.#bytes.writeInt32LE(value as number, at);
    } else this.#bytes[at] = value === true ? 1 : 0;
  }

  #elements(data: ColumnData, row: number, index: number, { column }: LaidColumn): Uint8Array {
    const { starts, lengths, elements } = data.list!;
    const start = starts[row]!;
    const length = lengths[row]!;
    const { values, validity } = elements;
    if (validity?.subarray(start, start + length).includes(0)) {
      throw new MillraceError("unsupported", `a list in \`${column.name}\` holds a null, which no tensor can`, {
        where: { column: column.name },
        hint: `leave the column out with \`columns\`, or replace the nulls in the flow's transform: list_transform(${column.name}, lambda x: coalesce(x, 0))`,
      });
    }
    const seen = this.seen[index]!;
    if (seen.listLength === undefined) seen.listLength = length;
    else if (seen.listLength !== length) seen.listLength = null;
    const view = values as Float64Array;
    return new Uint8Array(
      view.buffer,
      view.byteOffset + start * view.BYTES_PER_ELEMENT,
      length * view.BYTES_PER_ELEMENT,
    );
  }
}

function isPresent({ values, validity }: ColumnData, row: number): boolean {
  return validity === undefined ? values[row] !== null : validity[row] === 1;
}

/** Throws `corrupt` when a record is not what was written. `at`: where it begins in `bytes`; `length`: how many bytes there are. */
export function checkRecord(bytes: Uint8Array, at: number, length: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, 8);
  if (view.getUint32(0, true) !== length || crc32(bytes.subarray(at + 8, at + length)) !== view.getUint32(4, true)) {
    throw new MillraceError("corrupt", "a record in the cache of the feed is damaged");
  }
}

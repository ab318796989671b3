import { readSync } from "node:fs";
import { MillraceError } from "../core/index.ts";
import { checkRecord } from "./records.ts";

/** Records that lie nearer than this are read together. */
const gapBytes = 4096;
const readBytes = 1 << 20;

/** Reads the rows of a batch in the order in which they lie, neighbours at once; every record is checked. */
export class WindowReader {
  readonly #descriptor: number;
  readonly #offsets: Float64Array;
  readonly #end: number;
  #arena = new Uint8Array(1 << 20);

  constructor(descriptor: number, offsets: Float64Array, end: number) {
    this.#descriptor = descriptor;
    this.#offsets = offsets;
    this.#end = end;
  }

  gather(rows: Float64Array): { arena: Uint8Array; bases: Float64Array } {
    const sorted = Uint32Array.from(rows.keys()).sort((left, right) => rows[left]! - rows[right]!);
    const bases = new Float64Array(rows.length);
    let used = 0;
    for (let first = 0; first < sorted.length;) {
      const start = this.#offsets[rows[sorted[first]!]!]!;
      let end = this.#endOf(rows[sorted[first]!]!);
      let next = first + 1;
      for (; next < sorted.length; next++) {
        const row = rows[sorted[next]!]!;
        if (this.#offsets[row]! - end > gapBytes || this.#endOf(row) - start > readBytes) break;
        end = Math.max(end, this.#endOf(row));
      }
      this.#reserve(used, end - start);
      this.#read(used, start, end - start);
      for (let at = first; at < next; at++) {
        const row = rows[sorted[at]!]!;
        const base = used + this.#offsets[row]! - start;
        checkRecord(this.#arena, base, this.#endOf(row) - this.#offsets[row]!);
        bases[sorted[at]!] = base;
      }
      used += end - start;
      first = next;
    }
    return { arena: this.#arena, bases };
  }

  #endOf(row: number): number {
    return row + 1 < this.#offsets.length ? this.#offsets[row + 1]! : this.#end;
  }

  #reserve(used: number, bytes: number): void {
    if (used + bytes <= this.#arena.length) return;
    const larger = new Uint8Array(Math.max(this.#arena.length * 2, used + bytes));
    larger.set(this.#arena.subarray(0, used));
    this.#arena = larger;
  }

  #read(into: number, position: number, length: number): void {
    for (let done = 0; done < length;) {
      const read = readSync(this.#descriptor, this.#arena, into + done, length - done, position + done);
      if (read === 0) throw new MillraceError("corrupt", "the cache of the feed ends early");
      done += read;
    }
  }
}

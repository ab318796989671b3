import { open, type FileHandle } from "node:fs/promises";
import { MillraceError } from "../../core/index.ts";

/** Offsets of the first byte and of that behind the last one. */
export type Range = [from: number, to: number];

/** Thrown when bytes are wanted of a file that is here in parts only; `missing` says which. */
export class MissingBytes extends Error {}

/**
 * The bytes of a file in the shape that the library asks for. With `present` only these ranges of it are on this machine, and what is
 * wanted besides is noted in `missing`.
 */
export class FileBytes {
  readonly size: number;
  readonly missing: Range[] = [];
  /** What is asked for must be there to its last byte. The library guesses the lengths of headers, which may reach behind the end. */
  strict = false;
  readonly #handle: FileHandle;
  readonly #present: readonly Range[] | undefined;

  private constructor(handle: FileHandle, size: number, present: readonly Range[] | undefined) {
    this.#handle = handle;
    this.size = size;
    this.#present = present;
  }

  static async open(path: string, present?: readonly Range[]): Promise<FileBytes> {
    const handle = await open(path, "r");
    const { size } = await handle.stat();
    return new FileBytes(handle, size, present);
  }

  get fileSize(): number {
    return this.size;
  }

  /** Whether all of it is on this machine; what is not is noted. */
  has([from, to]: Range): boolean {
    if (this.#present === undefined || from >= to) return true;
    if (this.#present.some((range) => range[0] <= from && to <= range[1])) return true;
    this.missing.push([from, to]);
    return false;
  }

  async fetch(slices: readonly { offset: number; length: number }[]): Promise<ArrayBuffer[]> {
    const all: ArrayBuffer[] = [];
    for (const slice of slices) all.push((await this.fetchSlice(slice)).data);
    return all;
  }

  async fetchSlice(slice: {
    offset: number;
    length: number;
  }): Promise<{ offset: number; length: number; data: ArrayBuffer }> {
    const { offset, length } = slice;
    const isSound = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
    const end = Math.min(offset + length, this.size);
    if (!isSound || offset > this.size || (this.strict && offset + length > this.size)) throw endsEarly();
    if (!this.has([offset, end])) throw new MissingBytes();
    const data = Buffer.from(new ArrayBuffer(end - offset));
    for (let done = 0; done < data.length;) {
      const { bytesRead } = await this.#handle.read(data, done, data.length - done, offset + done);
      if (bytesRead === 0) throw endsEarly();
      done += bytesRead;
    }
    return { offset, length: data.length, data: data.buffer };
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

export const endsEarly = (): MillraceError => new MillraceError("parse", "it ends before its pixels do");

import { createHash } from "node:crypto";
import { MillraceError, type Cursor, type CursorValue, type RandomAccess } from "../../core/index.ts";

/** What the cursor keeps of a file that was read. */
export interface Seen {
  size: number;
  /** Milliseconds since the epoch. */
  modified: number;
  etag: string;
  /** Bytes that were read, when a last incomplete line was held back. Default: all. */
  end?: number;
  /** What the store said of the object's content. */
  revision?: string;
}

const edgeBytes = 64 * 1024;
/** Beyond this many files the cursor, which is part of every snapshot, keeps hashes of the names only. */
const namedFiles = 10_000;

/**
 * The identity of the first `size` bytes of a file: SHA-256 of its first and of its last 64 KiB, 16 digits each. Small files are
 * covered whole; of large ones a change in the middle that keeps size and both edges is only seen by its time.
 */
export async function etagOf(bytes: RandomAccess, size: number): Promise<string> {
  const digest = async (start: number, end: number): Promise<string> =>
    createHash("sha256")
      .update(await bytes.read(start, end - start))
      .digest("hex")
      .slice(0, 16);
  const head = await digest(0, Math.min(size, edgeBytes));
  return size <= edgeBytes ? head : `${head}-${await digest(size - edgeBytes, size)}`;
}

/** The byte before an offset: whether what was read before ended with a whole line. */
export async function endsLine(bytes: RandomAccess, offset: number): Promise<boolean> {
  return offset === 0 || (await bytes.read(offset - 1, 1))[0] === 0x0a;
}

/** The offset behind the last line feed in a range, or its start when there is none. */
export async function lastLineEnd(bytes: RandomAccess, start: number, end: number): Promise<number> {
  const step = 1024 * 1024;
  for (let to = end; to > start; to -= step) {
    const from = Math.max(start, to - step);
    const at = (await bytes.read(from, to - from)).lastIndexOf(0x0a);
    if (at >= 0) return from + at + 1;
  }
  return start;
}

/** The position of the source: which files were read, and the columns that the first of them fixed. */
export class Position {
  readonly #files: Map<string, Seen>;
  #hashed: boolean;
  columns: CursorValue | undefined;

  constructor(cursor: Cursor | undefined) {
    if (cursor !== undefined && cursor.version !== 1) {
      throw new MillraceError(
        "unsupported",
        `the cursor of the files has version ${JSON.stringify(cursor.version)}; this build knows 1`,
        {
          hint: "use the version of Millrace that wrote it, or a newer one",
        },
      );
    }
    this.#hashed = cursor?.hashed === true;
    this.#files = new Map(
      Object.entries(
        (cursor?.files ?? {}) as { [name: string]: [number, number, string, (number | null)?, string?] },
      ).map(([name, [size, modified, etag, end, revision]]) => [
        name,
        { size, modified, etag, ...(typeof end === "number" && { end }), ...(revision !== undefined && { revision }) },
      ]),
    );
    this.columns = cursor?.columns;
  }

  get(name: string): Seen | undefined {
    return this.#files.get(this.#hashed ? hashName(name) : name);
  }

  set(name: string, seen: Seen): void {
    this.#files.set(this.#hashed ? hashName(name) : name, seen);
    if (!this.#hashed && this.#files.size > namedFiles) {
      const entries = [...this.#files];
      this.#files.clear();
      this.#hashed = true;
      for (const [each, value] of entries) this.#files.set(hashName(each), value);
    }
  }

  toCursor(): Cursor {
    // Without a prototype: a file may be called `__proto__`.
    const files = Object.create(null) as { [name: string]: CursorValue };
    for (const name of [...this.#files.keys()].sort()) {
      const { size, modified, etag, end, revision } = this.#files.get(name)!;
      const known: CursorValue[] = [size, modified, etag];
      if (end !== undefined || revision !== undefined) known.push(end ?? null);
      if (revision !== undefined) known.push(revision);
      files[name] = known;
    }
    return {
      version: 1,
      ...(this.#hashed ? { hashed: true } : {}),
      files,
      ...(this.columns === undefined ? {} : { columns: this.columns }),
    };
  }
}

function hashName(name: string): string {
  return createHash("sha256").update(name).digest("hex").slice(0, 20);
}

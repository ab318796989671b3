import { closeSync, openSync, readSync } from "node:fs";
import { crc32, inflateRawSync, zstdDecompressSync } from "node:zlib";
import { MillraceError } from "../../core/index.ts";
import { decodeBzip2 } from "../../sandbox/bzip2.ts";
import { decodeSnappy } from "../../sandbox/snappy.ts";

/** Avro object container files: https://avro.apache.org/docs/1.12.0/specification/#object-container-files */
export interface Container {
  /** JSON of the writer's schema. */
  schema: string;
  blocks(): Generator<{ count: number; bytes: Buffer }, void, undefined>;
}

/** A block that says it is larger is taken for damaged. */
const maximumBlock = 256 * 1024 * 1024;
/** Records may have no bytes at all, so the size of a block does not bound their number. */
const maximumRecords = 2 ** 31;
const maximumHeader = 16 * 1024 * 1024;

function damaged(what: string): MillraceError {
  return new MillraceError("parse", `damaged Avro file: ${what}`);
}

class Reader {
  readonly #file: number;
  #chunk: Buffer = Buffer.alloc(0);
  #position = 0;

  constructor(file: number) {
    this.#file = file;
  }

  atEnd(): boolean {
    return this.#chunk.length === this.#position && !this.#fill(1);
  }

  isLastLineFeed(): boolean {
    this.#fill(2);
    return this.#chunk.length - this.#position === 1 && this.#chunk[this.#position] === 0x0a;
  }

  #fill(wanted: number): boolean {
    const rest = this.#chunk.subarray(this.#position);
    const next = Buffer.allocUnsafe(rest.length + Math.max(256 * 1024, wanted - rest.length));
    rest.copy(next);
    let length = rest.length;
    while (length < wanted) {
      const read = readSync(this.#file, next, length, next.length - length, null);
      if (read === 0) break;
      length += read;
    }
    this.#chunk = next.subarray(0, length);
    this.#position = 0;
    return length >= wanted;
  }

  bytes(length: number): Buffer {
    if (this.#chunk.length - this.#position < length && !this.#fill(length)) throw damaged("it ends early");
    const bytes = this.#chunk.subarray(this.#position, this.#position + length);
    this.#position += length;
    return bytes;
  }

  long(): number {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      if (shift > 63n) throw damaged("a number longer than 64 bits");
      const byte = BigInt(this.bytes(1)[0]!);
      value |= (byte & 0x7fn) << shift;
      if (byte < 0x80n) break;
    }
    const signed = (value >> 1n) ^ -(value & 1n);
    if (signed > BigInt(Number.MAX_SAFE_INTEGER) || signed < -BigInt(Number.MAX_SAFE_INTEGER))
      throw damaged(`a length of ${signed}`);
    return Number(signed);
  }

  /** Bytes with their length before them. */
  counted(maximum: number): Buffer {
    const length = this.long();
    if (length < 0 || length > maximum) throw damaged(`a length of ${length}`);
    return this.bytes(length);
  }
}

export function openContainer(path: string): Container & { close(): void } {
  const file = openSync(path, "r");
  try {
    const reader = new Reader(file);
    if (reader.bytes(4).toString("latin1") !== "Obj\x01") throw damaged("it does not begin with `Obj` and 1");
    const metadata = new Map<string, Buffer>();
    for (let count = reader.long(); count !== 0; count = reader.long()) {
      // A negative count is followed by the number of bytes of the block.
      if (count < 0) {
        reader.long();
        count = -count;
      }
      for (let index = 0; index < count; index++) {
        const key = reader.counted(maximumHeader).toString("utf8");
        metadata.set(key, Buffer.from(reader.counted(maximumHeader)));
      }
    }
    const sync = Buffer.from(reader.bytes(16));
    const schema = metadata.get("avro.schema")?.toString("utf8");
    if (schema === undefined) throw damaged("it has no schema");
    const decode = decoderOf(metadata.get("avro.codec")?.toString("utf8") ?? "null");
    return {
      schema,
      close: () => closeSync(file),
      *blocks() {
        for (let number = 1; !reader.atEnd(); number++) {
          // Some files went through an editor that ended them with a line feed.
          if (reader.isLastLineFeed()) return;
          const count = reader.long();
          if (count < 0 || count > maximumRecords) throw damaged(`block ${number} has ${count} records`);
          const bytes = decode(reader.counted(maximumBlock));
          if (!reader.bytes(16).equals(sync)) throw damaged(`the mark after block ${number} is wrong`);
          yield { count, bytes };
        }
      },
    };
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

function decoderOf(codec: string): (bytes: Buffer) => Buffer {
  switch (codec) {
    case "null":
      return (bytes) => bytes;
    case "deflate":
      return (bytes) => inflateRawSync(bytes, { maxOutputLength: maximumBlock });
    case "zstandard":
      return (bytes) => zstdDecompressSync(bytes, { maxOutputLength: maximumBlock });
    case "snappy":
      return (bytes) => {
        if (bytes.length < 4) throw damaged("a snappy block without checksum");
        const unpacked = Buffer.from(decodeSnappy(bytes.subarray(0, -4), maximumBlock));
        if (crc32(unpacked) !== bytes.readUInt32BE(bytes.length - 4)) throw damaged("the checksum of a block differs");
        return unpacked;
      };
    case "bzip2":
      return (bytes) => {
        let given = false;
        const pieces: Uint8Array[] = [];
        let total = 0;
        for (const piece of decodeBzip2(() => (given ? undefined : ((given = true), bytes)))) {
          total += piece.length;
          if (total > maximumBlock)
            throw new MillraceError("limit", `a block unpacks to more than ${maximumBlock} bytes`);
          pieces.push(piece);
        }
        return Buffer.concat(pieces, total);
      };
    default:
      throw new MillraceError("unsupported", `the Avro codec \`${codec}\` cannot be read`, {
        hint: "write the file with null, deflate, snappy, zstandard or bzip2",
      });
  }
}

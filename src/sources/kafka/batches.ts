import { constants, gunzipSync, zstdDecompressSync } from "node:zlib";
import { crc32c } from "@platformatic/kafka";
import { isMillraceError, messageOf, MillraceError } from "../../core/index.ts";
import { decodeLz4Frame } from "../../sandbox/lz4.ts";
import { decodeSnappy } from "../../sandbox/snappy.ts";

/** Records of a batch come out at once; a batch that says it is larger is refused. */
const maximumUnpacked = 256 * 1024 ** 2;
const headerBytes = 61;
/** Length and what stands before it. */
const prefixBytes = 12;

/** A record batch of version 2 (https://kafka.apache.org/documentation/#recordbatch): its header, read; its records, still packed. */
export interface RecordBatch {
  bytes: Buffer;
  first: number;
  /** The last offset that it had before it was compacted. */
  last: number;
  records: number;
  producer: bigint;
  isControl: boolean;
  isTransactional: boolean;
  baseTimestamp: number;
  maxTimestamp: number;
  /** Each record has the time when the broker got the batch. */
  isLogAppendTime: boolean;
  compression: number;
}

/** Whole batches of an answer. Throws `unsupported` for formats before Kafka 0.11. */
export function batchesOf(records: Buffer): RecordBatch[] {
  const batches: RecordBatch[] = [];
  for (let at = 0; at + headerBytes <= records.length;) {
    const length = records.readInt32BE(at + 8);
    const version = records[at + 16];
    if (version !== 2) {
      throw new MillraceError("unsupported", `the records are of format ${version}, which is older than Kafka 0.11`, {
        hint: "set `message.format.version` of the topic, and let it be written anew",
      });
    }
    const end = at + prefixBytes + length;
    if (end > records.length) break;
    const attributes = records.readInt16BE(at + 21);
    const first = Number(records.readBigInt64BE(at));
    batches.push({
      bytes: records.subarray(at, end),
      first,
      last: first + records.readInt32BE(at + 23),
      records: records.readInt32BE(at + 57),
      producer: records.readBigInt64BE(at + 43),
      compression: attributes & 7,
      isLogAppendTime: (attributes & 8) !== 0,
      isTransactional: (attributes & 16) !== 0,
      isControl: (attributes & 32) !== 0,
      baseTimestamp: Number(records.readBigInt64BE(at + 27)),
      maxTimestamp: Number(records.readBigInt64BE(at + 35)),
    });
    at = end;
  }
  return batches;
}

/** Throws `corrupt` when the checksum of a batch is not that of its bytes. */
export function verifyBatch(batch: RecordBatch): void {
  if (crc32c(batch.bytes.subarray(21)) === batch.bytes.readUInt32BE(17)) return;
  throw new MillraceError(
    "corrupt",
    `the batch of records ${batch.first} to ${batch.last} is damaged: its checksum differs`,
  );
}

/** The records of a batch as bytes. Throws `corrupt`, `limit`, `unsupported`. */
export function unpack(batch: RecordBatch): Buffer {
  const packed = batch.bytes.subarray(headerBytes);
  try {
    switch (batch.compression) {
      case 0:
        return packed;
      case 1:
        return gunzipSync(packed, { maxOutputLength: maximumUnpacked });
      case 2:
        return asBuffer(unpackSnappy(packed));
      case 3:
        return asBuffer(decodeLz4Frame(packed, maximumUnpacked));
      case 4:
        return zstdDecompressSync(packed, {
          maxOutputLength: maximumUnpacked,
          params: { [constants.ZSTD_d_windowLogMax]: 27 },
        });
    }
  } catch (cause) {
    const limit =
      (isMillraceError(cause) && cause.code === "limit") ||
      (cause as { code?: string }).code === "ERR_BUFFER_TOO_LARGE";
    throw new MillraceError(
      limit ? "limit" : "corrupt",
      `the batch of records ${batch.first} to ${batch.last} cannot be unpacked: ${messageOf(cause)}`,
      { cause },
    );
  }
  throw new MillraceError(
    "unsupported",
    `records ${batch.first} to ${batch.last} are packed by an unknown method (${batch.compression})`,
  );
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const xerial = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]);

/** Blocks in the framing of snappy-java, which Java clients write, or one bare block. */
function unpackSnappy(packed: Buffer): Uint8Array {
  if (!packed.subarray(0, 8).equals(xerial)) return decodeSnappy(packed, maximumUnpacked);
  const blocks: Uint8Array[] = [];
  let left = maximumUnpacked;
  for (let at = 16; at < packed.length;) {
    const end = at + 4 + packed.readInt32BE(at);
    const block = decodeSnappy(packed.subarray(at + 4, end), left);
    left -= block.length;
    blocks.push(block);
    at = end;
  }
  return Buffer.concat(blocks);
}

/** Goes through the records of a batch without making anything of them: the fields are those of the record it stands at. */
export class RecordCursor {
  offset = 0;
  /** Milliseconds since the epoch, -1: none. */
  timestamp = -1;
  /** -1: the record has no key. */
  keyAt = -1;
  keyEnd = -1;
  /** -1: the record has no value (a tombstone). */
  valueAt = -1;
  valueEnd = -1;
  headers = 0;
  /** Where its headers begin. */
  headersAt = 0;
  readonly bytes: Buffer;
  readonly #batch: RecordBatch;
  #at = 0;
  #left: number;
  #next = 0;

  constructor(batch: RecordBatch, bytes: Buffer) {
    this.#batch = batch;
    this.bytes = bytes;
    this.#left = batch.records;
  }

  /** Stands at the next record, or tells that there is none. Throws `corrupt`. */
  next(): boolean {
    if (this.#left === 0) return false;
    this.#left--;
    this.#at = this.#next;
    const length = this.#varint();
    this.#next = this.#at + length;
    if (length < 0 || this.#next > this.bytes.length) throw this.#damaged();
    this.#at++;
    const batch = this.#batch;
    const delta = this.#varlong();
    this.timestamp = batch.isLogAppendTime ? batch.maxTimestamp : batch.baseTimestamp + delta;
    this.offset = batch.first + this.#varint();
    const keyLength = this.#varint();
    this.keyAt = keyLength < 0 ? -1 : this.#at;
    this.keyEnd = keyLength < 0 ? -1 : (this.#at += keyLength);
    const valueLength = this.#varint();
    this.valueAt = valueLength < 0 ? -1 : this.#at;
    this.valueEnd = valueLength < 0 ? -1 : (this.#at += valueLength);
    this.headers = this.#varint();
    this.headersAt = this.#at;
    if (this.#at > this.#next || this.headers < 0) throw this.#damaged();
    return true;
  }

  /** Keys and values of the record's headers, in their order. */
  readHeaders(): [key: Buffer, value: Buffer | null][] {
    this.#at = this.headersAt;
    const headers: [Buffer, Buffer | null][] = [];
    for (let index = 0; index < this.headers; index++) {
      const keyLength = this.#varint();
      const key = this.bytes.subarray(this.#at, (this.#at += keyLength));
      const length = this.#varint();
      headers.push([key, length < 0 ? null : this.bytes.subarray(this.#at, (this.#at += length))]);
      if (this.#at > this.#next) throw this.#damaged();
    }
    return headers;
  }

  #damaged(): MillraceError {
    const { first, last } = this.#batch;
    return new MillraceError("corrupt", `the batch of records ${first} to ${last} is not what its header says`);
  }

  #varint(): number {
    const { bytes } = this;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = bytes[this.#at++]!;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    }
    throw this.#damaged();
  }

  #varlong(): number {
    const { bytes } = this;
    let value = 0;
    for (let factor = 1; factor < 2 ** 70; factor *= 128) {
      const byte = bytes[this.#at++]!;
      value += (byte & 0x7f) * factor;
      // Zigzag: even numbers are positive.
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
    throw this.#damaged();
  }
}

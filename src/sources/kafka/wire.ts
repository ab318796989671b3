import { Writer, type Reader } from "@platformatic/kafka";

/** What is asked of one partition. */
export interface FetchWish {
  topic: string;
  /** As 32 hexadecimal digits with dashes; empty where brokers do not know ids of topics. */
  id: string;
  partition: number;
  offset: number;
  maximumBytes: number;
}

export interface FetchAnswer {
  /** The name or, from version 13 on, the id. */
  topic: string;
  partition: number;
  error: number;
  /** End of what is replicated, and of what has no open transaction before it. */
  highWatermark: number;
  lastStable: number;
  /** The first offset that is still there. */
  logStart: number;
  /** Producers whose transactions were aborted, and where those begin. */
  aborted: { producer: bigint; first: number }[];
  /** Record batches one after the other; the last one may be cut off. */
  records: Buffer;
}

export const fetchKey = 1;
/** From the first one on topics may be read that were made anew; the last one names them by id. */
export const fetchVersions = [11, 12, 13] as const;

/**
 * Fetch requests and answers of versions 11 to 13 (https://kafka.apache.org/protocol#The_Messages_Fetch). The library's own reader makes objects
 * of all records; here they stay bytes.
 */
export function fetchRequest(
  version: number,
  wishes: readonly FetchWish[],
  limits: { waitMs: number; minimumBytes: number; maximumBytes: number; committed: boolean },
): Writer {
  const compact = version >= 12;
  const topics = new Map<string, FetchWish[]>();
  for (const wish of wishes) {
    const name = version >= 13 ? wish.id : wish.topic;
    topics.set(name, [...(topics.get(name) ?? []), wish]);
  }
  const writer = Writer.create()
    .appendInt32(-1)
    .appendInt32(limits.waitMs)
    .appendInt32(limits.minimumBytes)
    .appendInt32(limits.maximumBytes)
    .appendInt8(limits.committed ? 1 : 0)
    // No session: each request names all that it wants.
    .appendInt32(0)
    .appendInt32(-1)
    .appendArray(
      [...topics],
      (topic, [name, own]) => {
        if (version >= 13) topic.appendUUID(name);
        else topic.appendString(name, compact);
        topic.appendArray(
          own,
          (partition, wish) => {
            partition.appendInt32(wish.partition).appendInt32(-1).appendInt64(BigInt(wish.offset));
            if (version >= 12) partition.appendInt32(-1);
            partition.appendInt64(-1n).appendInt32(wish.maximumBytes);
          },
          compact,
          compact,
        );
      },
      compact,
      compact,
    )
    .appendArray([], () => undefined, compact, compact)
    .appendString("", compact);
  if (compact) writer.appendTaggedFields();
  return writer;
}

export function fetchAnswer(
  _correlation: number,
  _key: number,
  version: number,
  reader: Reader,
): {
  error: number;
  partitions: FetchAnswer[];
} {
  // One piece: the answer has come in many.
  const at = new Place(reader.buffer.slice(reader.position));
  const compact = version >= 12;
  at.int32();
  const error = at.int16();
  at.int32();
  const partitions: FetchAnswer[] = [];
  for (let topics = at.count(compact); topics > 0; topics--) {
    const topic = version >= 13 ? at.uuid() : at.text(compact);
    for (let count = at.count(compact); count > 0; count--) {
      const partition = at.int32();
      const code = at.int16();
      const [highWatermark, lastStable, logStart] = [at.int64(), at.int64(), at.int64()];
      const aborted: FetchAnswer["aborted"] = [];
      for (let left = at.count(compact); left > 0; left--) {
        aborted.push({ producer: at.bigint64(), first: at.int64() });
        if (compact) at.tags();
      }
      at.int32();
      const records = at.bytes(compact);
      if (compact) at.tags();
      partitions.push({ topic, partition, error: code, highWatermark, lastStable, logStart, aborted, records });
    }
    if (compact) at.tags();
  }
  return { error, partitions };
}

/** Reads the types of the protocol from one buffer. */
class Place {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  int16(): number {
    return this.#bytes.readInt16BE((this.#at += 2) - 2);
  }
  int32(): number {
    return this.#bytes.readInt32BE((this.#at += 4) - 4);
  }
  bigint64(): bigint {
    return this.#bytes.readBigInt64BE((this.#at += 8) - 8);
  }
  int64(): number {
    return Number(this.bigint64());
  }
  uuid(): string {
    const digits = this.#bytes.toString("hex", this.#at, (this.#at += 16));
    return digits.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
  }
  varint(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }
  /** Of an array; none for null. */
  count(compact: boolean): number {
    return Math.max(0, compact ? this.varint() - 1 : this.int32());
  }
  text(compact: boolean): string {
    const length = compact ? this.varint() - 1 : this.int16();
    return this.#bytes.toString("utf8", this.#at, (this.#at += length));
  }
  bytes(compact: boolean): Buffer {
    const length = this.count(compact);
    return this.#bytes.subarray(this.#at, (this.#at += length));
  }
  tags(): void {
    for (let count = this.varint(); count > 0; count--) {
      this.varint();
      this.#at += this.varint();
    }
  }
}

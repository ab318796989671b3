import { isUtf8 } from "node:buffer";
import type { Column, RejectedRecord } from "../../core/index.ts";
import type { MessageBatch } from "../messages/index.ts";
import { RecordCursor, unpack, verifyBatch, type RecordBatch } from "./batches.ts";
import type { FetchAnswer } from "./wire.ts";

/** What every record has besides its value. */
export const metaColumns: readonly Column[] = [
  { name: "_topic", type: "string", doc: "Topic" },
  { name: "_partition", type: "int", doc: "Partition of the topic" },
  { name: "_offset", type: "long", doc: "Offset in the partition" },
  { name: "_timestamp", type: "timestamptz", doc: "Time of the record, set by the producer or the broker" },
  { name: "_key", type: "string", doc: "Key of the record" },
  {
    name: "_headers",
    type: "string",
    doc: 'Headers as a JSON object; a header that is there several times is a list, a value that is not UTF-8 is {"base64": …}',
  },
  {
    name: "_deleted",
    type: "boolean",
    doc: "The record has no value (a tombstone): in a compacted topic its key is deleted",
  },
];

/** Turns what was fetched of one partition into messages. */
export class RecordReader {
  readonly rejected: RejectedRecord[] = [];
  readonly #head: string;
  readonly #place: string;
  readonly #key: "text" | "base64";
  #second = Number.NaN;
  #secondText = "";

  constructor(topic: string, partition: number, key: "text" | "base64") {
    this.#head = `"_topic":${JSON.stringify(topic)},"_partition":${partition},"_offset":`;
    this.#place = `${topic}/${partition}`;
    this.#key = key;
  }

  /**
   * The records of an answer from the offset `from` up to `to` (exclusive), without control records and, where `committed`, those of aborted
   * transactions. Throws `corrupt`, `limit`, `unsupported`.
   */
  messages(
    answer: FetchAnswer,
    batches: readonly RecordBatch[],
    from: number,
    to: number,
    committed: boolean,
  ): MessageBatch {
    const meta: string[] = [];
    const values: (Uint8Array | null)[] = [];
    const aborted = committed ? answer.aborted.toSorted((left, right) => left.first - right.first) : [];
    const producers = new Set<bigint>();
    for (const batch of batches) {
      if (batch.first >= to) break;
      if (batch.last < from && !batch.isControl) continue;
      while (aborted.length > 0 && aborted[0]!.first <= batch.last) producers.add(aborted.shift()!.producer);
      if (batch.isControl) {
        // The marker that ends a transaction: what the producer writes after it is another one.
        producers.delete(batch.producer);
        continue;
      }
      if (batch.isTransactional && producers.has(batch.producer)) continue;
      verifyBatch(batch);
      const cursor = new RecordCursor(batch, unpack(batch));
      while (cursor.next()) {
        if (cursor.offset < from || cursor.offset >= to) continue;
        const line = this.#meta(cursor);
        if (line === undefined) continue;
        meta.push(line);
        values.push(cursor.valueAt < 0 ? null : cursor.bytes.subarray(cursor.valueAt, cursor.valueEnd));
      }
    }
    return { meta, values, origin: (index) => `${this.#place}/${/"_offset":(\d+)/.exec(meta[index]!)![1]}` };
  }

  #meta(cursor: RecordCursor): string | undefined {
    let line = this.#head + cursor.offset;
    if (cursor.timestamp >= 0) line += `,"_timestamp":"${this.#instant(cursor.timestamp)}"`;
    if (cursor.keyAt >= 0) {
      const key = this.#keyText(cursor.bytes, cursor.keyAt, cursor.keyEnd);
      if (key === undefined) {
        const value = cursor.bytes.subarray(Math.max(0, cursor.valueAt), Math.max(0, cursor.valueEnd));
        this.rejected.push({
          reason: "the key is not UTF-8 text; `key: base64` keeps it",
          origin: `${this.#place}/${cursor.offset}`,
          record: value.toString("utf8", 0, 65536),
        });
        return undefined;
      }
      line += `,"_key":${key}`;
    }
    if (cursor.headers > 0) line += `,"_headers":${headersText(cursor)}`;
    return line + (cursor.valueAt < 0 ? ',"_deleted":true' : ',"_deleted":false');
  }

  /** Records that follow each other are of one second nearly always. */
  #instant(milliseconds: number): string {
    const second = Math.floor(milliseconds / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText =
        second > 253_402_300_799 ? "9999-12-31T23:59:59" : new Date(second * 1000).toISOString().slice(0, 19);
    }
    const rest = milliseconds - second * 1000;
    return `${this.#secondText}.${rest < 10 ? "00" : rest < 100 ? "0" : ""}${rest}Z`;
  }

  #keyText(bytes: Buffer, from: number, to: number): string | undefined {
    if (this.#key === "base64") return `"${bytes.toString("base64", from, to)}"`;
    let isPlain = true;
    for (let at = from; at < to; at++) {
      const byte = bytes[at]!;
      if (byte < 0x20 || byte > 0x7e || byte === 0x22 || byte === 0x5c) {
        isPlain = false;
        break;
      }
    }
    if (isPlain) return `"${bytes.toString("latin1", from, to)}"`;
    return isUtf8(bytes.subarray(from, to)) ? JSON.stringify(bytes.toString("utf8", from, to)) : undefined;
  }
}

function headersText(cursor: RecordCursor): string {
  const members = new Map<string, string[]>();
  for (const [key, value] of cursor.readHeaders()) {
    const text =
      value === null
        ? "null"
        : isUtf8(value)
          ? JSON.stringify(value.toString("utf8"))
          : `{"base64":"${value.toString("base64")}"}`;
    const name = key.toString("utf8");
    members.set(name, [...(members.get(name) ?? []), text]);
  }
  const list = [...members].map(
    ([name, texts]) => `${JSON.stringify(name)}:${texts.length === 1 ? texts[0]! : `[${texts.join(",")}]`}`,
  );
  return `{${list.join(",")}}`;
}

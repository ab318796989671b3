import { createHash } from "node:crypto";
import protobuf from "protobufjs/minimal.js";

/*
 * The Kinesis Producer Library packs many records of its users into one of the stream: four bytes that tell of it, a message of
 * Protocol Buffers, and the MD5 of that message.
 *
 *     message AggregatedRecord { repeated string partition_key_table = 1; repeated string explicit_hash_key_table = 2; repeated Record records = 3; }
 *     message Record { required uint64 partition_key_index = 1; optional uint64 explicit_hash_key_index = 2; required bytes data = 3; repeated Tag tags = 4; }
 */

const magic = Buffer.from("f3899ac2", "hex");
const digestBytes = 16;

export interface UserRecord {
  partitionKey: string;
  data: Uint8Array;
}

/**
 * The records that were packed into one; undefined for a record that is what it is. Throws an `Error` in words for one whose MD5 is
 * right and whose content is not what the library writes.
 */
export function unpacked(data: Uint8Array): UserRecord[] | undefined {
  if (data.length <= magic.length + digestBytes || magic.compare(data, 0, magic.length) !== 0) return undefined;
  const message = data.subarray(magic.length, data.length - digestBytes);
  // Somebody's own bytes may begin in the same way: consumers of the library take them for such when the digest says so.
  if (
    createHash("md5")
      .update(message)
      .digest()
      .compare(data, data.length - digestBytes) !== 0
  )
    return undefined;
  const reader = protobuf.Reader.create(message);
  const keys: string[] = [];
  const records: { key: number; data: Uint8Array }[] = [];
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === field(1, "bytes")) keys.push(reader.string());
    else if (tag === field(3, "bytes")) records.push(recordIn(reader));
    else reader.skipType(tag & 7);
  }
  return records.map(({ key, data: own }) => {
    const partitionKey = keys[key];
    if (partitionKey === undefined) throw new Error(`a packed record names the partition key ${key} of ${keys.length}`);
    return { partitionKey, data: own };
  });
}

function recordIn(reader: protobuf.Reader): { key: number; data: Uint8Array } {
  const end = reader.uint32() + reader.pos;
  let key: number | undefined;
  let data: Uint8Array | undefined;
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag === field(1, "number")) key = reader.uint32();
    else if (tag === field(3, "bytes")) data = reader.bytes();
    else reader.skipType(tag & 7);
  }
  if (key === undefined || data === undefined || reader.pos !== end) {
    throw new Error("a packed record has no data or no partition key");
  }
  return { key, data };
}

const field = (number: number, kind: "number" | "bytes"): number => (number << 3) | (kind === "bytes" ? 2 : 0);

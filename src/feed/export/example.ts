import { MillraceError } from "../../core/index.ts";
import type { Vector } from "../../engine/index.ts";
import type { ByteWriter } from "./bytes.ts";
import type { FlatColumn } from "./flat.ts";

/*
 * The wire format of Protocol Buffers (https://protobuf.dev/programming-guides/encoding/) as far as a tf.train.Example needs it: varints,
 * and fields of bytes, of which each begins with a tag and a length.
 */

/** What the values of a feature are: `raw` are doubles as their bytes. */
export type FeatureKind = "int64" | "float" | "raw" | "bytes";

/** A field of bytes: its tag, their number, and they. */
export function lengthDelimited(tag: number, bytes: Uint8Array): Uint8Array {
  const prefix: number[] = [tag];
  for (let rest = bytes.length; ; rest >>>= 7) {
    if (rest < 0x80) {
      prefix.push(rest);
      break;
    }
    prefix.push((rest & 0x7f) | 0x80);
  }
  return Buffer.concat([Buffer.from(prefix), bytes]);
}

/** Bytes of a number below 2^35 as varint. */
export function varintBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5;
}

/** A number below 2^53. */
export function varint(out: ByteWriter, value: number): void {
  while (value >= 0x80) {
    out.byte((value % 0x80) | 0x80);
    value = Math.floor(value / 0x80);
  }
  out.byte(value);
}

type Numbers = Extract<Vector, { kind: "fixed" }>["values"];

/** Bytes of the varint of a 64-bit number in two halves. */
function longBytes(low: number, high: number): number {
  if (high === 0) return varintBytes(low >>> 0);
  return Math.ceil((64 - Math.clz32(high)) / 7);
}

function longVarint(out: ByteWriter, low: number, high: number): void {
  while (high !== 0 || low >>> 0 >= 0x80) {
    out.byte((low & 0x7f) | 0x80);
    low = (low >>> 7) | (high << 25);
    high >>>= 7;
  }
  out.byte(low);
}

function numbersBytes(values: Numbers, from: number, to: number): number {
  let total = 0;
  if (values instanceof BigInt64Array) {
    const words = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
    for (let at = from; at < to; at++) total += longBytes(words[at * 2]!, words[at * 2 + 1]!);
  } else {
    const narrow = values as Int32Array;
    for (let at = from; at < to; at++) total += longBytes(narrow[at]!, narrow[at]! < 0 ? -1 : 0);
  }
  return total;
}

function writeNumbers(out: ByteWriter, values: Numbers, from: number, to: number): void {
  out.reserve((to - from) * 10);
  if (values instanceof BigInt64Array) {
    const words = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
    for (let at = from; at < to; at++) longVarint(out, words[at * 2]!, words[at * 2 + 1]!);
  } else {
    const narrow = values as Int32Array;
    for (let at = from; at < to; at++) longVarint(out, narrow[at]!, narrow[at]! < 0 ? -1 : 0);
  }
}

/** A list that is one value, and a value that is none, are the same to a feature: a range of values. */
function rangeOf(
  column: FlatColumn,
  row: number,
): { values: Exclude<FlatColumn, { kind: "list" }> | Vector; from: number; to: number } {
  if (column.kind === "list")
    return { values: column.elements, from: column.offsets[row]!, to: column.offsets[row + 1]! };
  return { values: column, from: row, to: row + 1 };
}

/** Bytes of the …List message of one row. */
export function contentBytes(column: FlatColumn, row: number, kind: FeatureKind): number {
  if (column.kind === "slices") return blobBytes(column.ends[row]! - column.starts[row]!);
  const { values, from, to } = rangeOf(column, row);
  if (values.kind === "bytes") {
    let total = 0;
    for (let at = from; at < to; at++) total += blobBytes(values.offsets[at + 1]! - values.offsets[at]!);
    return total;
  }
  if (values.kind !== "fixed") throw new MillraceError("internal", "a feature is made of numbers or bytes");
  if (kind === "raw") return blobBytes((to - from) * 8);
  if (to === from) return 0;
  return blobBytes(kind === "float" ? (to - from) * 4 : numbersBytes(values.values, from, to));
}

const blobBytes = (length: number): number => 1 + varintBytes(length) + length;

export function writeContent(out: ByteWriter, column: FlatColumn, row: number, kind: FeatureKind): void {
  if (column.kind === "slices") {
    writeBlob(out, column.bytes, column.starts[row]!, column.ends[row]!);
    return;
  }
  const { values, from, to } = rangeOf(column, row);
  if (values.kind === "bytes") {
    for (let at = from; at < to; at++) writeBlob(out, values.bytes, values.offsets[at]!, values.offsets[at + 1]!);
    return;
  }
  if (values.kind !== "fixed" || (to === from && kind !== "raw")) return;
  if (kind === "int64") {
    out.byte(0x0a);
    varint(out, numbersBytes(values.values, from, to));
    writeNumbers(out, values.values, from, to);
    return;
  }
  const width = kind === "float" ? 4 : 8;
  const { buffer, byteOffset } = values.values;
  writeBlob(out, new Uint8Array(buffer, byteOffset, to * width), from * width, to * width);
}

function writeBlob(out: ByteWriter, bytes: Uint8Array, from: number, to: number): void {
  out.byte(0x0a);
  varint(out, to - from);
  out.pushRange(bytes, from, to);
}

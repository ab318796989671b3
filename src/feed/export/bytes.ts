/** Bytes that grow at the end. What was written is good until the next write or `clear`. */
export class ByteWriter {
  bytes: Buffer;
  length = 0;

  constructor(capacity = 1 << 16) {
    this.bytes = Buffer.allocUnsafe(capacity);
  }

  /** Makes room for so many bytes at the end, without taking them. */
  reserve(count: number): void {
    if (this.length + count <= this.bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.length + count));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }

  push(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Part of an array; small ones are copied here, which is faster than a view. */
  pushRange(bytes: Uint8Array, from: number, to: number): void {
    const count = to - from;
    this.reserve(count);
    const { bytes: target, length } = this;
    if (count < 48) for (let at = 0; at < count; at++) target[length + at] = bytes[from + at]!;
    else target.set(bytes.subarray(from, to), length);
    this.length += count;
  }

  byte(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  uint32(value: number): void {
    this.reserve(4);
    this.length = this.bytes.writeUInt32LE(value >>> 0, this.length);
  }

  zeros(count: number): void {
    this.reserve(count);
    this.bytes.fill(0, this.length, this.length + count);
    this.length += count;
  }

  clear(): void {
    this.length = 0;
  }

  written(): Buffer {
    return this.bytes.subarray(0, this.length);
  }
}

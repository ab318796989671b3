import { MillraceError } from "../core/errors.ts";

/**
 * Decodes an LZ4 frame (https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md, block format beside it). Checksums of the
 * frame are not verified. Throws `parse` for damaged data and `limit` when more than `maximum` bytes come out.
 */
export function decodeLz4Frame(input: Uint8Array, maximum: number): Uint8Array {
  const damaged = (): MillraceError => new MillraceError("parse", "damaged LZ4 data");
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const u32 = (at: number): number => {
    if (at + 4 > input.length) throw damaged();
    return view.getUint32(at, true);
  };
  if (u32(0) !== 0x184d2204) throw damaged();
  const flags = input[4] ?? 0;
  if (flags >>> 6 !== 1) throw damaged();
  const blockChecksum = (flags & 0x10) !== 0;
  let position = 6 + ((flags & 0x08) !== 0 ? 8 : 0) + ((flags & 0x01) !== 0 ? 4 : 0) + 1;
  let output = new Uint8Array(Math.min(maximum, Math.max(1024, input.length * 4)));
  let written = 0;
  const reserve = (count: number): void => {
    if (written + count > maximum) throw new MillraceError("limit", `LZ4 data unpacks to more than ${maximum} bytes`);
    if (written + count <= output.length) return;
    const larger = new Uint8Array(Math.min(maximum, Math.max(output.length * 2, written + count)));
    larger.set(output.subarray(0, written));
    output = larger;
  };
  for (;;) {
    const header = u32(position);
    position += 4;
    if (header === 0) break;
    const size = header & 0x7fffffff;
    const end = position + size;
    if (end > input.length) throw damaged();
    if (header >>> 31 === 1) {
      reserve(size);
      output.set(input.subarray(position, end), written);
      written += size;
      position = end;
    } else block(end);
    if (blockChecksum) position += 4;
  }
  return output.subarray(0, written);

  function block(end: number): void {
    const extended = (start: number): number => {
      let length = start;
      if (start === 15) {
        let byte: number;
        do {
          if (position >= end) throw damaged();
          byte = input[position++]!;
          length += byte;
        } while (byte === 255);
      }
      return length;
    };
    while (position < end) {
      const token = input[position++]!;
      const literals = extended(token >>> 4);
      if (position + literals > end) throw damaged();
      reserve(literals);
      output.set(input.subarray(position, position + literals), written);
      position += literals;
      written += literals;
      // The last sequence of a block has literals only.
      if (position === end) return;
      if (position + 2 > end) throw damaged();
      const offset = input[position]! | (input[position + 1]! << 8);
      position += 2;
      const count = extended(token & 15) + 4;
      if (offset === 0 || offset > written) throw damaged();
      reserve(count);
      for (let index = 0; index < count; index++, written++) output[written] = output[written - offset]!;
    }
  }
}

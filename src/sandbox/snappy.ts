import { MillraceError } from "../core/errors.ts";

/**
 * Decodes one block of raw Snappy (https://github.com/google/snappy/blob/main/format_description.txt).
 * Throws `parse` for damaged data and `limit` for a block that says it is longer than `maximum` bytes.
 */
export function decodeSnappy(input: Uint8Array, maximum: number): Uint8Array {
  let position = 0;
  const damaged = (): MillraceError => new MillraceError("parse", "damaged snappy data");
  const next = (): number => {
    if (position >= input.length) throw damaged();
    return input[position++]!;
  };
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = next();
    if (shift > 28) throw damaged();
    length += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  if (length > maximum)
    throw new MillraceError("limit", `a snappy block of ${length} bytes exceeds the limit of ${maximum}`);
  // No block grows by more than this: a copy of 3 bytes gives 64.
  if (length > input.length * 64) throw damaged();
  const output = new Uint8Array(length);
  let written = 0;
  while (position < input.length) {
    const tag = next();
    if ((tag & 3) === 0) {
      let count = tag >>> 2;
      if (count >= 60) {
        const bytes = count - 59;
        count = 0;
        for (let index = 0; index < bytes; index++) count += next() * 2 ** (8 * index);
      }
      count++;
      if (position + count > input.length || written + count > length) throw damaged();
      output.set(input.subarray(position, position + count), written);
      position += count;
      written += count;
      continue;
    }
    let count: number;
    let offset: number;
    if ((tag & 3) === 1) {
      count = ((tag >>> 2) & 7) + 4;
      offset = ((tag >>> 5) << 8) | next();
    } else {
      count = (tag >>> 2) + 1;
      offset = next() | (next() << 8);
      if ((tag & 3) === 3) offset = (offset | (next() << 16) | (next() << 24)) >>> 0;
    }
    if (offset === 0 || offset > written || written + count > length) throw damaged();
    for (let index = 0; index < count; index++, written++) output[written] = output[written - offset]!;
  }
  if (written !== length) throw damaged();
  return output;
}

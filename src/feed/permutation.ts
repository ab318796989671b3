import { createHash } from "node:crypto";

/*
 * A shuffle that needs no memory and no history: a Feistel network over the numbers below a power of two, walked until it falls below
 * `size` (Black & Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002, "cycle walking"). The halves differ by at most one bit,
 * so less than two steps are needed on average. Not for secrets: for an order that anybody can compute again (docs/guide/feed.md).
 */

const rounds = 6;

/** Numbers below `size` (at most 2^46), each to another: one to one, the same for the same key everywhere. */
export type Permutation = (index: number) => number;

/** 32-bit words from any number of parts of a key: SHA-256 of the parts joined by U+001F, big endian. */
export function keyWords(...parts: readonly (string | number)[]): Uint32Array {
  const digest = createHash("sha256").update(parts.join("\x1f")).digest();
  return Uint32Array.from({ length: 8 }, (_, index) => digest.readUInt32BE(index * 4));
}

/** The finaliser of MurmurHash3 (public domain), keyed. */
function mix(value: number, key: number): number {
  let mixed = (value ^ key) | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** Throws `RangeError` for a size that is no natural number or too large. */
export function permutation(size: number, key: Uint32Array): Permutation {
  if (!Number.isSafeInteger(size) || size < 0 || size > 2 ** 46) throw new RangeError(`${size} is no size`);
  if (size < 2) return (index) => index;
  const bits = Math.max(2, Math.ceil(Math.log2(size)));
  const lowBits = bits >> 1;
  const highBits = bits - lowBits;
  const low = 2 ** lowBits;
  const lowMask = low - 1;
  const highMask = 2 ** highBits - 1;
  const encrypt = (value: number): number => {
    let left = Math.floor(value / low);
    let right = value % low;
    // Even rounds change the high half by the low one, odd rounds the low half by the high one: both keep their width.
    for (let round = 0; round < rounds; round += 2) {
      left = (left ^ (mix(right, key[round]!) & highMask)) >>> 0;
      right = (right ^ (mix(left, key[round + 1]!) & lowMask)) >>> 0;
    }
    return left * low + right;
  };
  return (index) => {
    let value = encrypt(index);
    while (value >= size) value = encrypt(value);
    return value;
  };
}

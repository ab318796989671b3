import { randomBytes } from "node:crypto";

/** FNV-1a of 32 bits with a seed; `mixed` spreads it over all bits at the end. */
const prime = 0x01000193;

export function hashBytes(hash: number, bytes: Uint8Array, start: number, end: number): number {
  let value = hash;
  for (let at = start; at < end; at++) value = Math.imul(value ^ bytes[at]!, prime);
  return value;
}

export function mixed(hash: number): number {
  let value = hash;
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

/** Of this process, so that nobody can choose keys that all fall into one place. */
export const seed = randomBytes(4).readUInt32LE();

/**
 * Numbers of rows by the hash of their key: open addressing with linear probing, at most half full. Holds no keys: whoever asks compares the
 * rows it names. Eight bytes a slot.
 */
export class HashTable {
  readonly #rows: Uint32Array;
  readonly #hashes: Uint32Array;
  readonly #mask: number;

  constructor(rows: number) {
    let slots = 16;
    while (slots < rows * 2) slots *= 2;
    this.#rows = new Uint32Array(slots);
    this.#hashes = new Uint32Array(slots);
    this.#mask = slots - 1;
  }

  /** The first slot from `slot` on (default: where the hash begins) whose row may have the key; -1: there is none. */
  seek(hash: number, slot = hash & this.#mask): number {
    for (let at = slot; ; at = (at + 1) & this.#mask) {
      if (this.#rows[at] === 0) return -1;
      if (this.#hashes[at] === hash) return at;
    }
  }

  /** The slot to go on from when the row in `slot` has another key. */
  after(slot: number): number {
    return (slot + 1) & this.#mask;
  }

  rowAt(slot: number): number {
    return this.#rows[slot]! - 1;
  }

  insert(hash: number, row: number): void {
    let at = hash & this.#mask;
    while (this.#rows[at] !== 0) at = (at + 1) & this.#mask;
    this.#rows[at] = row + 1;
    this.#hashes[at] = hash;
  }
}

import { MillraceError } from "../core/errors.ts";

/**
 * A bzip2 decoder. Format: https://github.com/dsnet/compress/blob/master/doc/bzip2-format.pdf (Joe Tsai, 2016).
 * Blocks are at most 900,000 bytes, so memory is bounded; every block and stream checksum is verified. Concatenated streams
 * are one file, as bunzip2 has it. Runs in the sandbox child: it reads synchronously.
 */
const blockMagic = 0x314159265359;
const endMagic = 0x177245385090;
const groupSize = 50;
const maximumCodeLength = 20;

function damaged(what: string): MillraceError {
  return new MillraceError("parse", `damaged bzip2 data: ${what}`);
}

class BitReader {
  #chunk: Uint8Array = new Uint8Array(0);
  #position = 0;
  #bits = 0;
  #held = 0;
  readonly #refill: () => Uint8Array | undefined;

  constructor(refill: () => Uint8Array | undefined) {
    this.#refill = refill;
  }

  /** A byte, or -1 at the end of the input. */
  #byte(): number {
    if (this.#position >= this.#chunk.length) {
      const next = this.#refill();
      if (next === undefined || next.length === 0) return -1;
      this.#chunk = next;
      this.#position = 0;
    }
    return this.#chunk[this.#position++]!;
  }

  /** At most 24 bits. */
  read(count: number): number {
    while (this.#held < count) {
      const byte = this.#byte();
      if (byte < 0) throw damaged("it ends early");
      this.#bits = ((this.#bits << 8) | byte) >>> 0;
      this.#held += 8;
    }
    this.#held -= count;
    const value = (this.#bits >>> this.#held) & ((1 << count) - 1);
    this.#bits &= (1 << this.#held) - 1;
    return value;
  }

  read32(): number {
    return this.read(16) * 0x10000 + this.read(16);
  }

  align(): void {
    this.#held = 0;
    this.#bits = 0;
  }

  /** Only at a byte boundary. */
  atEnd(): boolean {
    if (this.#position < this.#chunk.length) return false;
    const next = this.#refill();
    if (next === undefined || next.length === 0) return true;
    this.#chunk = next;
    this.#position = 0;
    return false;
  }
}

const crcTable = new Uint32Array(256);
for (let index = 0; index < 256; index++) {
  let value = index << 24;
  for (let bit = 0; bit < 8; bit++) value = value & 0x80000000 ? (value << 1) ^ 0x04c11db7 : value << 1;
  crcTable[index] = value;
}

/** Gives the decoded bytes block by block. `refill` gives the next piece of input, or undefined at its end. Throws `parse`. */
export function* decodeBzip2(refill: () => Uint8Array | undefined): Generator<Uint8Array, void, undefined> {
  const input = new BitReader(refill);
  do {
    if (input.read(8) !== 0x42 || input.read(8) !== 0x5a || input.read(8) !== 0x68)
      throw damaged("no `BZh` at the start");
    const level = input.read(8) - 0x30;
    if (level < 1 || level > 9) throw damaged(`block size ${level}`);
    const work = new Uint32Array(level * 100_000);
    let streamCrc = 0;
    for (;;) {
      const magic = input.read(24) * 0x1000000 + input.read(24);
      if (magic === endMagic) {
        if (input.read32() !== streamCrc) throw damaged("the checksum of the stream differs");
        input.align();
        break;
      }
      if (magic !== blockMagic) throw damaged("neither a block nor the end where one must be");
      const expected = input.read32();
      const bytes = decodeBlock(input, work);
      let crc = 0xffffffff;
      for (let index = 0; index < bytes.length; index++) {
        crc = (crc << 8) ^ crcTable[((crc >>> 24) ^ bytes[index]!) & 0xff]!;
      }
      if (~crc >>> 0 !== expected) throw damaged("the checksum of a block differs");
      streamCrc = (((streamCrc << 1) | (streamCrc >>> 31)) ^ expected) >>> 0;
      yield bytes;
    }
  } while (!input.atEnd());
}

interface Table {
  limit: Int32Array;
  base: Int32Array;
  permutation: Uint16Array;
  shortest: number;
}

function readTable(input: BitReader, symbols: number): Table {
  const lengths = new Uint8Array(symbols);
  let length = input.read(5);
  for (let symbol = 0; symbol < symbols; symbol++) {
    for (;;) {
      if (length < 1 || length > maximumCodeLength) throw damaged(`code length ${length}`);
      if (input.read(1) === 0) break;
      length += input.read(1) === 0 ? 1 : -1;
    }
    lengths[symbol] = length;
  }
  const counts = new Int32Array(maximumCodeLength + 2);
  for (const each of lengths) counts[each]!++;
  const permutation = new Uint16Array(symbols);
  const limit = new Int32Array(maximumCodeLength + 2).fill(-1);
  const base = new Int32Array(maximumCodeLength + 2);
  let code = 0;
  let index = 0;
  for (let bits = 1; bits <= maximumCodeLength; bits++) {
    base[bits] = index - code;
    for (let symbol = 0; symbol < symbols; symbol++) if (lengths[symbol] === bits) permutation[index++] = symbol;
    code += counts[bits]!;
    limit[bits] = counts[bits]! > 0 ? code - 1 : -1;
    if (code > 1 << bits) throw damaged("codes overlap");
    code <<= 1;
  }
  return { limit, base, permutation, shortest: Math.min(...lengths) };
}

function readSymbol(input: BitReader, table: Table): number {
  let bits = table.shortest;
  let code = input.read(bits);
  for (;;) {
    // Canonical codes: those of this length that are in use end at `limit`.
    const index = code + table.base[bits]!;
    if (code <= table.limit[bits]! && index >= 0 && index < table.permutation.length) return table.permutation[index]!;
    if (++bits > maximumCodeLength) throw damaged("an unknown code");
    code = (code << 1) | input.read(1);
  }
}

function decodeBlock(input: BitReader, work: Uint32Array): Uint8Array {
  if (input.read(1) === 1) throw damaged("a randomised block, which no bzip2 since 0.9.5 writes");
  const origin = input.read(24);
  const alphabet: number[] = [];
  const used = input.read(16);
  for (let high = 0; high < 16; high++) {
    if ((used & (0x8000 >> high)) === 0) continue;
    const low = input.read(16);
    for (let bit = 0; bit < 16; bit++) if ((low & (0x8000 >> bit)) !== 0) alphabet.push(high * 16 + bit);
  }
  if (alphabet.length === 0) throw damaged("a block without symbols");
  const symbols = alphabet.length + 2;
  const groups = input.read(3);
  const selectorCount = input.read(15);
  if (groups < 2 || groups > 6 || selectorCount < 1) throw damaged(`${groups} tables, ${selectorCount} selectors`);
  const order = Array.from({ length: groups }, (_, index) => index);
  const selectors = new Uint8Array(selectorCount);
  for (let index = 0; index < selectorCount; index++) {
    let position = 0;
    while (input.read(1) === 1) if (++position >= groups) throw damaged("a selector beyond the tables");
    const [selected] = order.splice(position, 1);
    order.unshift(selected!);
    selectors[index] = selected!;
  }
  const tables = Array.from({ length: groups }, () => readTable(input, symbols));

  const byteCounts = new Int32Array(256);
  const recent = [...alphabet];
  let count = 0;
  let run = 0;
  let runBit = 1;
  const endRun = (): void => {
    if (run === 0) return;
    if (count + run > work.length) throw damaged("a block longer than its size");
    const byte = recent[0]!;
    byteCounts[byte]! += run;
    work.fill(byte, count, count + run);
    count += run;
    run = 0;
    runBit = 1;
  };
  for (let group = 0, left = 0, table = tables[0]!; ; left--) {
    if (left === 0) {
      if (group >= selectorCount) throw damaged("more symbols than its selectors allow");
      table = tables[selectors[group++]!]!;
      left = groupSize;
    }
    const symbol = readSymbol(input, table);
    if (symbol <= 1) {
      run += runBit << symbol;
      runBit <<= 1;
      if (run > work.length) throw damaged("a run longer than its block");
      continue;
    }
    endRun();
    if (symbol === symbols - 1) break;
    if (count >= work.length) throw damaged("a block longer than its size");
    const [byte] = recent.splice(symbol - 1, 1);
    recent.unshift(byte!);
    byteCounts[byte!]!++;
    work[count++] = byte!;
  }
  if (origin >= count) throw damaged("the origin lies outside of the block");
  return unsort(work, count, origin, byteCounts);
}

/** Inverse Burrows-Wheeler transform, then the outer run-length code: four equal bytes are followed by a count of more. */
function unsort(work: Uint32Array, count: number, origin: number, byteCounts: Int32Array): Uint8Array {
  const starts = new Int32Array(256);
  for (let byte = 0, sum = 0; byte < 256; byte++) {
    starts[byte] = sum;
    sum += byteCounts[byte]!;
  }
  for (let index = 0; index < count; index++) work[starts[work[index]! & 0xff]!++]! |= index << 8;
  let output = new Uint8Array(Math.max(1024, count * 2));
  let length = 0;
  let repeated = 0;
  let last = -1;
  let pointer = work[origin]! >>> 8;
  for (let index = 0; index < count; index++) {
    const entry = work[pointer]!;
    const byte = entry & 0xff;
    pointer = entry >>> 8;
    if (length + 256 > output.length) {
      const larger = new Uint8Array(output.length * 2);
      larger.set(output);
      output = larger;
    }
    if (repeated === 4) {
      output.fill(last, length, length + byte);
      length += byte;
      repeated = 0;
      last = -1;
      continue;
    }
    repeated = byte === last ? repeated + 1 : 1;
    last = byte;
    output[length++] = byte;
  }
  return output.subarray(0, length);
}

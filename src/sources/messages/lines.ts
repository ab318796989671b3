import { isUtf8 } from "node:buffer";
import { messageOf, type Column, type Payload, type RejectedRecord } from "../../core/index.ts";
import { Members } from "./members.ts";
import { restColumn, type Decoder, type MessageBatch } from "./types.ts";

const chunkBytes = 1 << 20;
/** The engine reads records up to 16 MiB. */
const longestValue = 15 * 1024 * 1024;
/** Of a rejected record so much is kept as text. */
const keptText = 64 * 1024;
const [lineFeed, carriageReturn, space, comma, openBrace, closeBrace] = [0x0a, 0x0d, 0x20, 0x2c, 0x7b, 0x7d];

/**
 * Messages as NDJSON: each line has the members of its meta columns and, copied byte for byte, those of its value. Members without a column are put
 * together in `_rest`. What is no object, cut off or cannot be decoded is set aside.
 */
export function linesOf(
  batches: AsyncIterable<MessageBatch>,
  options: {
    columns: readonly Column[];
    known: readonly Column[];
    decoder: Decoder | undefined;
    signal?: AbortSignal | undefined;
  },
): Extract<Payload, { form: "bytes" }> {
  const writer = new LineWriter(options.known);
  const { decoder, signal } = options;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for await (const batch of batches) {
      await decoder?.prepare?.(batch.values, signal);
      for (let index = 0; index < batch.values.length; index++) {
        const value = batch.values[index] as Uint8Array | null;
        const meta = batch.meta[index]!;
        let problem: string | undefined;
        if (value === null) writer.add(meta, undefined);
        else if (value.length > longestValue)
          problem = `the value has ${value.length} bytes, more than ${longestValue}`;
        else if (decoder === undefined) problem = writer.add(meta, value);
        else problem = decoded(writer, decoder, meta, value);
        if (problem !== undefined) writer.reject(problem, batch.origin?.(index) ?? `{${meta}}`, value);
        if (writer.isFull()) yield* writer.take();
      }
    }
    yield* writer.take();
  }
  const binary = options.columns.filter(({ type }) => type === "binary").map(({ name }) => [name, "base64"] as const);
  return {
    form: "bytes",
    format: "ndjson",
    columns: [...options.columns],
    ...(binary.length === 0 ? {} : { encodings: Object.fromEntries(binary) }),
    chunks: chunks(),
    rows: () => writer.lines + writer.rejected.length,
    rejected: () => writer.rejected,
  };
}

function decoded(writer: LineWriter, decoder: Decoder, meta: string, value: Uint8Array): string | undefined {
  let texts: readonly string[];
  try {
    const given = decoder.decode(value);
    texts = typeof given === "string" ? [given] : given;
  } catch (error) {
    return messageOf(error);
  }
  for (const text of texts) {
    const problem = writer.add(meta, Buffer.from(text));
    if (problem !== undefined) return problem;
  }
  return undefined;
}

export class LineWriter {
  lines = 0;
  readonly rejected: RejectedRecord[] = [];
  #chunk = Buffer.allocUnsafe(chunkBytes);
  #at = 0;
  #full: Uint8Array[] = [];
  readonly #members = new Members();
  readonly #names: Set<string>;
  /** Columns of whole numbers: the engine would round. */
  readonly #whole: Set<string>;
  /** Keys of the last object that had columns only: the next one is nearly always like it. */
  #keys: Uint8Array[] = [];

  constructor(known: readonly Column[]) {
    this.#whole = new Set(known.filter(({ type }) => type === "long" || type === "int").map(({ name }) => name));
    this.#names = new Set(known.filter(({ name }) => name !== restColumn.name).map(({ name }) => name));
  }

  isFull(): boolean {
    return this.#full.length > 0;
  }

  *take(): Generator<Uint8Array> {
    if (this.#at > 0) this.#seal();
    const full = this.#full;
    this.#full = [];
    yield* full;
  }

  /** Undefined: the line is written. Else why it cannot be. */
  add(meta: string, value: Uint8Array | undefined): string | undefined {
    if (value === undefined) {
      this.#reserve(meta.length * 3 + 3);
      this.#open(meta);
      this.#close();
      return undefined;
    }
    const members = this.#members;
    const problem = members.scan(value);
    if (problem !== undefined) return problem;
    const fraction = members.fractions.length === 0 ? undefined : this.#fraction(value);
    if (fraction !== undefined) return fraction;
    const isKnown = this.#areKnown(value);
    if (typeof isKnown === "string") return isKnown;
    // A key may be written with escapes, and one that has no column is written twice as long at most.
    this.#reserve(meta.length * 3 + value.length + 16 + restColumn.name.length);
    this.#open(meta);
    if (isKnown) {
      if (members.count > 0) {
        this.#chunk[this.#at++] = comma;
        this.#copy(value, members.begin, members.end);
      }
    } else this.#divide(value);
    this.#close();
    return undefined;
  }

  reject(reason: string, origin: string, value: Uint8Array | null): void {
    const bytes = value ?? new Uint8Array();
    const record = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, keptText)).toString("utf8");
    this.rejected.push({ reason, origin, record });
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#chunk.length) return;
    if (this.#at > 0) this.#seal();
    if (bytes > this.#chunk.length) this.#chunk = Buffer.allocUnsafe(bytes);
  }

  /** A chunk is done. The engine gives up on all of it for one byte that is not UTF-8, so that is looked for here, in all lines at once. */
  #seal(): void {
    const chunk = this.#chunk.subarray(0, this.#at);
    // Who reads may keep what was given.
    this.#chunk = Buffer.allocUnsafe(chunkBytes);
    this.#at = 0;
    if (isUtf8(chunk)) return void this.#full.push(chunk);
    for (let from = 0; from < chunk.length;) {
      const to = chunk.indexOf(lineFeed, from) + 1;
      const line = chunk.subarray(from, to);
      from = to;
      if (isUtf8(line)) this.#full.push(line);
      else {
        this.lines--;
        const text = line.toString("utf8", 0, keptText);
        this.rejected.push({ reason: "the value is not UTF-8", origin: text.slice(0, 200), record: text });
      }
    }
  }

  #open(meta: string): void {
    this.#chunk[this.#at++] = openBrace;
    this.#at += this.#chunk.write(meta, this.#at);
  }

  #close(): void {
    this.#chunk[this.#at++] = closeBrace;
    this.#chunk[this.#at++] = lineFeed;
    this.lines++;
  }

  /** JSON has line feeds between its tokens only: inside of strings they are escaped. */
  #copy(value: Uint8Array, from: number, to: number): void {
    const chunk = this.#chunk;
    const begin = this.#at;
    chunk.set(value.subarray(from, to), begin);
    this.#at += to - from;
    if (!this.#members.hasBreaks) return;
    for (let at = begin; at < this.#at; at++) {
      if (chunk[at] === lineFeed || chunk[at] === carriageReturn) chunk[at] = space;
    }
  }

  #fraction(value: Uint8Array): string | undefined {
    const { places, fractions } = this.#members;
    for (const index of fractions) {
      const place = index * 4;
      const name = nameOf(value.subarray(places[place]!, places[place + 1]!));
      if (!this.#whole.has(name)) continue;
      const text = decoder.decode(value.subarray(places[place + 2]!, places[place + 3]!));
      if (!Number.isSafeInteger(Number(text))) return `\`${name}\` is ${text.slice(0, 40)}, which is no whole number`;
    }
    return undefined;
  }

  /** Whether all members have a column; or what is wrong with them. */
  #areKnown(value: Uint8Array): boolean | string {
    const { places, count } = this.#members;
    if (count === this.#keys.length && this.#areAsBefore(value)) return true;
    const keys: Uint8Array[] = [];
    const names = new Set<string>();
    let areKnown = true;
    for (let index = 0; index < count; index++) {
      const key = value.subarray(places[index * 4]!, places[index * 4 + 1]!);
      const name = nameOf(key);
      if (names.has(name)) return `the member \`${name.slice(0, 100)}\` is there twice`;
      names.add(name);
      areKnown &&= this.#names.has(name);
      keys.push(Uint8Array.from(key));
    }
    if (areKnown) this.#keys = keys;
    return areKnown;
  }

  #areAsBefore(value: Uint8Array): boolean {
    const { places, count } = this.#members;
    for (let index = 0; index < count; index++) {
      const key = this.#keys[index]!;
      const begin = places[index * 4]!;
      const length = places[index * 4 + 1]! - begin;
      if (length !== key.length) return false;
      for (let at = 0; at < length; at++) if (value[begin + at] !== key[at]) return false;
    }
    return true;
  }

  /** Members with a column, and the others as one. */
  #divide(value: Uint8Array): void {
    const { places, count } = this.#members;
    const rest: number[] = [];
    for (let index = 0; index < count; index++) {
      const place = index * 4;
      if (!this.#names.has(nameOf(value.subarray(places[place]!, places[place + 1]!)))) {
        rest.push(place);
        continue;
      }
      this.#chunk[this.#at++] = comma;
      this.#copy(value, places[place]! - 1, places[place + 3]!);
    }
    this.#at += this.#chunk.write(`,"${restColumn.name}":`, this.#at);
    for (const [index, place] of rest.entries()) {
      this.#chunk[this.#at++] = index === 0 ? openBrace : comma;
      this.#copy(value, places[place]! - 1, places[place + 3]!);
    }
    this.#chunk[this.#at++] = closeBrace;
  }
}

const decoder = new TextDecoder();

/** The name that a key between its quotes is. */
export function nameOf(key: Uint8Array): string {
  const text = decoder.decode(key);
  if (!text.includes("\\")) return text;
  try {
    return JSON.parse(`"${text}"`) as string;
  } catch {
    return text;
  }
}

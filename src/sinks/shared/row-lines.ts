import { MillraceError, type Column } from "../../core/index.ts";
import { fieldOf, keyText } from "./row-key.ts";

const [quote, backslash, colon, comma, lineFeed] = [0x22, 0x5c, 0x3a, 0x2c, 0x0a];

/** Lines of NDJSON without their ends. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer[], void, undefined> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    const bytes =
      rest.length === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length) : Buffer.concat([rest, chunk]);
    const lines: Buffer[] = [];
    let from = 0;
    for (let at = bytes.indexOf(lineFeed); at >= 0; at = bytes.indexOf(lineFeed, from)) {
      if (at > from) lines.push(bytes.subarray(from, at));
      from = at + 1;
    }
    // The next chunk may be written where this one is.
    rest = Buffer.from(bytes.subarray(from));
    if (lines.length > 0) yield lines;
  }
  if (rest.length > 0) yield [rest];
}

/**
 * Finds the key of a row in its JSON without making a value of the rest. Throws `usage` for a key that is null.
 */
export class KeyReader {
  readonly #columns: readonly Column[];
  readonly #names: ReadonlyMap<string, number>;

  constructor(key: readonly Column[]) {
    this.#columns = key;
    this.#names = new Map(key.map(({ name }, index) => [JSON.stringify(name), index]));
  }

  field(line: Buffer): string {
    const texts = Array.from<string | undefined>({ length: this.#columns.length });
    let left = texts.length;
    // Behind the brace: name, colon, value, comma, …
    for (let at = 1; at < line.length && left > 0;) {
      const nameEnd = endOfText(line, at);
      const index = this.#names.get(line.toString("utf8", at, nameEnd)) ?? this.#slow(line, at, nameEnd);
      if (line[nameEnd] !== colon) throw damaged();
      const valueEnd = endOfValue(line, nameEnd + 1);
      if (index !== undefined) {
        texts[index] = this.#text(line.toString("utf8", nameEnd + 1, valueEnd), index);
        left--;
      }
      at = valueEnd + 1;
    }
    if (left > 0) throw damaged();
    return fieldOf(texts as string[]);
  }

  /** A name may be written with other escapes than ours. */
  #slow(line: Buffer, from: number, to: number): number | undefined {
    if (line.indexOf(backslash, from) < 0 || line.indexOf(backslash, from) >= to) return undefined;
    return this.#names.get(JSON.stringify(JSON.parse(line.toString("utf8", from, to))));
  }

  #text(token: string, index: number): string {
    const { name, type } = this.#columns[index]!;
    if (token === "null") {
      throw new MillraceError("usage", `a row has no \`${name}\`, which is part of the key`, {
        where: { column: name },
        hint: `leave such rows out with a check: { check: not-null, column: ${name}, on_fail: reject }`,
      });
    }
    const text = keyText(token.startsWith('"') ? (JSON.parse(token) as string) : token, type);
    if (text === undefined) throw damaged();
    return text;
  }
}

/** Behind the closing quote of the text that begins here. */
function endOfText(line: Buffer, start: number): number {
  if (line[start] !== quote) throw damaged();
  for (let at = start + 1; at < line.length; at++) {
    if (line[at] === backslash) at++;
    else if (line[at] === quote) return at + 1;
  }
  throw damaged();
}

/** Where the comma or the brace behind the value that begins here is. */
function endOfValue(line: Buffer, start: number): number {
  let depth = 0;
  for (let at = start; at < line.length; at++) {
    const byte = line[at]!;
    if (byte === quote) at = endOfText(line, at) - 1;
    else if (byte === 0x7b || byte === 0x5b) depth++;
    else if (byte === 0x7d || byte === 0x5d) {
      if (depth === 0) return at;
      depth--;
    } else if (byte === comma && depth === 0) return at;
  }
  throw damaged();
}

const damaged = (): MillraceError => new MillraceError("internal", "a row is not in the form that it should have");

/**
 * The members of JSON objects, found in their bytes: where each key and value begins and ends. Values are not looked into beyond what it takes to
 * find their end; whether they are well formed is for the engine to say.
 */

const [quote, backslash, colon, comma] = [0x22, 0x5c, 0x3a, 0x2c];
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];
/** Deeper nesting has no data in it. */
const maximumDepth = 100;

/** Four numbers a member: begin and end of the key between its quotes, begin and end of the value. */
export class Members {
  places = new Int32Array(4 * 64);
  count = 0;
  /** Which of them are numbers with a point or an exponent. */
  readonly fractions: number[] = [];
  /** There are line feeds or returns between its tokens. */
  hasBreaks = false;
  /** The first byte after the opening brace, and the closing brace. */
  begin = 0;
  end = 0;

  /** Undefined: these are the members of one object. Else what is wrong. */
  scan(bytes: Uint8Array): string | undefined {
    const { length } = bytes;
    this.count = 0;
    this.fractions.length = 0;
    this.hasBreaks = false;
    let at = this.#skip(bytes, 0);
    if (at >= length || bytes[at] !== openBrace) return "the value is not a JSON object";
    at = this.#skip(bytes, at + 1);
    this.begin = at;
    if (bytes[at] === closeBrace) {
      this.end = at;
      return this.#skip(bytes, at + 1) === length ? undefined : "something follows the JSON object";
    }
    for (;;) {
      if (bytes[at] !== quote) return cut(at, length);
      const key = at + 1;
      at = endOfText(bytes, key);
      if (at < 0) return cut(length, length);
      const keyEnd = at;
      at = this.#skip(bytes, at + 1);
      if (bytes[at] !== colon) return cut(at, length);
      at = this.#skip(bytes, at + 1);
      const value = at;
      at = this.#endOfValue(bytes, at);
      if (at < 0) return at === -2 ? `the value is nested more than ${maximumDepth} deep` : cut(length, length);
      if (at === value) return cut(at, length);
      const place = this.count++ * 4;
      if (place === this.places.length) {
        const more = new Int32Array(this.places.length * 2);
        more.set(this.places);
        this.places = more;
      }
      this.places[place] = key;
      this.places[place + 1] = keyEnd;
      this.places[place + 2] = value;
      this.places[place + 3] = at;
      at = this.#skip(bytes, at);
      if (bytes[at] === comma) {
        at = this.#skip(bytes, at + 1);
        continue;
      }
      if (bytes[at] !== closeBrace) return cut(at, length);
      this.end = at;
      return this.#skip(bytes, at + 1) === length ? undefined : "something follows the JSON object";
    }
  }

  /** The first byte after the value; -1: it has no end, -2: it is nested too deep. */
  #endOfValue(bytes: Uint8Array, at: number): number {
    const { length } = bytes;
    const first = bytes[at];
    if (first === quote) {
      const end = endOfText(bytes, at + 1);
      return end < 0 ? -1 : end + 1;
    }
    if (first === openBrace || first === openBracket) {
      let depth = 0;
      for (; at < length; at++) {
        const byte = bytes[at];
        if (byte === quote) {
          at = endOfText(bytes, at + 1);
          if (at < 0) return -1;
        } else if (byte === 0x0a || byte === 0x0d) this.hasBreaks = true;
        else if (byte === openBrace || byte === openBracket) {
          if (++depth > maximumDepth) return -2;
        } else if ((byte === closeBrace || byte === closeBracket) && --depth === 0) return at + 1;
      }
      return -1;
    }
    // A point, or an exponent of something that is neither `true` nor `false`.
    let isFraction = false;
    const isNumber = first === 0x2d || (first! >= 0x30 && first! <= 0x39);
    for (; at < length; at++) {
      const byte = bytes[at]!;
      if (byte === 0x2e || byte === 0x65 || byte === 0x45) isFraction = true;
      else if (byte === comma || byte === closeBrace || byte <= 0x20) {
        if (isFraction && isNumber) this.fractions.push(this.count);
        return at;
      }
    }
    return -1;
  }

  #skip(bytes: Uint8Array, at: number): number {
    for (;;) {
      const byte = bytes[at];
      if (byte === 0x0a || byte === 0x0d) this.hasBreaks = true;
      else if (byte !== 0x20 && byte !== 0x09) return at;
      at++;
    }
  }
}

const cut = (at: number, length: number): string =>
  at >= length
    ? "the JSON object is cut off, or has a control character in a string"
    : `the value is not JSON: unexpected byte at ${at}`;

/** The closing quote, or -1: also for a string with a line feed or another control character, which JSON does not have. */
function endOfText(bytes: Uint8Array, at: number): number {
  const { length } = bytes;
  for (; at < length; at++) {
    const byte = bytes[at]!;
    if (byte === quote) return at;
    if (byte === backslash) at++;
    else if (byte < 0x20) return -1;
  }
  return -1;
}

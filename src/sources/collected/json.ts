import { MillraceError } from "../../core/index.ts";

/**
 * Where the values of a JSON text stand, so that they go on as they came: numbers of any length, members that are there twice, the order.
 * The text is known to be JSON (`JSON.parse` took it); no value becomes an object here, so that names such as `__proto__` are only names.
 */
export interface Span {
  start: number;
  end: number;
}

const maximumDepth = 100;

const [quote, backslash, comma, openBrace, closeBrace, openBracket, closeBracket] = [
  0x22, 0x5c, 0x2c, 0x7b, 0x7d, 0x5b, 0x5d,
];

/** Throws `parse` for what is not JSON and `limit` for what is nested more than 100 deep. Returns the span of the value. */
export function checkedJson(text: string): Span {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      at = endOfText(text, at) - 1;
      if (at < 0) break;
    } else if (code === openBrace || code === openBracket) {
      if (++depth > maximumDepth) throw new MillraceError("limit", `the JSON is nested more than ${maximumDepth} deep`);
    } else if (code === closeBrace || code === closeBracket) depth--;
  }
  try {
    JSON.parse(text);
  } catch {
    // The message of the parser shows the text.
    throw new MillraceError("parse", "it is not JSON");
  }
  const start = skipSpace(text, 0);
  return { start, end: endOfValue(text, start) };
}

/** After the closing quote of the text that begins at `at`; -1 when it does not end. */
function endOfText(text: string, at: number): number {
  let end = at;
  for (;;) {
    end = text.indexOf('"', end + 1);
    if (end < 0) return -1;
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === backslash) slashes++;
    if (slashes % 2 === 0) return end + 1;
  }
}

function skipSpace(text: string, at: number): number {
  for (;;) {
    const code = text.charCodeAt(at);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return at;
    at++;
  }
}

function endOfValue(text: string, at: number): number {
  const first = text.charCodeAt(at);
  if (first === quote) return endOfText(text, at);
  if (first !== openBrace && first !== openBracket) {
    while (at < text.length) {
      const code = text.charCodeAt(at);
      if (code === comma || code === closeBrace || code === closeBracket || code <= 0x20) break;
      at++;
    }
    return at;
  }
  let depth = 0;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      at = endOfText(text, at);
      continue;
    }
    if (code === openBrace || code === openBracket) depth++;
    else if ((code === closeBrace || code === closeBracket) && --depth === 0) return at + 1;
    at++;
  }
}

export const isObjectAt = (text: string, span: Span): boolean => text.charCodeAt(span.start) === openBrace;

/** The span, when it is that of an object. */
export const objectAt = (text: string, span: Span | undefined): Span | undefined =>
  span !== undefined && isObjectAt(text, span) ? span : undefined;

/** Members of the object, by name; of two with one name the last, as `JSON.parse` has it. Empty for what is no object. */
export function membersAt(text: string, span: Span | undefined): Map<string, Span> {
  const members = new Map<string, Span>();
  const found = objectAt(text, span);
  if (found === undefined) return members;
  let at = skipSpace(text, found.start + 1);
  while (text.charCodeAt(at) === quote) {
    const afterName = endOfText(text, at);
    const raw = text.slice(at + 1, afterName - 1);
    const name = raw.includes("\\") ? (JSON.parse(`"${raw}"`) as string) : raw;
    const start = skipSpace(text, skipSpace(text, afterName) + 1);
    const end = endOfValue(text, start);
    members.delete(name);
    members.set(name, { start, end });
    at = skipSpace(text, end);
    if (text.charCodeAt(at) === comma) at = skipSpace(text, at + 1);
  }
  return members;
}

/** Elements of the array; undefined for what is none. */
export function elementsAt(text: string, span: Span | undefined): Span[] | undefined {
  if (span === undefined || text.charCodeAt(span.start) !== openBracket) return undefined;
  const elements: Span[] = [];
  let at = skipSpace(text, span.start + 1);
  while (text.charCodeAt(at) !== closeBracket) {
    const end = endOfValue(text, at);
    elements.push({ start: at, end });
    at = skipSpace(text, end);
    if (text.charCodeAt(at) === comma) at = skipSpace(text, at + 1);
  }
  return elements;
}

/** The JSON of the value; undefined for `null` and for none. */
export function rawAt(text: string, span: Span | undefined): string | undefined {
  if (span === undefined) return undefined;
  const raw = text.slice(span.start, span.end);
  return raw === "null" ? undefined : raw;
}

/** A text, or the text of a number; undefined for everything else and for the empty text. */
export function textAt(text: string, span: Span | undefined): string | undefined {
  const raw = rawAt(text, span);
  if (raw === undefined) return undefined;
  const first = raw.charCodeAt(0);
  if (first !== quote) return /^-?\d/.test(raw) ? raw : undefined;
  const value = raw.includes("\\") ? (JSON.parse(raw) as string) : raw.slice(1, -1);
  return value === "" ? undefined : value;
}

/** A JSON text for a column: as JSON holds it. Lone halves of surrogates, which no UTF-8 can hold, become U+FFFD. */
export const quoted = (value: string | null | undefined): string =>
  value === undefined || value === null ? "null" : JSON.stringify(value.isWellFormed() ? value : value.toWellFormed());

/** An object of what is left of `members` without the named ones; undefined when nothing is left. */
export function restOf(
  text: string,
  members: ReadonlyMap<string, Span>,
  without: ReadonlySet<string>,
): string | undefined {
  const parts: string[] = [];
  for (const [name, { start, end }] of members) {
    if (!without.has(name)) parts.push(`${JSON.stringify(name)}:${text.slice(start, end)}`);
  }
  return parts.length === 0 ? undefined : `{${parts.join(",")}}`;
}

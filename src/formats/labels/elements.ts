import { createReadStream } from "node:fs";
import { messageOf, MillraceError } from "../../core/index.ts";

export interface Element {
  /** Key of the outermost object that it is in; empty for an element of the outermost list. */
  key: string;
  value: unknown;
}

/** One label or image with all that belongs to it. */
const maximumElement = 64 * 1024 ** 2;
const [quote, backslash, comma, colon] = [0x22, 0x5c, 0x2c, 0x3a];
const opens = new Set([0x7b, 0x5b]);
const closes = new Set([0x7d, 0x5d]);
const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/**
 * The elements of a JSON document one by one: of a list its elements, of an object the elements of its lists, and its other values
 * whole. Memory is that of the largest of them. Throws `parse` for what is no JSON or ends early.
 */
export async function* elementsOf(path: string): AsyncGenerator<Element, void, undefined> {
  let depth = 0;
  let inText = false;
  let escaped = false;
  /** Depth at which elements are: 1 in a list, in an object 1 for values and 2 for those of its lists. */
  let outer: "list" | "object" | undefined;
  let key = "";
  let inList = false;
  let begun = false;
  let over = false;
  let isKey = false;
  /** A comma or a colon stands before: something must follow. */
  let owed = false;
  /** A list that was gone through stands before. */
  let closed = false;
  let held: Buffer[] = [];
  let size = 0;
  const damaged = (what: string): MillraceError => new MillraceError("parse", `it is no JSON: ${what}`);
  const take = (): unknown => {
    const text = Buffer.concat(held, size).toString("utf8");
    held = [];
    size = 0;
    begun = false;
    try {
      return JSON.parse(text) as unknown;
    } catch (cause) {
      throw damaged(messageOf(cause));
    }
  };

  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    let from = 0;
    const keep = (to: number): void => {
      if (begun && to > from) {
        held.push(chunk.subarray(from, to));
        size += to - from;
        if (size > maximumElement) throw new MillraceError("limit", "one of its elements is larger than 64 MiB");
      }
      from = to;
    };
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (inText) {
        if (escaped) escaped = false;
        else if (byte === backslash) escaped = true;
        else if (byte === quote) inText = false;
        continue;
      }
      if (isSpace(byte) || (byte === 0xef && outer === undefined)) continue;
      if (byte >= 0x80 && outer === undefined) continue;
      if (over) throw damaged("something follows its end");
      const level = outer === "list" ? 1 : inList ? 2 : 1;
      if (outer === undefined) {
        if (!opens.has(byte)) throw damaged("it begins with neither an object nor a list");
        outer = byte === 0x7b ? "object" : "list";
        isKey = outer === "object";
        depth = 1;
        continue;
      }
      if (depth === level && (byte === comma || closes.has(byte))) {
        keep(at);
        const end = outer === "list" || inList ? 0x5d : 0x7d;
        if (byte !== comma && byte !== end) throw damaged("brackets that do not fit");
        if (!begun && (owed || byte === comma) && !closed) throw damaged("a value is missing");
        owed = byte === comma;
        closed = false;
        if (begun) {
          if (isKey) throw damaged("a key without a value");
          yield { key: outer === "list" ? "" : key, value: take() };
        }
        if (byte === comma) {
          isKey = outer === "object" && !inList;
          continue;
        }
        depth--;
        // The list was a value.
        closed = inList;
        inList = false;
        if (depth === 0) over = true;
        continue;
      }
      if (isKey && byte === colon && depth === 1) {
        keep(at);
        if (!begun) throw damaged("a value without a key");
        key = String(take());
        isKey = false;
        owed = true;
        continue;
      }
      if (!begun) {
        if (closed) throw damaged("two values without a comma");
        // A list that is a value of the outermost object is gone through.
        if (byte === 0x5b && outer === "object" && depth === 1 && !isKey) {
          inList = true;
          depth = 2;
          owed = false;
          continue;
        }
        begun = true;
        from = at;
      }
      if (byte === quote) inText = true;
      else if (opens.has(byte)) depth++;
      else if (closes.has(byte)) depth--;
    }
    keep(chunk.length);
  }
  if (!over) throw damaged("it ends early");
}

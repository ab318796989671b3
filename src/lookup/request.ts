import type { IncomingMessage } from "node:http";
import { MillraceError, parseJson, type LookupValue } from "../core/index.ts";

/**
 * A key as people type it: the value itself where the key has one column; with several their values separated by commas, or as a JSON list
 * when one of them has a comma. `length`: how many columns the key has, undefined when that is not known. Throws `usage`.
 */
export function parseKey(text: string, length: number | undefined): LookupValue[] {
  if (length === 1) return [text];
  if (text.startsWith("[")) return keyOf(parse(text));
  if (length === undefined) return [text];
  const values = text.split(",");
  if (values.length === length) return values;
  throw new MillraceError("usage", `\`${text.slice(0, 60)}\` is no key of ${length} columns`, {
    hint: "separate the values with commas; where one holds a comma write a JSON list: '[\"a,b\", 7]'",
  });
}

function parse(text: string): unknown {
  try {
    return parseJson(text);
  } catch (cause) {
    throw new MillraceError("usage", "what was sent is not JSON", { cause, hint: '{"keys": ["JFK", "LAX"]}' });
  }
}

/** A key of a request: a value, or a list of values where the key has several columns. */
function keyOf(value: unknown): LookupValue[] {
  const values = Array.isArray(value) ? value : [value];
  for (const each of values) {
    if (typeof each !== "object" || each === null) continue;
    throw new MillraceError("usage", "a key is a value, or a list of the values of its columns", {
      hint: '{"keys": ["JFK", "LAX"]}, or {"keys": [["JFK", 7], ["LAX", 8]]}',
    });
  }
  return values as LookupValue[];
}

export interface LookupQuestion {
  keys: LookupValue[][];
  columns?: string[];
}

/** `?key=JFK&key=LAX&columns=a,b`. */
export function questionOfQuery(query: URLSearchParams, length: number | undefined): LookupQuestion {
  const columns = query.get("columns");
  return {
    keys: query.getAll("key").map((text) => parseKey(text, length)),
    ...(columns === null ? {} : { columns: columns.split(",") }),
  };
}

const known = ["keys", "columns"];

/** `{"keys": […], "columns": […]}`. Throws `usage` for anything else. */
export function questionOfBody(text: string): LookupQuestion {
  const body = parse(text);
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new MillraceError("usage", "the body is no JSON object", { hint: '{"keys": ["JFK", "LAX"]}' });
  }
  const { keys, columns } = body as Record<string, unknown>;
  const unknown = Object.keys(body).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new MillraceError("usage", `the body has \`${unknown.slice(0, 40)}\`, which is not known`, {
      hint: `it may have ${known.map((name) => `\`${name}\``).join(" and ")}`,
    });
  }
  if (!Array.isArray(keys)) {
    throw new MillraceError("usage", "the body has no list of `keys`", { hint: '{"keys": ["JFK", "LAX"]}' });
  }
  const isNames = Array.isArray(columns) && columns.every((name) => typeof name === "string");
  if (columns !== undefined && !isNames) {
    throw new MillraceError("usage", "`columns` is no list of names", { hint: '{"keys": […], "columns": ["delay"]}' });
  }
  return { keys: keys.map(keyOf), ...(columns === undefined ? {} : { columns: columns as string[] }) };
}

/** The body of a request as text. Throws `unsupported` when it is compressed, `limit` when it is larger than `maximum` bytes. */
export async function bodyOf(request: IncomingMessage, maximum: number): Promise<string> {
  if ((request.headers["content-encoding"] ?? "identity") !== "identity") {
    throw new MillraceError("unsupported", "the body is compressed, which lookups do not read", {
      hint: "send it as it is",
    });
  }
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maximum) {
      throw new MillraceError("limit", `the body is larger than ${maximum} bytes`, {
        hint: "ask for fewer keys at once",
      });
    }
    chunks.push(chunk);
  }
  return (chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)).toString("utf8");
}

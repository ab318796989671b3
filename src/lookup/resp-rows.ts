import { MillraceError, suggestion } from "../core/index.ts";
import { chosenReaders, type Lookup } from "./lookup.ts";
import type { EntityIndex, Found } from "./entity-index.ts";
import { foundBytes } from "./forms.ts";
import type { Live } from "./live.ts";
import { parseKey } from "./request.ts";
import type { Replies } from "./resp.ts";
import { valueJson, type ColumnReader } from "./values.ts";

export type Lives = ReadonlyMap<string, Live>;

/** What one client has chosen. */
export interface RespClient {
  replies: Replies;
  /** What GET and MGET give: the row as JSON (database 0) or its packed record (database 1). */
  form: "json" | "packed";
  /** Whether it has said that it leaves. */
  leaving: boolean;
}

export interface RespOptions {
  /** Keys of one command. */
  maxKeys: number;
  /** Bytes of the rows of one reply. */
  maxAnswerBytes: number;
}

/** Keys of one lookup. */
interface Question {
  lookup: Lookup;
  keys: string[][];
}

/** All keys of a command are of one lookup, so that its reply is of one version. Throws `usage`, `limit`, `not-found`. */
export function questionOf(words: readonly string[], lives: Lives, { maxKeys }: RespOptions): Question {
  if (words.length > maxKeys) {
    throw new MillraceError("limit", `${words.length} keys were asked for; at most ${maxKeys} are answered at once`);
  }
  const first = nameOf(words[0]!);
  const live = lives.get(first);
  if (live === undefined) {
    throw new MillraceError("not-found", `there is no lookup \`${first.slice(0, 100)}\``, {
      hint: suggestion(first.slice(0, 100), [...lives.keys()]),
    });
  }
  const { lookup } = live;
  const keys = words.map((word) => {
    if (nameOf(word) === first) return parseKey(word.slice(first.length + 1), lookup.key?.length) as string[];
    throw new MillraceError("usage", "the keys of one command are of one lookup", { hint: "send several commands" });
  });
  return { lookup, keys };
}

function nameOf(word: string): string {
  const colon = word.indexOf(":");
  if (colon >= 0) return word.slice(0, colon);
  throw new MillraceError("usage", "a key is the name of a lookup, `:` and the key", { hint: "GET flights:JFK" });
}

/** A key that is no value of its column is an error, because a reply has nothing but the row or nil to say of a key. */
function assertKeys(invalid: Found["invalid"]): void {
  const [first] = invalid;
  if (first !== undefined) throw new MillraceError("usage", `\`${first.column}\`: ${first.problem}`);
}

/** How many of the keys are there. */
export async function countRows({ lookup, keys }: Question): Promise<number> {
  if (lookup.index !== undefined) return lookup.index.find(keys).bases.filter((base) => base >= 0).length;
  return (await lookup.get(keys)).rows.filter((row) => row !== undefined).length;
}

/** Replies with the rows of keys, nil for those that are not there. `isList`: also when it is one. */
export function replyRows(
  client: RespClient,
  { lookup, keys }: Question,
  options: RespOptions,
  isList: boolean,
): void | Promise<void> {
  const { replies, form } = client;
  if (lookup.index !== undefined) return replyIndexRows(client, lookup.index, keys, options, isList);
  if (form === "packed") {
    throw new MillraceError("unsupported", `\`${lookup.name}\` is a published copy, whose rows are answered as JSON`, {
      hint: "SELECT 0",
    });
  }
  return lookup.get(keys).then(({ rows, invalid }) => {
    assertKeys(invalid);
    if (isList) replies.array(rows.length);
    for (const row of rows) replyText(client, row === undefined ? undefined : valueJson(row));
  });
}

function replyIndexRows(
  { replies, form }: RespClient,
  index: EntityIndex,
  keys: string[][],
  options: RespOptions,
  isList: boolean,
): void {
  const found = index.find(keys);
  assertKeys(found.invalid);
  if (foundBytes(found) > options.maxAnswerBytes) {
    throw new MillraceError("limit", `the rows of ${keys.length} keys are more than ${options.maxAnswerBytes} bytes`, {
      hint: "ask for fewer keys at once",
    });
  }
  if (isList) replies.array(keys.length);
  const readers = form === "json" ? [...index.readers.values()] : [];
  for (const base of found.bases) {
    if (base < 0) replies.nil();
    else if (form === "packed") replies.blob(found.bytes, base, base + found.view.getUint32(base, true));
    else replies.text(rowJson(readers, found, base));
  }
}

function rowJson(readers: readonly ColumnReader[], found: Found, base: number): string {
  return `{${readers.map((reader) => `${JSON.stringify(reader.name)}:${reader.json(found, base)}`).join(",")}}`;
}

/** Values of one row as text, as the fields of a hash are; undefined: null, or there is no row. */
export interface Fields {
  names: readonly string[];
  values: readonly (string | undefined)[];
}

/** Gives `reply` the fields of one row: those named, or all. Throws `usage` for a column that is not there. */
export function withFields(
  { lookup, keys }: Question,
  columns: readonly string[] | undefined,
  reply: (fields: Fields) => void,
): void | Promise<void> {
  const { index } = lookup;
  if (index === undefined) {
    return lookup.get(keys, columns === undefined ? {} : { columns }).then(({ rows: [row = {}], invalid }) => {
      assertKeys(invalid);
      const names = columns ?? Object.keys(row);
      reply({ names, values: names.map((name) => plainText(valueJson(row[name] ?? null))) });
    });
  }
  const readers = chosenReaders(index, columns);
  const found = index.find(keys);
  assertKeys(found.invalid);
  const base = found.bases[0]!;
  const values = base < 0 ? [] : readers.map((reader) => plainText(reader.json(found, base)));
  reply({ names: readers.map(({ name }) => name), values });
}

/** Text without its quotes; lists and maps stay JSON. */
function plainText(json: string): string | undefined {
  if (json === "null") return undefined;
  return json.startsWith('"') ? (JSON.parse(json) as string) : json;
}

export function replyText({ replies }: RespClient, value: string | undefined): void {
  if (value === undefined) replies.nil();
  else replies.text(value);
}

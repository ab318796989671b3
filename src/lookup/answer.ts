import type { LookupValue } from "../core/index.ts";
import { chosenReaders, type LookupResult } from "./lookup.ts";
import type { EntityIndex, Found } from "./entity-index.ts";
import { valueJson } from "./values.ts";

/** Which version an answer is of, and how old it is. */
export interface Staleness {
  lookup: string;
  version: number;
  /** Milliseconds since the epoch; undefined when it is not known. */
  published: number | undefined;
}

type Keys = readonly (readonly LookupValue[])[];

/**
 * The JSON of an answer:
 *
 *     { "lookup": "flights", "version": 7, "published": "2026-11-23T08:00:00.000Z", "age_seconds": 61.2,
 *       "rows": [{ "origin": "JFK", … }, null], "missing": ["XXX"] }
 *
 * `rows` are in the order of the keys. `invalid` is there when a key was no key at all.
 */
function document(
  { lookup, version, published }: Staleness,
  now: number,
  rows: string,
  missing: string,
  invalid: string,
): string {
  const time = published === undefined ? "null" : `"${new Date(published).toISOString()}"`;
  const age = published === undefined ? "null" : String(ageSeconds(published, now));
  const wrong = invalid === "" ? "" : `,"invalid":[${invalid}]`;
  return `{"lookup":${JSON.stringify(lookup)},"version":${version},"published":${time},"age_seconds":${age},"rows":[${rows}],"missing":[${missing}]${wrong}}`;
}

/** Seconds, to the millisecond; a clock that goes behind the writer's gives no negative age. */
export const ageSeconds = (published: number, now: number): number => Math.max(0, now - published) / 1000;

/** A key as it was asked for: the value, or a list of them where the key has several columns. */
const keyJson = (key: readonly LookupValue[]): string => valueJson(key.length === 1 ? key[0]! : [...key]);

function invalidJson(invalid: LookupResult["invalid"], keys: Keys): string {
  return invalid
    .map(
      ({ index, column, problem }) =>
        `{"key":${keyJson(keys[index]!)},"column":${JSON.stringify(column)},"problem":${JSON.stringify(problem)}}`,
    )
    .join(",");
}

/** The answer of an index, without an object a row. */
export function foundJson(
  lookup: string,
  index: EntityIndex,
  found: Found,
  keys: Keys,
  columns: readonly string[] | undefined,
  now: number,
): string {
  const readers = chosenReaders(index, columns).map((reader) => ({
    start: `${JSON.stringify(reader.name)}:`,
    reader,
  }));
  let rows = "";
  let missing = "";
  for (const [place, base] of found.bases.entries()) {
    if (place > 0) rows += ",";
    if (base < 0) {
      rows += "null";
      missing += `${missing === "" ? "" : ","}${keyJson(keys[place]!)}`;
      continue;
    }
    let separator = "{";
    for (const { start, reader } of readers) {
      rows += separator + start + reader.json(found, base);
      separator = ",";
    }
    rows += separator === "{" ? "{}" : "}";
  }
  const staleness = { lookup, version: index.version, published: index.published };
  return document(staleness, now, rows, missing, invalidJson(found.invalid, keys));
}

/** The same document for rows that are objects. */
export function resultJson(lookup: string, result: LookupResult, keys: Keys, now: number): string {
  const missing = keys.filter((_, place) => result.rows[place] === undefined).map(keyJson);
  const rows = result.rows.map((row) => valueJson(row));
  return document({ ...result, lookup }, now, rows.join(","), missing.join(","), invalidJson(result.invalid, keys));
}

import { crc32 } from "node:zlib";
import { MillraceError, parseDecimal, type Column, type DataType, type LookupValue } from "../../core/index.ts";

/*
 * Of a target `flights` with the prefix `millrace:` there are
 *
 *   millrace:{flights}:current                 a string, the JSON of a `Publication`: which version readers are to look at
 *   millrace:{flights}:generations             a hash, the JSON of a `Generation` by name: what was begun and is not removed yet
 *   millrace:flights:<generation>:<bucket>     hashes of rows: key → the row as JSON, and an empty field that says that all is there
 *
 * The bucket of a key is the CRC-32 of its field modulo the number of buckets; the field is the JSON of a list with the text of each key
 * column. What is switched together lies in one slot of a cluster, and rows are spread over all of them.
 */
export interface Publication {
  dataset: string;
  version: number;
  run: string | null;
  erasures: number;
  key: string[];
  columns: Column[];
  rows: number;
  generation: string;
  buckets: number;
  /** ISO 8601. */
  published_at: string;
}

export interface Generation {
  buckets: number;
  /** Milliseconds since the epoch. */
  started: number;
  /** Nobody may switch to it any more. */
  dead?: boolean;
}

const rowsPerBucket = 256;
const maximumBuckets = 1 << 20;

export const bucketsFor = (rows: number): number =>
  Math.min(maximumBuckets, Math.max(1, Math.ceil(rows / rowsPerBucket)));
export const currentKey = (prefix: string, target: string): string => `${prefix}{${target}}:current`;
export const generationsKey = (prefix: string, target: string): string => `${prefix}{${target}}:generations`;
export const bucketKey = (prefix: string, target: string, generation: string, bucket: number): string =>
  `${prefix}${target}:${generation}:${bucket}`;
/** In every bucket; one without it was given up by the server. */
export const marker = "";
export const bucketOf = (field: string | Buffer, buckets: number): number => crc32(field) % buckets;

/** The text of a value of a key column, the same for all ways to write it; undefined: no row can have it. */
export function keyText(value: LookupValue, type: DataType): string | undefined {
  if (value === null || (typeof value === "object" && !(value instanceof Uint8Array))) {
    throw new MillraceError("usage", value === null ? "a key cannot be null" : "a key cannot be nested");
  }
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  const text = String(value);
  if (type === "int" || type === "long") return /^[+-]?\d+$/.test(text) ? String(BigInt(text)) : undefined;
  if (type === "float" || type === "double") return numberText(Number(text));
  if (type === "boolean") return /^(true|false)$/i.test(text) ? text.toLowerCase() : undefined;
  if (type === "uuid" || type === "binary") return text.toLowerCase();
  return typeof type === "string" && parseDecimal(type) ? decimalText(text) : text;
}

const numberText = (value: number): string => (Object.is(value, -0) ? "0" : String(value));

/** Without zeros that say nothing: `1.50` and `1.5` are one key. */
function decimalText(text: string): string | undefined {
  const [, sign, whole, part = ""] = /^([+-]?)0*(\d*)(?:\.(\d*?)0*)?$/.exec(text) ?? [];
  if (whole === undefined || (whole === "" && part === "" && !/\d/.test(text))) return undefined;
  const digits = `${whole === "" ? "0" : whole}${part === "" ? "" : `.${part}`}`;
  return sign === "-" && digits !== "0" ? `-${digits}` : digits;
}

/** The field of a row under its bucket. */
export const fieldOf = (texts: readonly string[]): string => JSON.stringify(texts);

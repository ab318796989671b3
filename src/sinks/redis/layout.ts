import type { Column } from "../../core/index.ts";

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

export const currentKey = (prefix: string, target: string): string => `${prefix}{${target}}:current`;
export const generationsKey = (prefix: string, target: string): string => `${prefix}{${target}}:generations`;
export const bucketKey = (prefix: string, target: string, generation: string, bucket: number): string =>
  `${prefix}${target}:${generation}:${bucket}`;
/** In every bucket; one without it was given up by the server. */
export const marker = "";

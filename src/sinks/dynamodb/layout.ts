import type { Column } from "../../core/index.ts";
import type { Key } from "./table.ts";

/*
 * Of a target `flights` there are in the table
 *
 *   pk `t#flights`, sk `current`                        `publication`: which version readers are to look at, JSON
 *   pk `t#flights`, sk `generation#<generation>`        `state`: what was begun and is not removed yet, JSON
 *   pk `r#flights#<generation>#<bucket>`, sk `<key>`    `row`: the row as JSON, numbers with all their digits
 *
 * The sort key of a row is the JSON of a list with the text of each key column, and its bucket the CRC-32 of that modulo the number of buckets.
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
  /** When readers were switched away from it, milliseconds since the epoch. */
  left?: number;
  /** Nobody may switch to it any more. */
  dead?: boolean;
}

const generationMark = "generation#";
export const currentKey = (target: string): Key => ({ pk: `t#${target}`, sk: "current" });
export const generationKey = (target: string, generation: string): Key => ({
  pk: `t#${target}`,
  sk: `${generationMark}${generation}`,
});
export const generationOf = (sk: string): string | undefined =>
  sk.startsWith(generationMark) ? sk.slice(generationMark.length) : undefined;
export const partitionOf = (target: string, generation: string, bucket: number): string =>
  `r#${target}#${generation}#${bucket}`;

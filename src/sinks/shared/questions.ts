import { crc32 } from "node:zlib";
import {
  jsonReader,
  MillraceError,
  suggestion,
  type Column,
  type LookupRequest,
  type LookupValue,
} from "../../core/index.ts";
import { fieldOf, keyText } from "./row-key.ts";

const rowsPerBucket = 256;
const maximumBuckets = 1 << 20;

/** Over how many buckets so many rows are spread. */
export const bucketsFor = (rows: number): number =>
  Math.min(maximumBuckets, Math.max(1, Math.ceil(rows / rowsPerBucket)));

/** The bucket of a key. */
export const bucketOf = (field: string, buckets: number): number => crc32(field) % buckets;

/** What is to be known of a copy to look something up in it. */
export interface Copy {
  key: readonly string[];
  columns: Column[];
  buckets: number;
}

export interface Questions {
  /** Fields of each bucket, each once, and the places in the answer that they are for. */
  buckets: Map<number, { field: string; places: number[] }[]>;
  /** The wanted columns of a row. */
  read: (line: string) => Record<string, LookupValue>;
}

/** Throws `usage` for keys of another length and `not-found` for columns that there are not. */
export function questionsOf({ key, columns, buckets: count }: Copy, request: LookupRequest): Questions {
  const types = key.map((name) => columns.find((column) => column.name === name)!.type);
  const fields = chosen(columns, request.columns, request.target);
  const buckets: Questions["buckets"] = new Map();
  const known = new Map<string, { field: string; places: number[] }>();
  for (const [place, values] of request.keys.entries()) {
    if (values.length !== types.length) {
      const of = `the key of the target ${types.length} columns`;
      throw new MillraceError("usage", `a key has ${values.length} values, and ${of}`);
    }
    const texts = values.map((value, index) => keyText(value, types[index]!));
    if (texts.includes(undefined)) continue;
    const field = fieldOf(texts as string[]);
    const earlier = known.get(field);
    if (earlier !== undefined) {
      earlier.places.push(place);
      continue;
    }
    const question = { field, places: [place] };
    known.set(field, question);
    const bucket = bucketOf(field, count);
    const others = buckets.get(bucket);
    if (others === undefined) buckets.set(bucket, [question]);
    else others.push(question);
  }
  return { buckets, read: jsonReader({ type: "struct", fields }) as (line: string) => Record<string, LookupValue> };
}

function chosen(columns: Column[], names: readonly string[] | undefined, target: string): Column[] {
  return (
    names?.map((name) => {
      const column = columns.find((candidate) => candidate.name === name);
      if (column !== undefined) return column;
      throw new MillraceError("not-found", `\`${target}\` has no column \`${name}\``, {
        where: { column: name },
        hint: suggestion(
          name,
          columns.map((candidate) => candidate.name),
        ),
      });
    }) ?? columns
  );
}

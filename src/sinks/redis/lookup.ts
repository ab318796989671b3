import {
  MillraceError,
  suggestion,
  throwIfAborted,
  type Column,
  type LookupReply,
  type LookupRequest,
  type LookupValue,
} from "../../core/index.ts";
import { jsonValue } from "../shared/json-values.ts";
import type { Client } from "./client.ts";
import { bucketKey, bucketOf, currentKey, fieldOf, keyText, marker, type Publication } from "./layout.ts";

/** How often a lookup begins again because another version came in between. */
const tries = 5;

interface Place {
  prefix: string;
  target: string;
}

/**
 * Rows by key in one round trip: what is current is asked for together with the rows of what was current last, and the answer counts when
 * that is still so. `known` keeps what was current.
 */
export async function getRows(
  client: Client,
  place: Place,
  request: LookupRequest,
  known: Map<string, { text: string; publication: Publication }>,
): Promise<LookupReply> {
  const current = (): Promise<string | null> => client.get(currentKey(place.prefix, place.target));
  for (let attempt = 1; attempt <= tries; attempt++) {
    throwIfAborted(request.signal);
    const before = known.get(place.target) ?? remember(place, await current(), known);
    const asked = questionsOf(before.publication, request);
    const [now, ...answers] = await Promise.all([
      current(),
      ...[...asked.buckets].map(([bucket, fields]) =>
        client.hmgetBuffer(
          bucketKey(place.prefix, place.target, before.publication.generation, bucket),
          marker,
          ...fields.map(({ field }) => field),
        ),
      ),
    ]);
    if (now !== before.text) {
      remember(place, now, known);
      continue;
    }
    const rows = Array.from<Record<string, LookupValue> | undefined>({ length: request.keys.length });
    for (const [index, fields] of [...asked.buckets.values()].entries()) {
      const [whole, ...values] = answers[index]!;
      if (whole === null) throw lost(place, before.publication);
      for (const [at, { places }] of fields.entries()) {
        const value = values[at];
        if (value === null || value === undefined) continue;
        for (const position of places) rows[position] = asked.read(value.toString("utf8"));
      }
    }
    return { version: before.publication.version, rows };
  }
  throw new MillraceError("conflict", `\`${place.target}\` was published anew again and again during a lookup`, {
    temporary: true,
  });
}

function remember(
  place: Place,
  text: string | null,
  known: Map<string, { text: string; publication: Publication }>,
): { text: string; publication: Publication } {
  if (text === null) {
    known.delete(place.target);
    throw new MillraceError("not-found", `nothing was published to \`${place.target}\``, { hint: "millrace publish" });
  }
  const entry = { text, publication: JSON.parse(text) as Publication };
  known.set(place.target, entry);
  return entry;
}

interface Questions {
  /** Fields of each bucket, and the places in the answer that they are for. */
  buckets: Map<number, { field: string; places: number[] }[]>;
  read: (line: string) => Record<string, LookupValue>;
}

function questionsOf({ key, columns, buckets: count }: Publication, request: LookupRequest): Questions {
  const types = key.map((name) => columns.find((column) => column.name === name)!.type);
  const wanted = chosen(columns, request.columns, request.target);
  const buckets: Questions["buckets"] = new Map();
  const known = new Map<string, { field: string; places: number[] }>();
  for (const [place, values] of request.keys.entries()) {
    if (values.length !== types.length) {
      throw new MillraceError(
        "usage",
        `a key has ${values.length} values, and the key of the target ${types.length} columns`,
      );
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
  const type = { type: "struct", fields: wanted } as const;
  return { buckets, read: (line) => jsonValue(line, type) as Record<string, LookupValue> };
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

const lost = ({ target }: Place, { version, dataset }: Publication): MillraceError =>
  new MillraceError(
    "corrupt",
    `rows of \`${target}\` are gone: the server has given them up, or was started without them`,
    {
      hint: `set \`maxmemory-policy noeviction\`, and publish ${dataset}@${version} again`,
    },
  );

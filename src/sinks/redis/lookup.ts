import {
  MillraceError,
  throwIfAborted,
  type LookupReply,
  type LookupRequest,
  type LookupValue,
} from "../../core/index.ts";
import type { Client } from "./client.ts";
import { questionsOf } from "../shared/questions.ts";
import { bucketKey, currentKey, marker, type Publication } from "./layout.ts";

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

const lost = ({ target }: Place, { version, dataset }: Publication): MillraceError =>
  new MillraceError(
    "corrupt",
    `rows of \`${target}\` are gone: the server has given them up, or was started without them`,
    {
      hint: `set \`maxmemory-policy noeviction\`, and publish ${dataset}@${version} again`,
    },
  );

import {
  forEachLimited,
  MillraceError,
  throwIfAborted,
  type LookupReply,
  type LookupRequest,
  type LookupValue,
} from "../../core/index.ts";
import { questionsOf } from "../shared/questions.ts";
import { currentKey, partitionOf, type Publication } from "./layout.ts";
import { readsAtOnce, textOf, type Item, type Key, type Table } from "./table.ts";

/** How often a lookup begins again because another version came in between. */
const tries = 5;

/**
 * Rows by key. What is current is asked for together with the rows of what was current last, and the answer counts when that is still so.
 * `known` keeps what was current.
 */
export async function getRows(
  table: Table,
  request: LookupRequest,
  known: Map<string, { text: string; publication: Publication }>,
  connections: number,
): Promise<LookupReply> {
  const { target, signal } = request;
  const pointer = currentKey(target);
  const textIn = (items: Map<string, Item>): string | undefined =>
    textOf(items.get(`${pointer.pk}\n${pointer.sk}`), "publication");
  for (let attempt = 1; attempt <= tries; attempt++) {
    throwIfAborted(signal);
    const before = known.get(target) ?? remember(target, textIn(await table.read([pointer], signal)), known);
    const { publication } = before;
    const asked = questionsOf(publication, request);
    const places = new Map<string, number[]>();
    const keys: Key[] = [pointer];
    for (const [bucket, questions] of asked.buckets) {
      const pk = partitionOf(target, publication.generation, bucket);
      for (const { field, places: wanted } of questions) {
        keys.push({ pk, sk: field });
        places.set(`${pk}\n${field}`, wanted);
      }
    }
    const pages = Array.from({ length: Math.ceil(keys.length / readsAtOnce) }, (_, page) =>
      keys.slice(page * readsAtOnce, (page + 1) * readsAtOnce),
    );
    const items = new Map<string, Item>();
    await forEachLimited(pages, connections, async (page) => {
      for (const [name, item] of await table.read(page, signal)) items.set(name, item);
    });
    const now = textIn(items);
    if (now !== before.text) {
      remember(target, now, known);
      continue;
    }
    const rows = Array.from<Record<string, LookupValue> | undefined>({ length: request.keys.length });
    for (const [name, wanted] of places) {
      const line = textOf(items.get(name), "row");
      if (line !== undefined) for (const place of wanted) rows[place] = asked.read(line);
    }
    return { version: publication.version, rows };
  }
  throw new MillraceError("conflict", `\`${target}\` was published anew again and again during a lookup`, {
    temporary: true,
  });
}

function remember(
  target: string,
  text: string | undefined,
  known: Map<string, { text: string; publication: Publication }>,
): { text: string; publication: Publication } {
  if (text === undefined) {
    known.delete(target);
    throw new MillraceError("not-found", `nothing was published to \`${target}\``, { hint: "millrace publish" });
  }
  const entry = { text, publication: JSON.parse(text) as Publication };
  known.set(target, entry);
  return entry;
}

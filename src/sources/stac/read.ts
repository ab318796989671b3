import { MillraceError, throwIfAborted, type RejectedRecord } from "../../core/index.ts";
import { searchItems } from "./api.ts";
import { itemOf, type Item } from "./items.ts";
import type { Entry, PartSpec, Subject } from "./plan.ts";
import { momentIn } from "./position.ts";

/** Items that are fetched one by one at the same time. */
const width = 8;

/**
 * The items of a part as they are now, some at a time; those that are gone are told of in `rejected`. Throws `conflict` for one that is
 * another than when the part was planned.
 */
export async function* itemsOfPart(
  subject: Subject,
  { entries, column }: PartSpec,
  rejected: RejectedRecord[],
  signal: AbortSignal | undefined,
): AsyncGenerator<Item[], void, undefined> {
  const gone = ([id, collection, , href]: Entry): void => {
    const record = JSON.stringify({ id, collection });
    rejected.push({
      reason: "the catalogue does not have it any more",
      origin: href ?? `${collection ?? ""}/${id}`,
      record,
    });
  };
  for (const some of groupsOf(entries, subject.api === undefined ? width : subject.options.page)) {
    throwIfAborted(signal);
    const items =
      subject.api === undefined ? await fetched(subject, some, signal) : await searched(subject, some, signal);
    const given: Item[] = [];
    for (const entry of some) {
      const item = items.get(entry[0]);
      if (item === undefined) {
        gone(entry);
        continue;
      }
      const at = entry[2] === null ? null : momentIn(item, column ?? undefined);
      if (at !== entry[2]) {
        throw new MillraceError("conflict", `the item \`${item.id}\` has changed since the run was planned`, {
          hint: "run again",
        });
      }
      given.push(item);
    }
    yield given;
  }
}

/** Entries that are asked for together: of one collection. */
function* groupsOf(entries: readonly Entry[], size: number): Generator<Entry[]> {
  let some: Entry[] = [];
  for (const entry of entries) {
    if (some.length === size || (some.length > 0 && some[0]![1] !== entry[1])) {
      yield some;
      some = [];
    }
    some.push(entry);
  }
  if (some.length > 0) yield some;
}

async function fetched(
  { client }: Subject,
  entries: readonly Entry[],
  signal: AbortSignal | undefined,
): Promise<Map<string, Item>> {
  const items = await Promise.all(
    entries.map(async ([, , , href]) => {
      try {
        return itemOf(await client.document({ url: new URL(href!) }, signal));
      } catch (error) {
        if (error instanceof MillraceError && error.code === "not-found") return undefined;
        throw error;
      }
    }),
  );
  return new Map(items.flatMap((item) => (item === undefined ? [] : [[item.id, item] as const])));
}

async function searched(
  { client, api, options }: Subject,
  entries: readonly Entry[],
  signal: AbortSignal | undefined,
): Promise<Map<string, Item>> {
  const collection = entries[0]![1];
  const search = { ids: entries.map(([id]) => id), ...(collection === null ? {} : { collections: [collection] }) };
  const found = new Map<string, Item>();
  for await (const items of searchItems(client, api!, search, options.page, signal))
    for (const item of items) if (item.collection === collection) found.set(item.id, item);
  return found;
}

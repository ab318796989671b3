import {
  MillraceError,
  type Column,
  type Cursor,
  type CursorValue,
  type Plan,
  type ReadRequest,
} from "../../core/index.ts";
import { assertCollection, searchItems, type Api, type Search } from "./api.ts";
import type { Client } from "./client.ts";
import { crawl, fits } from "./crawl.ts";
import type { Item } from "./items.ts";
import type { Options, StreamOptions } from "./options.ts";
import { momentIn, nameOf, positionAfter, Progress } from "./position.ts";

/** An item of a part: when it was planned it was of this moment. `href` is where it is found without a search. */
export type Entry = [id: string, collection: string | null, at: string | null, href: string | null];

export interface PartSpec {
  entries: Entry[];
  /** The property that `at` is of. */
  column: string | null;
}

/** Items of a part, and with assets, which are much larger. */
const partItems = 2_000;
const partAssets = 25;

export interface Subject {
  client: Client;
  options: Options;
  /** Undefined for a static catalogue. */
  api: Api | undefined;
}

/** `stream: "*"`: all collections, or those of `options.collections`. */
const isAll = ({ stream }: ReadRequest): boolean => stream === undefined || stream === "*";

/** What a flow asks for, in the words of a search. */
export function searchOf(request: ReadRequest, options: StreamOptions): Search {
  const { bbox, datetime, ids, filter } = options;
  const collections = isAll(request) ? options.collections : [request.stream!];
  return {
    ...(collections === undefined ? {} : { collections }),
    ...(bbox === undefined ? {} : { bbox }),
    ...(datetime === undefined ? {} : { datetime }),
    ...(ids === undefined ? {} : { ids }),
    ...(filter === undefined ? {} : { filter }),
  };
}

/** All items that are new, in parts. Throws `not-found` for a collection that is not there, `limit` for too many items. */
export async function planItems(
  subject: Subject,
  request: ReadRequest,
  options: StreamOptions,
  columns: Column[],
  { after, signal }: { after?: Cursor; signal?: AbortSignal },
): Promise<Plan> {
  const before = positionAfter(request, after);
  const progress = new Progress(request.cursor, before, request.lag ?? 0);
  const search = searchOf(request, options);
  const seen = new Set<string>();
  const entries: Entry[] = [];
  for await (const items of found(subject, search, request.cursor, progress.from, signal)) {
    for (const item of items) {
      const at = momentIn(item, request.cursor);
      const name = nameOf(item);
      // An item that moves while pages are turned may be on two of them.
      if (seen.has(name) || !progress.takes(item, at)) continue;
      seen.add(name);
      entries.push([item.id, item.collection, at, subject.api === undefined ? item.href : null]);
      if (entries.length > subject.options.max_items) {
        throw new MillraceError("limit", `there are more than ${subject.options.max_items} items`, {
          hint: "narrow the search with `bbox` or `datetime`, or raise `max_items`",
        });
      }
    }
  }
  // A search for some of them by their names is within one collection.
  const rank = ([, collection]: Entry): string => collection ?? "";
  entries.sort((left, right) => (rank(left) < rank(right) ? -1 : rank(left) > rank(right) ? 1 : 0));
  const size = options.assets === undefined ? partItems : partAssets;
  const parts = Array.from({ length: Math.ceil(entries.length / size) }, (_, index) => {
    const some = entries.slice(index * size, (index + 1) * size);
    const spec: PartSpec = { entries: some, column: request.cursor ?? null };
    const id = `items-${String(index + 1).padStart(5, "0")}`;
    return { id, spec: spec as unknown as { [key: string]: CursorValue }, rows: some.length };
  });
  const position = progress.position();
  return {
    columns,
    key: options.assets === undefined ? (isAll(request) ? ["collection", "id"] : ["id"]) : [],
    parts,
    ...(position === undefined ? {} : { cursor: position as unknown as Cursor }),
    ...(progress.overlaps ? { overlap: true } : {}),
  };
}

async function* found(
  { client, api, options }: Subject,
  search: Search,
  cursor: string | undefined,
  from: string | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Item[], void, undefined> {
  if (api !== undefined) {
    for (const name of search.collections ?? []) await assertCollection(client, api, name, signal);
    yield* searchItems(client, api, narrowed(api, search, cursor, from), options.page, signal);
    return;
  }
  if (search.filter !== undefined) {
    throw new MillraceError("unsupported", "a static catalogue takes no `filter`", {
      hint: "leave it out, and select with `transform`",
    });
  }
  const collections = new Set<string>();
  const onCollection = (id: string): void => void collections.add(id);
  for await (const items of crawl(client, { wanted: search.collections, items: true, onCollection }, signal))
    yield items.filter((item) => fits(item, search));
  const absent = search.collections?.find((name) => !collections.has(name));
  if (absent === undefined) return;
  throw new MillraceError("not-found", `the catalogue has no collection \`${absent}\``, {
    where: { stream: absent },
    hint: "`millrace discover` lists them",
  });
}

/** A search for what is new only, where the server can tell. What it gives besides is left out here. */
function narrowed(api: Api, search: Search, cursor: string | undefined, from: string | undefined): Search {
  if (cursor === undefined || from === undefined) return search;
  if (cursor === "datetime" && search.datetime === undefined) return { ...search, datetime: `${from}/..` };
  if (cursor === "datetime" || !api.takesFilter) return search;
  const newer = { op: ">=", args: [{ property: cursor }, { timestamp: from }] };
  return { ...search, filter: search.filter === undefined ? newer : { op: "and", args: [search.filter, newer] } };
}

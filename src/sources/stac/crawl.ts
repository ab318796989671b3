import { MillraceError, throwIfAborted } from "../../core/index.ts";
import { pagesOf } from "./api.ts";
import type { Client, Document } from "./client.ts";
import { itemOf, itemsOf, microsOf, type Item } from "./items.ts";
import { linksOf } from "./links.ts";
import type { Search } from "./api.ts";

/** Documents that are fetched at the same time. */
const width = 8;
/** Catalogues within one another; more are a mistake. */
const maximumCatalogues = 100_000;

export interface Crawled {
  /** Ids of collections, each once. */
  onCollection?: (id: string) => void;
  /** Only what is in these collections; all where it is undefined. */
  wanted?: readonly string[] | undefined;
  /** Items are fetched. Without, only collections are found. */
  items: boolean;
}

interface Branch {
  url: URL;
  /** It is in a collection that is wanted. */
  isInside: boolean;
}

/** The items of a static catalogue, by its links `child` and `item`; of a server without search, by `items`. */
export async function* crawl(
  client: Client,
  { onCollection, wanted, items }: Crawled,
  signal: AbortSignal | undefined,
): AsyncGenerator<Item[], void, undefined> {
  const seen = new Set<string>([client.root.href]);
  const branches: Branch[] = [{ url: client.root, isInside: wanted === undefined }];
  let visited = 0;
  while (branches.length > 0) {
    throwIfAborted(signal);
    const now = branches.splice(0, width);
    visited += now.length;
    if (visited > maximumCatalogues)
      throw new MillraceError("limit", `there are more than ${maximumCatalogues} catalogues within one another`);
    const documents = await Promise.all(now.map(({ url }) => client.document({ url }, signal)));
    for (const [index, document] of documents.entries()) {
      const { type, id } = document.value;
      const isCollection = type === "Collection" && typeof id === "string";
      if (isCollection) onCollection?.(id);
      const isInside = now[index]!.isInside || (isCollection && wanted!.includes(id));
      const leaves: URL[] = [];
      const lists: URL[] = [];
      for (const link of linksOf(document)) {
        if (!["child", "item", "items"].includes(link.rel) || seen.has(link.url.href)) continue;
        if (link.rel === "child") branches.push({ url: link.url, isInside });
        else if (link.rel === "item") leaves.push(link.url);
        else lists.push(link.url);
        seen.add(link.url.href);
      }
      if (!items || !isInside) continue;
      for (let at = 0; at < leaves.length; at += width) {
        const found = leaves.slice(at, at + width).map((url) => client.document({ url }, signal));
        yield (await Promise.all(found)).map((document) => itemOf(document));
      }
      for (const url of lists) for await (const page of pagesOf(client, { url }, signal)) yield itemsOf(page);
    }
  }
}

/** Whether an item is what a search asks for, which a static catalogue does not decide itself. */
export function fits({ id, document, properties }: Item, { ids, bbox, datetime }: Search): boolean {
  if (ids !== undefined && !ids.includes(id)) return false;
  if (bbox !== undefined && !meets(document, bbox)) return false;
  return datetime === undefined || isWithin(properties, datetime);
}

function meets({ value }: Document, [west, south, east, north]: readonly number[]): boolean {
  const box = value["bbox"];
  if (!Array.isArray(box) || (box.length !== 4 && box.length !== 6)) return false;
  const [left, bottom, right, top] = (box.length === 4 ? box : [box[0], box[1], box[3], box[4]]).map(Number) as [number, number, number, number]; // prettier-ignore
  if (bottom > north! || top < south!) return false;
  const pieces = (from: number, to: number): [number, number][] => (from <= to ? [[from, to]] : [[from, 180], [-180, to]]); // prettier-ignore
  return pieces(left, right).some(([a, b]) => pieces(west!, east!).some(([c, d]) => a <= d && c <= b));
}

/** One moment, or `from/to` with `..` or nothing for an open end. Throws `config`. */
function isWithin(properties: Item["properties"], datetime: string): boolean {
  const [first, second = first] = datetime.split("/") as [string, string?];
  const edge = (text: string): bigint | undefined => {
    if (text === "" || text === "..") return undefined;
    const micros = microsOf(text);
    if (micros !== undefined) return micros;
    throw new MillraceError("config", `\`datetime\`: \`${text}\` is no moment`, {
      hint: "write `2024-06-01T00:00:00Z`, or `from/to` with `..` for an open end",
    });
  };
  const [from, to] = [edge(first), edge(second)];
  const own = (name: string): bigint | undefined => {
    const value = properties[name];
    return typeof value === "string" ? microsOf(value) : undefined;
  };
  const start = own("start_datetime") ?? own("datetime");
  const end = own("end_datetime") ?? own("datetime");
  if (start === undefined || end === undefined) return false;
  return (from === undefined || end >= from) && (to === undefined || start <= to);
}

import { MillraceError, shownUrl, throwIfAborted } from "../../core/index.ts";
import { notStac, text, type Call, type Client, type Document, type Json } from "./client.ts";
import { itemsOf, type Item } from "./items.ts";
import { linksOf, nextCall } from "./links.ts";

/** What a search asks for; undefined members are left out. */
export interface Search {
  collections?: readonly string[];
  bbox?: readonly number[];
  datetime?: string;
  ids?: readonly string[];
  /** CQL2 as JSON. */
  filter?: Json;
}

/** How an API is searched. */
export interface Api {
  search: URL;
  /** Takes what is asked for as JSON; else in the URL. */
  takesPost: boolean;
  /** Takes `filter` as CQL2 JSON. */
  takesFilter: boolean;
  collections: URL | undefined;
}

/** How the server behind a landing page is searched; undefined when it is a static catalogue. */
export function apiOf(landing: Document): Api | undefined {
  const links = linksOf(landing);
  const searches = links.filter(({ rel }) => rel === "search");
  const [search] = [...searches.filter(({ method }) => method === "POST"), ...searches];
  if (search === undefined) return undefined;
  const conforms = (Array.isArray(landing.value["conformsTo"]) ? landing.value["conformsTo"] : []).map(String);
  const says = (pattern: RegExp): boolean => conforms.some((each) => pattern.test(each));
  return {
    search: search.url,
    takesPost: search.method === "POST",
    takesFilter: search.method === "POST" && says(/item-search#filter/) && says(/cql2-json/),
    collections: links.find(({ rel }) => rel === "data")?.url,
  };
}

function callOf(api: Api, search: Search, limit: number): Call {
  if (api.takesPost) {
    const filter = search.filter === undefined ? {} : { "filter-lang": "cql2-json" };
    return { url: api.search, method: "POST", body: { ...(search as Json), ...filter, limit } };
  }
  if (search.filter !== undefined) {
    throw new MillraceError("unsupported", "the API takes no `filter`: it cannot be searched with POST", {
      hint: "leave `filter` out, and select with `transform`",
    });
  }
  const url = new URL(api.search);
  for (const name of ["collections", "bbox", "datetime", "ids"] as const) {
    const value = search[name];
    if (value !== undefined) url.searchParams.set(name, typeof value === "string" ? value : value.join(","));
  }
  url.searchParams.set("limit", String(limit));
  return { url };
}

/** The items that are found, page by page. Throws `unsupported` for pages that lead in a circle. */
export async function* searchItems(
  client: Client,
  api: Api,
  search: Search,
  limit: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Item[], void, undefined> {
  for await (const page of pagesOf(client, callOf(api, search, limit), signal)) yield itemsOf(page);
}

/** Documents that follow each other by their links `next`. */
export async function* pagesOf(
  client: Client,
  first: Call,
  signal: AbortSignal | undefined,
): AsyncGenerator<Document, void, undefined> {
  const seen = new Set<string>();
  for (let call: Call | undefined = first; call !== undefined;) {
    throwIfAborted(signal);
    const key = `${call.url.href} ${text(call.body ?? null)}`;
    if (seen.has(key)) {
      throw new MillraceError("unsupported", `the pages of \`${shownUrl(call.url)}\` lead in a circle`, {
        hint: "its links `next` do not follow the STAC API specification",
      });
    }
    seen.add(key);
    const page: Document = await client.document(call, signal);
    yield page;
    call = nextCall(page, call);
  }
}

/** Names of the collections. */
export async function* listCollections(
  client: Client,
  api: Api,
  signal: AbortSignal | undefined,
): AsyncGenerator<string, void, undefined> {
  if (api.collections === undefined) return;
  for await (const page of pagesOf(client, { url: api.collections }, signal)) {
    const { collections } = page.value;
    if (!Array.isArray(collections)) throw notStac(page.url);
    for (const collection of collections as Json[]) if (typeof collection["id"] === "string") yield collection["id"];
  }
}

/** Throws `not-found` for a collection that is not there. */
export async function assertCollection(
  client: Client,
  api: Api,
  name: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (api.collections === undefined) return;
  const url = new URL(api.collections);
  url.pathname = `${url.pathname.replace(/\/$/, "")}/${encodeURIComponent(name)}`;
  url.search = "";
  await client.document({ url }, signal);
}

import { parseHttpUrl } from "../../core/index.ts";
import type { Call, Document, Json } from "./client.ts";

/** A link of a document, as STAC API 1.0 has them: with `method`, `body`, `headers` and `merge` for what is asked with POST. */
export interface Link {
  rel: string;
  url: URL;
  method: string;
  type: string | undefined;
  body: Json | undefined;
  headers: Readonly<Record<string, string>>;
  merge: boolean;
}

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The links of a document that lead somewhere. */
export function linksOf({ url, value }: Document): Link[] {
  const links = Array.isArray(value["links"]) ? (value["links"] as unknown[]) : [];
  return links.flatMap((link): Link[] => {
    if (!isObject(link) || typeof link["href"] !== "string" || typeof link["rel"] !== "string") return [];
    let target: URL;
    try {
      target = parseHttpUrl(link["href"], url);
    } catch {
      return [];
    }
    const { type, method, body, headers, merge } = link;
    const own = isObject(headers) && target.origin === url.origin ? Object.entries(headers) : [];
    return [
      {
        rel: link["rel"],
        url: target,
        method: typeof method === "string" ? method.toUpperCase() : "GET",
        type: typeof type === "string" ? type : undefined,
        body: isObject(body) ? body : undefined,
        headers: Object.fromEntries(
          own.filter(([, each]) => typeof each === "string").map(([name, each]) => [name, each as string]),
        ),
        merge: merge === true,
      },
    ];
  });
}

export const linkOf = (document: Document, rel: string): Link | undefined =>
  linksOf(document).find((link) => link.rel === rel);

/** What asks for the page after this one; undefined at the end. */
export function nextCall(document: Document, previous: Call): Call | undefined {
  const next = linkOf(document, "next");
  if (next === undefined) return undefined;
  if (next.method !== "POST") return { url: next.url, headers: next.headers };
  const body = next.merge ? { ...previous.body, ...next.body } : (next.body ?? {});
  const headers = next.merge ? { ...previous.headers, ...next.headers } : next.headers;
  return { url: next.url, method: "POST", body, headers };
}

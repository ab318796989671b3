import { MillraceError, throwIfAborted } from "../../core/index.ts";
import type { Match } from "./attributes.ts";
import type { Service } from "./service.ts";

export interface SearchRequest {
  path: string;
  /** Attributes to match, and what else the answer shall hold. */
  parameters: readonly (readonly [string, string])[];
  pageSize: number;
  /** What tells one match from another. */
  identify: (match: Match) => string;
  /** How many there are, if that is known: a page that is not full is the last one then. */
  expected?: number;
}

/** How often a list that moves while it is read is begun again. */
const tries = 5;

/**
 * All matches of a search, page by page, each once. Servers count an `offset` anew for each page, so what is removed meanwhile would
 * move others out of sight: each page begins with the last match of the one before, and where it does not, the list is read again.
 * A page that is not full may be that of a server which gives fewer than it was asked for: the next one is asked for nevertheless.
 * Throws `conflict` for a list that does not hold still, `unsupported` for a server without pages.
 */
export async function* search(
  service: Service,
  request: SearchRequest,
  signal?: AbortSignal,
): AsyncGenerator<Match, void, undefined> {
  const { path, parameters, pageSize, identify, expected = Infinity } = request;
  const seen = new Set<string>();
  for (let attempt = 1; attempt <= tries; attempt++) {
    let before: string[] = [];
    for (let offset = 0; ;) {
      throwIfAborted(signal);
      const page = await service.matches(
        path,
        [...parameters, ["limit", String(pageSize)], ["offset", String(offset)]],
        signal,
      );
      const names = page.map(identify);
      if (before.length > 1 && isSame(names, before)) {
        // A server that knows no `offset` gives all at once, or never more than the first page.
        if (names.length !== pageSize) return;
        throw new MillraceError("unsupported", `\`${service.root}${path}\` gives the same page for every \`offset\``, {
          hint: `set \`page_size\` to more than all there are (it is ${pageSize})`,
        });
      }
      // What the list has lost lets the others move up.
      if (before.length > 0 && names[0] !== before.at(-1)) break;
      for (const [index, name] of names.entries()) {
        if (seen.has(name)) continue;
        seen.add(name);
        yield page[index]!;
      }
      const fresh = names.length - (before.length > 0 ? 1 : 0);
      if (fresh <= 0 || (names.length < pageSize && seen.size >= expected)) return;
      offset += names.length - 1;
      before = names;
    }
  }
  throw new MillraceError(
    "conflict",
    `the list of \`${service.root}${path}\` moved each of ${tries} times it was read`,
    {
      temporary: true,
      hint: "run again when less is removed from the server, or narrow `query`",
    },
  );
}

const isSame = (left: readonly string[], right: readonly string[]): boolean =>
  left.length === right.length && left.every((each, index) => each === right[index]);

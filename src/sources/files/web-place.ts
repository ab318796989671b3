import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import {
  forEachLimited,
  identityOf,
  isMillraceError,
  MillraceError,
  parseHttpUrl,
  shownUrl,
  throwIfAborted,
  type RandomAccess,
  type Store,
} from "../../core/index.ts";
import { openLocal, type Found, type Place } from "./places.ts";
import { look, openParts, type Web, type WebFile } from "./web.ts";

/** How long what a server said of a file is taken for what it would say again, milliseconds. */
const validMs = 30_000;

interface Known {
  url: URL;
  found?: { file: WebFile; at: number };
}

/**
 * Files behind URLs. They are called by their addresses without queries, which may hold secrets and then change from run to run.
 * `list`: the name of the list that the addresses are from; what cannot be had of those is told of. Of others it is an error: throws
 * `config` for what is no URL of a file.
 */
export function webPlace(
  addresses: readonly string[],
  web: Web,
  cached: (store: Store) => Store,
  list?: string,
): Place {
  const files = new Map<string, Known>();
  const wrong = new Map<string, string>();
  for (const [name, url] of named(urlsOf(addresses, list === undefined ? undefined : wrong))) files.set(name, { url });

  const fresh = async (name: string, signal: AbortSignal | undefined): Promise<WebFile> => {
    const known = files.get(name);
    if (known === undefined) throw unknownFile(name);
    // What could only be had whole is what it was when it came.
    if (known.found?.file.copy !== undefined) return known.found.file;
    const file = await look(web, known.url, name, signal);
    known.found = { file, at: performance.now() };
    return file;
  };
  const current = (name: string, signal?: AbortSignal): Promise<WebFile> => {
    const found = files.get(name)?.found;
    return found !== undefined && performance.now() - found.at < validMs
      ? Promise.resolve(found.file)
      : fresh(name, signal);
  };
  const open = async ({ path: name }: Pick<Found, "path">): Promise<RandomAccess> => {
    const file = await current(name);
    if (file.copy === undefined) return openParts(web, file, name);
    const copy = await openLocal({ path: file.copy, name });
    return {
      size: file.size,
      modified: file.modified,
      ...(file.revision === undefined ? {} : { etag: file.revision }),
      read: (offset, length, signal) => copy.read(offset, length, signal),
      [Symbol.asyncDispose]: () => copy[Symbol.asyncDispose](),
    };
  };
  const store = cached(storeOf((path) => open({ path: path.replace(/#[0-9a-f]{16}$/, "") })));

  return {
    id: "",
    looks: 8,
    patterns: list === undefined ? [...files.keys()] : [list],
    ...(list === undefined ? {} : { stream: list }),
    async list(wanted, signal) {
      const found: Found[] = [];
      const names = list === undefined ? [...new Set(wanted)] : [...files.keys()];
      await forEachLimited(names, 8, async (name, index) => {
        try {
          const { size, modified, revision } = await fresh(name, signal);
          found[index] = { path: name, name, size, modified, ...(revision === undefined ? {} : { revision }) };
        } catch (error) {
          throwIfAborted(signal);
          if (list === undefined || !isMillraceError(error)) throw error;
          found[index] = absent(name, error.message);
        }
      });
      for (const [name, problem] of wrong) found.push(absent(name, problem));
      return found.sort((left, right) => (left.name < right.name ? -1 : 1));
    },
    below: (_, stream) => (files.has(stream) ? stream : undefined),
    streamName: ({ name }) => name,
    async check(signal) {
      const names = [...files.keys()].slice(0, list === undefined ? undefined : 1);
      await forEachLimited(names, 8, async (name) => void (await fresh(name, signal)));
    },
    assertReadable: async () => undefined,
    open,
    async hold(wanted, signal) {
      const { path: name, size: bytes, modified, revision } = wanted;
      const identity = identityOf({ modified, ...(revision === undefined ? {} : { etag: revision }) });
      const file = await current(name, signal);
      if (file.copy === undefined) {
        const path = keyOf(name, file.url);
        const release = await store.hold!([{ path, bytes, identity }], signal);
        return { path: store.copy!(path, identity), release };
      }
      if (file.size !== bytes || file.revision !== revision) {
        throw new MillraceError("conflict", `\`${name}\` has changed since it was listed`, {
          where: { file: name },
          hint: "run again, once nobody writes to the file",
        });
      }
      return { path: file.copy, release: async () => undefined };
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      for (const { found } of files.values()) if (found?.file.copy) await rm(found.file.copy, { force: true });
    },
  };
}

const short = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);

/** What a copy is kept under: two contents of one address differ in their queries. */
const keyOf = (name: string, url: URL): string => (url.search === "" ? name : `${name}#${short(url.search)}`);

const absent = (name: string, problem: string): Found => {
  return { path: name, name, size: 0, modified: 0, unreadable: `cannot be had: ${problem}`, isAway: true };
};

/** Notes in `wrong` what is no URL, by what stands in its place; throws it when there is no such map. */
function urlsOf(addresses: readonly string[], wrong: Map<string, string> | undefined): Map<string, URL> {
  const urls = new Map<string, URL>();
  for (const address of addresses) {
    let url: URL;
    try {
      url = parseHttpUrl(address);
    } catch (error) {
      if (wrong === undefined || !isMillraceError(error)) throw error;
      // Without what may be a secret.
      wrong.set(
        address
          .replace(/\/\/[^/@]*@/, "//")
          .replace(/\?.*$/, "")
          .slice(0, 500),
        error.message,
      );
      continue;
    }
    if (wrong === undefined && /[*[\]]|%7b|\{/i.test(url.pathname)) {
      throw new MillraceError(
        "config",
        `\`${shownUrl(url)}\` is a pattern, and servers of HTTP do not list their files`,
        {
          hint: "name each file in `path`",
        },
      );
    }
    urls.set(url.href, url);
  }
  return urls;
}

function named(urls: ReadonlyMap<string, URL>): Map<string, URL> {
  const names = [...urls.values()].map(shownUrl);
  // Queries tell them apart then, and are no secret as long as they are hashed.
  const counts = Map.groupBy(names, (name) => name);
  const isTwin = (name: string): boolean => counts.get(name)!.length > 1;
  return new Map(
    [...urls.values()].map((url) => {
      const name = shownUrl(url);
      return [isTwin(name) ? `${name}?${short(url.search).slice(0, 8)}` : name, url];
    }),
  );
}

function unknownFile(name: string): MillraceError {
  return new MillraceError("not-found", `\`${name}\` is not in \`path\` any more`, { where: { file: name } });
}

/** As much of a store as a read cache needs. */
function storeOf(open: Store["open"]): Store {
  const refuse = async (): Promise<never> => {
    throw new MillraceError("unsupported", "files behind URLs can only be read");
  };
  return {
    url: "web",
    open,
    check: async () => undefined,
    read: refuse,
    write: refuse,
    adopt: refuse,
    remove: refuse,
    // oxlint-disable-next-line require-yield
    async *list() {
      await refuse();
    },
    uri: (path) => path,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import {
  forEachLimited,
  identityOf,
  MillraceError,
  parseHttpUrl,
  shownUrl,
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
 * Throws `config` for what is no URL of a file.
 */
export function webPlace(addresses: readonly string[], web: Web, cached: (store: Store) => Store): Place {
  const files = new Map<string, Known>();
  for (const [name, url] of named(addresses)) files.set(name, { url });

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
    patterns: [...files.keys()],
    async list(wanted, signal) {
      const found: Found[] = [];
      await forEachLimited([...new Set(wanted)], 8, async (name, index) => {
        const { size, modified, revision } = await fresh(name, signal);
        found[index] = { path: name, name, size, modified, ...(revision === undefined ? {} : { revision }) };
      });
      return found.sort((left, right) => (left.name < right.name ? -1 : 1));
    },
    below: (_, stream) => (files.has(stream) ? stream : undefined),
    streamName: ({ name }) => name,
    async check(signal) {
      await forEachLimited([...files.keys()], 8, async (name) => void (await fresh(name, signal)));
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

function named(addresses: readonly string[]): Map<string, URL> {
  const urls = new Map<string, URL>();
  for (const address of addresses) {
    const url = parseHttpUrl(address);
    if (/[*[\]]|%7b|\{/i.test(url.pathname)) {
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
  const names = [...urls.values()].map(shownUrl);
  // Queries tell them apart then, and are no secret as long as they are hashed.
  const isTwin = (name: string): boolean => names.indexOf(name) !== names.lastIndexOf(name);
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

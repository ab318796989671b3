import { extname, matchesGlob, posix } from "node:path";
import {
  isMillraceError,
  localFile,
  MillraceError,
  suggestion,
  throwIfAborted,
  identityOf,
  type KnownFile,
  type LeftOut,
  type RandomAccess,
  type Store,
} from "../../core/index.ts";
import type { Found, Place, Wanted } from "./places.ts";
import { globBase, globCharacters } from "./scratch.ts";

/** Files in a store. Of one that is elsewhere the engine reads copies, each held for as long as a part of the run needs it. */
export function storePlace(store: Store, configured: readonly string[], connection: string): Place {
  const patterns = configured.map(normal);
  return {
    id: store.url,
    looks: 16,
    patterns,
    async list(wanted, signal) {
      const found = new Map<string, Found>();
      for (const pattern of wanted) {
        for (const file of await listPattern(store, normal(pattern), connection, signal)) found.set(file.path, file);
      }
      return [...found.values()].sort((left, right) => (left.name < right.name ? -1 : left.name > right.name ? 1 : 0));
    },
    below(pattern, stream) {
      const base = baseOf(pattern);
      const target = posix.join("/", base, stream).slice(1);
      const inside = base === "" || target === base || target.startsWith(`${base}/`);
      return inside && !stream.split("/").includes("..") ? target : undefined;
    },
    streamName(file) {
      const base = patterns.length === 1 ? baseOf(patterns[0]!) : "";
      return base !== "" && file.path.startsWith(`${base}/`) ? file.path.slice(base.length + 1) : file.name;
    },
    async check(signal) {
      // A bucket may hold millions: that something can be listed says that all can.
      throwIfAborted(signal);
      const base = baseOf(patterns[0]!);
      await store.list(base)[Symbol.asyncIterator]().next();
    },
    assertReadable: async () => undefined,
    open: ({ path }) => store.open(path),
    async hold(file, signal) {
      const known = knownOf(file);
      if (store.hold !== undefined) {
        const release = await store.hold([known], signal);
        return { path: store.copy!(known.path, known.identity), release };
      }
      await assertUnchanged(store, file);
      return { path: localFile(store, known.path), release: async () => undefined };
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function knownOf({ path, size, modified, revision }: Wanted): KnownFile & { identity: string } {
  return {
    path,
    bytes: size,
    identity: identityOf({ modified, ...(revision === undefined ? {} : { etag: revision }) }),
  };
}

/** A store of this machine is read in place. */
async function assertUnchanged(store: Store, file: Wanted): Promise<void> {
  await using bytes: RandomAccess = await store.open(file.path);
  if (bytes.size === file.size && identityOf(bytes) === knownOf(file).identity) return;
  throw new MillraceError("conflict", `\`${file.name}\` has changed since it was listed`, {
    where: { file: file.name },
    hint: "run again, once nobody writes to the file",
  });
}

/** `./in/`, `/in` and `in` are one place in a store. */
function normal(pattern: string): string {
  return pattern
    .replace(/^(?:\.?\/)+/, "")
    .replace(/\/+$/, "")
    .replace(/^\.$/, "");
}

function baseOf(pattern: string): string {
  if (globCharacters.test(pattern)) return normal(globBase(pattern));
  return extname(pattern) === "" ? pattern : normal(posix.dirname(pattern));
}

/** A path may be that of a file, of a folder with all below it, or a glob; a literal name goes before a glob. */
async function listPattern(
  store: Store,
  pattern: string,
  connection: string,
  signal: AbortSignal | undefined,
): Promise<Found[]> {
  throwIfAborted(signal);
  const isGlob = globCharacters.test(pattern);
  if (!isGlob && pattern !== "") {
    const file = await lookUp(store, pattern);
    if (file !== undefined) return [file];
  }
  const base = isGlob ? normal(globBase(pattern)) : pattern;
  const rest = base === "" ? pattern : pattern.slice(base.length + 1);
  const below: { file: Found; inside: string }[] = [];
  const note = (path: string, { size, modified, etag }: Omit<LeftOut, "name" | "why">, why?: string): void => {
    const inside = base === "" ? path : path.slice(base.length + 1);
    if (isHidden(inside)) return;
    const revision = etag === undefined ? {} : { revision: etag };
    const unreadable = why === undefined ? {} : { unreadable: why };
    const file = { path, name: path, size, modified: Math.trunc(modified), ...revision, ...unreadable };
    below.push({ file, inside: why === undefined ? inside : plainParts(inside).join("/") });
  };
  for await (const entry of store.list(base, (object) => note(object.name, object, object.why))) {
    throwIfAborted(signal);
    note(entry.path, entry);
  }
  if (!isGlob && below.length > 0) return below.map(({ file }) => file);
  const literal = below.filter(({ file }) => file.path === pattern || file.path.startsWith(`${pattern}/`));
  const matches = literal.length > 0 ? literal : below.filter(({ inside }) => isGlob && matchesGlob(inside, rest));
  if (matches.length > 0) return matches.map(({ file }) => file);
  const near = isGlob ? below.map(({ file }) => file.path) : await siblingsOf(store, pattern);
  throw new MillraceError(
    "not-found",
    isGlob
      ? `no object of \`${store.url}\` matches \`${pattern}\``
      : `\`${pattern}\` does not exist in \`${store.url}\``,
    {
      where: { connection, file: pattern },
      hint:
        near.length > 0
          ? suggestion(isGlob ? pattern : posix.basename(pattern), near)
          : `\`millrace discover ${connection}\` shows what there is`,
    },
  );
}

/** Markers of folders and, as on disk, temporary files and markers of other tools (`_SUCCESS`, `.crc`). */
function isHidden(inside: string): boolean {
  return inside.endsWith("/") || plainParts(inside).some((part) => part.startsWith(".") || part.startsWith("_"));
}

/** What of a name is in doubt is nothing that a glob would ask for: `a//..\\b.csv` is looked for as `a/b.csv`. */
function plainParts(inside: string): string[] {
  return inside.split(/[/\\]/).filter((part) => !["", ".", ".."].includes(part));
}

/** A store may hold millions of objects: this many are looked at for a name like the one that is not there. */
const siblingSample = 1000;

async function siblingsOf(store: Store, path: string): Promise<string[]> {
  const folder = normal(posix.dirname(path));
  const names = new Set<string>();
  let seen = 0;
  for await (const entry of store.list(folder)) {
    names.add(entry.path.slice(folder === "" ? 0 : folder.length + 1).split("/")[0]!);
    if (++seen === siblingSample) break;
  }
  return [...names];
}

async function lookUp(store: Store, path: string): Promise<Found | undefined> {
  try {
    await using bytes = await store.open(path);
    const { size, modified = 0, etag } = bytes;
    return { path, name: path, size, modified: Math.trunc(modified), ...(etag !== undefined && { revision: etag }) };
  } catch (error) {
    if (isMillraceError(error) && error.code === "not-found") return undefined;
    throw error;
  }
}

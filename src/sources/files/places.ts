import { access, constants, open } from "node:fs/promises";
import { dirname, extname, join, resolve, sep } from "node:path";
import { MillraceError, systemCode, type RandomAccess, type SourceContext } from "../../core/index.ts";
import type { FilesOptions } from "./index.ts";
import { listFiles, nameOf } from "./list.ts";
import { configuredPaths, globBase, globCharacters, isAddress, isWebAddress, ownScratch } from "./scratch.ts";
import { storePlace } from "./store-place.ts";
import { addressesIn } from "./url-list.ts";

/** A file as the listing found it. */
export interface Found {
  /** On this machine absolute, in a store its path there. */
  path: string;
  /** As people name it: relative to the configuration where it lies below it, with `/`; in a store its path. */
  name: string;
  size: number;
  /** Milliseconds since the epoch. */
  modified: number;
  /** The etag of a store that has them. */
  revision?: string;
  /** Why nobody can read it: it is told of instead. */
  unreadable?: string;
  /** That it may have been there before, and may come back. */
  isAway?: boolean;
}

/** A file as far as its content must be known. `size` is that of the whole file. */
export type Wanted = Pick<Found, "path" | "name" | "size" | "modified" | "revision">;

/** A local file with the content of one, there until it is released. */
export interface Held {
  path: string;
  release: () => Promise<void>;
}

/** Where the files of a connection are: on this machine or in a store. */
export interface Place {
  /** Tells files of the same path in several places apart. */
  readonly id: string;
  /** How many files may be looked at together: more where each look is a request. */
  readonly looks: number;
  readonly patterns: readonly string[];
  /** The name of the one stream that all files are, where they are not to be told apart by folder. */
  readonly stream?: string;
  /** The files of the patterns, each once, by name. Throws `not-found` for a path that does not exist or a glob without a match. */
  list(patterns: readonly string[], signal?: AbortSignal): Promise<Found[]>;
  /** The pattern of a stream below the one pattern that is configured; undefined when it leads out. */
  below(pattern: string, stream: string): string | undefined;
  /** How people would name a file within the connection: below its path, else as it is. */
  streamName(file: Found): string;
  /** Reaches the files. Throws what is wrong. */
  check(signal?: AbortSignal): Promise<void>;
  /** Throws `permission` when the file is known to be unreadable. */
  assertReadable(file: Found): Promise<void>;
  /** The file as it is now. Throws `not-found`. */
  open: (file: Pick<Found, "path" | "name">) => Promise<RandomAccess>;
  /** Throws `conflict` when the file is another one by now, as far as the place can tell. */
  hold(file: Wanted, signal?: AbortSignal): Promise<Held>;
  /** Gives back what the place itself has taken; stores are closed by their owners. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Throws `config` when the options do not say where files are, or nobody can open the store that they name. */
export async function openPlace(options: FilesOptions, context: SourceContext): Promise<Place> {
  const configured = configuredPaths(options);
  // Without a path, all of a store.
  const patterns = configured.length === 0 && options.store !== undefined ? [""] : configured;
  const where = { connection: context.connection };
  if (options.urls !== undefined) {
    if (patterns.length === 0) return openWeb(await addressesIn(options.urls, context), options, context);
    throw new MillraceError("config", "`urls` takes the place of `path` and `store`", { where });
  }
  if (patterns.length === 0) {
    throw new MillraceError("config", "`files` needs `path`", { where, hint: "set `path: data/*.csv`" });
  }
  const addresses = patterns.filter(isAddress);
  if (options.store === undefined && addresses.some(isWebAddress)) {
    const other = patterns.find((pattern) => !isWebAddress(pattern));
    if (other === undefined) return openWeb(addresses, options, context);
    throw new MillraceError("config", `\`path\` names URLs and \`${other}\``, {
      where,
      hint: "one connection or flow reads from one place",
    });
  }
  if (options.store === undefined && addresses.length === 0) return localPlace(patterns, resolve(context.folder));
  if (context.store === undefined) {
    throw new MillraceError("config", "files of a store can only be read within a lake", { where });
  }
  if (options.store !== undefined) {
    if (addresses.length === 0) return storePlace(await context.store(options.store), patterns, context.connection);
    throw new MillraceError("config", `\`path\` is the address \`${addresses[0]}\`, but \`store\` names one already`, {
      where,
      hint: "with `store`, a path begins at the root of the store",
    });
  }
  const roots = new Set(patterns.map((pattern) => /^[a-z][a-z0-9+.-]*:\/\/[^/]*/.exec(pattern)?.[0]));
  const [root] = roots;
  if (roots.size > 1 || root === undefined) {
    throw new MillraceError("config", `\`path\` names several places: ${patterns.join(", ")}`, {
      where,
      hint: "one connection or flow reads from one place",
    });
  }
  return storePlace(
    await context.store(root),
    patterns.map((pattern) => pattern.slice(root.length + 1)),
    context.connection,
  );
}

async function openWeb(
  addresses: readonly string[],
  options: FilesOptions,
  { connection, cached, scratch }: SourceContext,
): Promise<Place> {
  const where = { connection };
  if (cached === undefined) throw new MillraceError("config", "URLs can only be read within a lake", { where });
  const web = {
    allowHosts: options.allow_hosts,
    headers: options.headers,
    scratch: scratch === undefined ? ownScratch() : join(scratch, "files"),
    maximumBytes: options.unpack_max_bytes,
  };
  const cache = await cached();
  const { webPlace } = await import("./web-place.ts");
  return webPlace(addresses, web, cache, options.urls?.path);
}

function localPlace(patterns: readonly string[], folder: string): Place {
  const assertReadable = async (file: Found): Promise<void> => {
    try {
      await access(file.path, constants.R_OK);
    } catch (cause) {
      throw new MillraceError("permission", `\`${file.name}\` cannot be read: ${systemCode(cause)}`, {
        where: { file: file.name },
        cause,
      });
    }
  };
  return {
    id: "",
    looks: 1,
    patterns,
    list: (wanted, signal) => listFiles(wanted, folder, signal),
    below(pattern, stream) {
      const root = globCharacters.test(pattern)
        ? globBase(pattern)
        : extname(pattern) === ""
          ? pattern
          : dirname(pattern);
      const base = resolve(folder, root);
      const target = resolve(base, stream);
      return target === base || target.startsWith(base === "/" ? base : base + sep) ? target : undefined;
    },
    streamName(file) {
      if (patterns.length !== 1) return file.name;
      const base = resolve(folder, globBase(patterns[0]!));
      return file.path.startsWith(base + sep) ? nameOf(file.path, base) : file.name;
    },
    assertReadable,
    async check(signal) {
      for (const file of await listFiles(patterns, folder, signal)) await assertReadable(file);
    },
    open: openLocal,
    hold: async ({ path }) => ({ path, release: async () => undefined }),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** A file of this machine. Throws `not-found`, `permission`. */
export async function openLocal({ path, name }: Pick<Found, "path" | "name">): Promise<RandomAccess> {
  const file = await open(path, "r").catch((cause: unknown) => {
    const code = systemCode(cause) === "ENOENT" ? "not-found" : "permission";
    throw new MillraceError(code, `\`${name}\` cannot be read: ${systemCode(cause)}`, { where: { file: name }, cause });
  });
  const { size, mtimeMs } = await file.stat();
  return {
    size,
    modified: mtimeMs,
    async read(offset, length) {
      const bytes = Buffer.alloc(length);
      for (let done = 0; done < length;) {
        const { bytesRead } = await file.read(bytes, done, length - done, offset + done);
        if (bytesRead === 0) {
          throw new MillraceError("conflict", `\`${name}\` became shorter while it was read`, {
            where: { file: name },
            hint: "run again, once nobody writes to the file",
          });
        }
        done += bytesRead;
      }
      return bytes;
    },
    [Symbol.asyncDispose]: () => file.close(),
  };
}

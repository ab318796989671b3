import { randomUUID } from "node:crypto";
import { join, resolve } from "node:path";
import { MillraceError, suggestion, type Registry, type Store } from "../core/index.ts";
import { withReadCache } from "../dataset/index.ts";
import type { LakeConfig, ResolvedConnection } from "./lake.ts";
import { loadStore, openStore } from "./modules.ts";

/** Bytes of copies when the configuration does not say. */
const defaultMaximumBytes = 20e9;

/** The store as the engine can read it: itself when it is on this machine, else with copies that lie below `cacheFolder`. */
export function readable(store: Store, config: LakeConfig, cacheFolder: string, scratch: string): Store {
  if (store.local) return store;
  return withReadCache(store, {
    folder: join(cacheFolder, "objects"),
    use: join(scratch, "use"),
    maxBytes: config.cache?.maxBytes ?? defaultMaximumBytes,
    onDamaged: (path) => process.emitWarning(`the copy of ${path} in the read cache was damaged and is read again`),
  });
}

/** The stores that sources read files from: each is opened once, and lives as long as the lake. */
export interface SourceStores extends AsyncDisposable {
  /** By the name of a connection, or by an address such as `s3://bucket`. Throws `not-found`, `config`. */
  open(reference: string): Promise<Store>;
  /** Opens all that the configuration refers to, and gives the folders that the engine must be let into. */
  folders(): Promise<string[]>;
  /** What gives a store of somebody else's copies in the same read cache. */
  cached(): Promise<(store: Store) => Store>;
}

export function sourceStores(
  config: LakeConfig,
  registry: Registry,
  connection: (name: string) => Promise<ResolvedConnection>,
  /** Of this process, on the file system of the cache. Made when it is first needed. */
  place: () => Promise<{ cacheFolder: string; scratch: string }>,
): SourceStores {
  const opened = new Map<string, Promise<Store>>();
  const openOne = async (reference: string): Promise<Store> => {
    const { type, options } = await storeOf(reference, registry, connection);
    const store = await openStore(registry, type, options, config.folder);
    if (store.local) return store;
    const { cacheFolder, scratch } = await place();
    return readable(store, config, cacheFolder, scratch);
  };
  const open = (reference: string): Promise<Store> => {
    let store = opened.get(reference);
    if (store === undefined) {
      store = openOne(reference);
      opened.set(reference, store);
      // Who asks again may have more luck.
      store.catch(() => opened.delete(reference));
    }
    return store;
  };
  return {
    open,
    async folders() {
      const folders = new Set<string>();
      for (const reference of await references(config, connection)) {
        // One that cannot be opened is told of by who reads from it; others must not suffer.
        if (/^https?:/i.test(reference)) folders.add((await place()).scratch);
        const found = await storeOf(reference, registry, connection).catch(() => undefined);
        if (found === undefined) continue;
        const { capabilities } = await loadStore(registry, found.type);
        // What is elsewhere is opened when it is read from: its library takes time to load.
        const store = capabilities.local ? await open(reference).catch(() => undefined) : undefined;
        if (store?.local) folders.add(resolve(store.local("")));
        else folders.add((await place()).scratch);
      }
      return [...folders];
    },
    async cached() {
      const { cacheFolder, scratch } = await place();
      // What one of them gives back others may still use.
      return (store) => readable(store, config, cacheFolder, join(scratch, randomUUID()));
    },
    async [Symbol.asyncDispose]() {
      for (const store of opened.values()) await (await store.catch(() => undefined))?.[Symbol.asyncDispose]();
    },
  };
}

/** `s3://bucket` of `s3://bucket/in/*.csv`. */
function addressOf(path: unknown): string | undefined {
  return typeof path === "string" ? /^[a-z][a-z0-9+.-]*:\/\/[^/]*/i.exec(path)?.[0] : undefined;
}

async function references(
  config: LakeConfig,
  connection: (name: string) => Promise<ResolvedConnection>,
): Promise<Set<string>> {
  const found = new Set<string>();
  const addPaths = (...paths: unknown[]): void => {
    for (const path of paths.flat()) {
      const address = addressOf(path);
      if (address !== undefined) found.add(address);
    }
  };
  for (const { from } of Object.values(config.flows)) {
    if (from.connection === undefined) addPaths(from.path);
  }
  for (const name of Object.keys(config.connections)) {
    const resolved = await connection(name).catch(() => undefined);
    if (resolved?.kind === "store") found.add(name);
    if (resolved?.kind !== "source" || resolved.type !== "files") continue;
    const { store, path, paths } = resolved.options;
    if (typeof store === "string") found.add(store);
    else addPaths(path, paths);
  }
  return found;
}

async function storeOf(
  reference: string,
  registry: Registry,
  connection: (name: string) => Promise<ResolvedConnection>,
): Promise<{ type: string; options: Record<string, unknown> }> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//.exec(reference)?.[1];
  if (scheme === undefined) {
    const found = await connection(reference);
    if (found.kind === "store") return found;
    throw new MillraceError("config", `the connection \`${reference}\` is a ${found.kind}, not a store`, {
      where: { connection: reference },
      hint: "`millrace list stores` shows where files can be read from",
    });
  }
  const definition = Object.hasOwn(registry.stores, scheme) ? await loadStore(registry, scheme) : undefined;
  const options = definition?.address?.(reference);
  if (options !== undefined) return { type: scheme, options };
  throw new MillraceError("config", `there is no store for addresses of \`${scheme}://\``, {
    hint: suggestion(scheme, Object.keys(registry.stores)),
  });
}

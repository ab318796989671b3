import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { MillraceError, suggestion, type Registry, type Source, type Store } from "../core/index.ts";
import { openCatalog, type Catalog, type Dataset, type Version } from "../dataset/index.ts";
import { openEngine, type Engine } from "../engine/index.ts";
import type { FeaturesSpec } from "./features-spec.ts";
import type { Flow } from "./flow.ts";
import type { LookupSpec } from "./lookup-spec.ts";
import { loadSource, openSource, openStore, validateOptions } from "./modules.ts";
import { makeScratch, openScratch } from "./scratch.ts";
import { readable, sourceStores } from "./stores.ts";

/** A connection whose references to secrets are resolved. Its options are validated by the module when it is opened. */
export interface ResolvedConnection {
  kind: "source" | "store" | "sink";
  type: string;
  options: Record<string, unknown>;
}

export interface LakeConfig {
  /** Folder that relative paths are taken from: that of the configuration file. */
  folder: string;
  store: { store: string } & Record<string, unknown>;
  connections: Record<string, ResolvedConnection | (() => Promise<ResolvedConnection>)>;
  flows: Record<string, Flow>;
  /** Point-in-time joins, which flows read with `from: { features }`. */
  features?: Record<string, FeaturesSpec>;
  /** What is looked up by key, and how. */
  lookup?: Record<string, LookupSpec>;
  engine?: { memoryLimit?: string; threads?: number; parts?: number };
  /** For a store that is not on this machine. */
  cache?: { path?: string; maxBytes?: number };
}

/** What the verbs of the pipeline work on: the open store, the catalog, the engine and the configuration. */
export interface LakeHandles extends AsyncDisposable {
  readonly config: LakeConfig;
  readonly registry: Registry;
  readonly store: Store;
  readonly catalog: Catalog;
  /** A local folder for spill and for staging where the store is not local. Removed at the end. */
  readonly scratch: string;
  /** Where feeds keep the rows of splits for fast reading. */
  readonly feedCache: string;
  /** Opened on first use. */
  engine(): Promise<Engine>;
  /** Another one, which gives rows in their order and may also touch `folders`. The caller closes it. */
  orderedEngine(options?: { threads?: number; folders?: string[] }): Promise<Engine>;
  /** The store of a connection, or of an address such as `s3://bucket`. It lives as long as the lake. */
  storeAt(reference: string): Promise<Store>;
  /** Throws `not-found` with the nearest name. */
  connection(name: string): Promise<ResolvedConnection>;
  /** The source of a connection, or the built-in `files` source when no name is given. */
  source(name: string | undefined, options?: Record<string, unknown>): Promise<Source>;
  flow(name: string): Flow;
  /** Throws `not-found` with the nearest name. */
  features(name: string): FeaturesSpec;
  /** `orders`, `orders@7`, `orders@gold`. */
  resolve(reference: string): Promise<{ dataset: Dataset; version: Version }>;
}

export function splitReference(reference: string): { name: string; version: string | undefined } {
  const at = reference.lastIndexOf("@");
  return at < 0
    ? { name: reference, version: undefined }
    : { name: reference.slice(0, at), version: reference.slice(at + 1) };
}

function defaultCache(): string {
  return join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "millrace");
}

export async function openHandles(config: LakeConfig, registry: Registry): Promise<LakeHandles> {
  const { store: storeType, ...storeOptions } = config.store;
  const opened = await openStore(registry, storeType, storeOptions, config.folder);
  const cacheFolder = config.cache?.path === undefined ? defaultCache() : resolve(config.folder, config.cache.path);
  const scratch = await openScratch(opened, cacheFolder);
  const store = readable(opened, config, cacheFolder, scratch);
  const catalog = openCatalog(store);
  let engine: Promise<Engine> | undefined;

  const connection = async (name: string): Promise<ResolvedConnection> => {
    const entry = Object.hasOwn(config.connections, name) ? config.connections[name] : undefined;
    if (entry === undefined) {
      throw new MillraceError("not-found", `there is no connection \`${name}\` in the configuration`, {
        hint: suggestion(name, Object.keys(config.connections)),
        where: { connection: name },
      });
    }
    return typeof entry === "function" ? entry() : entry;
  };

  let cacheScratch: Promise<string> | undefined;
  const stores = sourceStores(config, registry, connection, async () => {
    cacheScratch ??= opened.local ? makeScratch(join(cacheFolder, "scratch")) : Promise.resolve(scratch);
    return { cacheFolder, scratch: await cacheScratch };
  });

  /** Folders outside the lake that sources read local files from. */
  const localPaths = async (): Promise<string[]> => {
    const paths: string[] = [];
    const add = async (type: string, options: unknown): Promise<void> => {
      const definition = await loadSource(registry, type);
      if (!definition.localPaths) return;
      paths.push(
        ...definition.localPaths(validateOptions(definition.options, options, `options of \`${type}\``), config.folder),
      );
    };
    for (const flow of Object.values(config.flows)) {
      if (flow.from.path !== undefined) await add("files", filesOptions(flow));
    }
    for (const name of Object.keys(config.connections)) {
      const entry = config.connections[name]!;
      // A connection whose secrets are not resolved yet has none of the local kind to read.
      if (typeof entry === "function") {
        const resolved = await entry().catch(() => undefined);
        if (resolved?.kind === "source") await add(resolved.type, resolved.options).catch(() => undefined);
      } else if (entry.kind === "source") await add(entry.type, entry.options);
    }
    return paths;
  };

  const openOnce = (): Promise<Engine> => {
    engine ??= (async () => {
      const allowed = [scratch, ...(await localPaths()).map((path) => resolve(config.folder, path))];
      if (store.local) allowed.push(store.local(""));
      allowed.push(...(await stores.folders()));
      return openEngine({ ...config.engine, spillFolder: join(scratch, "spill"), allowed });
    })();
    return engine;
  };

  const orderedEngine: LakeHandles["orderedEngine"] = async ({ threads, folders = [] } = {}) => {
    const allowed = [scratch, ...(store.local ? [store.local("")] : []), ...folders];
    const spillFolder = join(scratch, `spill-${randomUUID()}`);
    return openEngine({
      ...config.engine,
      ...(threads !== undefined && { threads }),
      keepOrder: true,
      spillFolder,
      allowed,
    });
  };

  return {
    config,
    registry,
    store,
    catalog,
    scratch,
    feedCache: join(cacheFolder, "feed"),
    engine: openOnce,
    orderedEngine,
    storeAt: (reference) => stores.open(reference),
    connection,
    async source(name, options) {
      const context = {
        folder: config.folder,
        engine: await openOnce(),
        scratch,
        store: (reference: string) => stores.open(reference),
        cached: () => stores.cached(),
      };
      if (name === undefined) return openSource(registry, "files", options ?? {}, { ...context, connection: "files" });
      const found = await connection(name);
      // The objects of a store are files: with the connection go the options of `files`.
      if (found.kind === "store") {
        return openSource(registry, "files", { ...options, store: name }, { ...context, connection: name });
      }
      if (found.kind !== "source") {
        throw new MillraceError("config", `the connection \`${name}\` is a ${found.kind}, not a source`, {
          where: { connection: name },
          hint: "`millrace list sources` shows what can be read",
        });
      }
      return openSource(registry, found.type, { ...found.options, ...options }, { ...context, connection: name });
    },
    flow(name) {
      const flow = Object.hasOwn(config.flows, name) ? config.flows[name] : undefined;
      if (flow === undefined) {
        throw new MillraceError("not-found", `there is no flow \`${name}\` in the configuration`, {
          hint: suggestion(name, Object.keys(config.flows)),
          where: { flow: name },
        });
      }
      return flow;
    },
    features(name) {
      const features = config.features ?? {};
      if (Object.hasOwn(features, name)) return features[name]!;
      throw new MillraceError("not-found", `there are no features \`${name}\` in the configuration`, {
        hint: suggestion(name, Object.keys(features)),
      });
    },
    async resolve(reference) {
      const { name, version } = splitReference(reference);
      const dataset = await catalog.open(name);
      return { dataset, version: dataset.version(version) };
    },
    async [Symbol.asyncDispose]() {
      if (engine) await (await engine)[Symbol.asyncDispose]();
      await stores[Symbol.asyncDispose]();
      await rm(scratch, { recursive: true, force: true });
      if (cacheScratch) await rm(await cacheScratch, { recursive: true, force: true });
      await store[Symbol.asyncDispose]();
    },
  };
}

/** Options of the built-in `files` source for a flow that names paths itself. */
export function filesOptions(flow: Flow): Record<string, unknown> {
  return {
    path: flow.from.path,
    ...(flow.from.connection === undefined ? {} : { store: flow.from.connection }),
    ...(flow.from.format === undefined ? {} : { format: flow.from.format }),
    ...(flow.from.options === undefined ? {} : { options: flow.from.options }),
    ...(flow.from.assets === undefined ? {} : { assets: flow.from.assets }),
  };
}

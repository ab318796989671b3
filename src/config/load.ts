import { dirname } from "node:path";
import { parseSize, type ErrorPlace, type Registry } from "../core/index.ts";
import { impliedFlows } from "../pipeline/features-spec.ts";
import type { LakeConfig, ResolvedConnection } from "../pipeline/lake.ts";
import { readDocument, type ConfigDocument } from "./document.ts";
import { locateConfig } from "./locate.ts";
import { asConfigError, type Path } from "./problems.ts";
import { resolveOptions } from "./references.ts";
import { validate } from "./validate.ts";

export interface LoadedConfig extends LakeConfig {
  /** Absolute path of the configuration. */
  file: string;
  /** What each connection is; known without its secrets. */
  kinds: Record<string, Pick<ResolvedConnection, "kind" | "type">>;
  /** Where `millrace collect` listens. */
  collect?: { host?: string; port?: number; maxConnections?: number; proxies?: string[] };
}

export interface LoadOptions {
  /** The configuration file, or the folder that holds it. Default: the nearest one found upward from `folder`. */
  config?: string;
  /** Where relative paths and the search begin. Default: the current folder. */
  folder?: string;
  registry: Registry;
}

/**
 * Reads and validates a configuration. Secrets of the store are resolved; those of a connection when a command uses it, so
 * that looking at datasets needs no password of a database.
 * Throws `config` with file, line and what is allowed; several problems at once.
 */
export async function loadConfig(options: LoadOptions): Promise<LoadedConfig> {
  const file = await locateConfig(options.config, options.folder ?? process.cwd());
  return interpret(await readDocument(file), file, options.registry);
}

/** A configuration that is already in memory; `folder` is what relative paths are taken from. */
export async function configFrom(value: unknown, folder: string, registry: Registry): Promise<LoadedConfig> {
  return interpret({ value, lineOf: () => undefined }, `${folder}/(in memory)`, registry);
}

async function interpret(document: ConfigDocument, file: string, registry: Registry): Promise<LoadedConfig> {
  const { problems, validated } = await validate(document.value, registry);
  if (validated === undefined) {
    throw asConfigError(
      problems.map((problem) => ({ ...problem, line: document.lineOf(problem.path) })),
      file,
    );
  }
  const folder = dirname(file);
  const placeOf =
    (base: Path, more: ErrorPlace) =>
    (path: Path): ErrorPlace => {
      const line = document.lineOf([...base, ...path]);
      return { ...more, file, ...(line === undefined ? {} : { line }) };
    };
  const { store, config } = validated;
  const connections: LakeConfig["connections"] = {};
  for (const [name, { kind, type, options, schema }] of Object.entries(validated.connections)) {
    connections[name] = async (): Promise<ResolvedConnection> => ({
      kind,
      type,
      options: await resolveOptions(options, schema, folder, placeOf(["connections", name], { connection: name })),
    });
  }
  return {
    file,
    folder,
    store: {
      ...(await resolveOptions(store.options, store.schema, folder, placeOf(["store"], { store: store.type }))),
      store: store.type,
    },
    connections,
    kinds: Object.fromEntries(
      Object.entries(validated.connections).map(([name, { kind, type }]) => [name, { kind, type }]),
    ),
    flows: { ...config.flows, ...impliedFlows(config.flows, config.features) },
    features: config.features,
    lookup: config.lookup,
    ...(config.engine === undefined ? {} : { engine: withoutUndefined(config.engine) }),
    ...(config.cache === undefined ? {} : { cache: cacheOf(config.cache) }),
    ...(config.collect === undefined ? {} : { collect: withoutUndefined(config.collect) }),
  };
}

function cacheOf({ path, maxSize }: { path?: string | undefined; maxSize?: string | undefined }): {
  path?: string;
  maxBytes?: number;
} {
  return withoutUndefined({ path, maxBytes: maxSize === undefined ? undefined : parseSize(maxSize) });
}

function withoutUndefined<Value extends object>(value: Value): { [Key in keyof Value]?: NonNullable<Value[Key]> } {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as {
    [Key in keyof Value]?: NonNullable<Value[Key]>;
  };
}

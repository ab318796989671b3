import type * as z from "zod";
import type { Registry, RegistryEntry } from "../core/index.ts";
import { featuresProblems } from "../pipeline/features-spec.ts";
import { lookupProblems } from "../pipeline/lookup-spec.ts";
import { knownKeys, problemsOf, type Path, type Problem } from "./problems.ts";
import { hasReference } from "./references.ts";
import { configSchema, type Config } from "./schema.ts";
import { unknownName, validateFlow } from "./validate-flow.ts";

type Options = Record<string, unknown>;

/** A configured source, store or sink, with the module's own schema of its options. */
export interface ModuleSpec {
  kind: "source" | "store" | "sink";
  type: string;
  options: Options;
  schema: z.ZodType;
}

export interface Validated {
  store: ModuleSpec;
  connections: Record<string, ModuleSpec>;
  config: Config;
}

/** The built-in store that a plain path means. */
const folderStore = "fs";

/** Checks everything that can be known without a connection and without a secret. Returns what was found, never throws. */
export async function validate(
  value: unknown,
  registry: Registry,
): Promise<{ problems: Problem[]; validated: Validated | undefined }> {
  const result = configSchema.safeParse(value, { reportInput: true });
  if (!result.success) return { problems: problemsOf(result.error, configSchema), validated: undefined };
  const config = result.data;
  const problems: Problem[] = [];
  const store = await validateStore(config.store, registry, problems);
  const connections: Record<string, ModuleSpec> = {};
  for (const [name, connection] of Object.entries(config.connections)) {
    const spec = await validateConnection(name, connection, registry, problems);
    if (spec !== undefined) connections[name] = spec;
  }
  for (const [name, flow] of Object.entries(config.flows)) {
    problems.push(...(await validateFlow(name, flow, config, registry)));
  }
  problems.push(...featuresProblems(config.flows, config.features));
  problems.push(...lookupProblems(config.lookup, Object.keys(config.connections)));
  const sound = problems.length === 0 && store !== undefined;
  return { problems, validated: sound ? { store, connections, config } : undefined };
}

/** `path` is where the options stand, `namePath` where the module is named. */
async function validateModule(
  kind: ModuleSpec["kind"],
  type: string,
  options: Options,
  [path, namePath]: [Path, Path],
  registry: Registry,
  problems: Problem[],
): Promise<ModuleSpec | undefined> {
  const entries: Record<string, RegistryEntry<{ options: z.ZodType }>> = {
    source: registry.sources,
    store: registry.stores,
    sink: registry.sinks,
  }[kind];
  const entry = Object.hasOwn(entries, type) ? entries[type] : undefined;
  if (entry === undefined) {
    problems.push(unknownName(kind, type, Object.keys(entries), namePath));
    return undefined;
  }
  const { options: schema } = await entry.load();
  const parsed = schema.safeParse(options, { reportInput: true });
  if (!parsed.success) {
    problems.push(...withoutReferences(problemsOf(parsed.error, schema, path), options, path));
  }
  return { kind, type, options, schema };
}

/** A value of a reference is not known yet, so what is said about it is not a problem yet. */
function withoutReferences(problems: Problem[], options: Options, base: Path): Problem[] {
  return problems.filter((problem) => {
    if (problem.unknownKey) return true;
    let value: unknown = options;
    for (const step of problem.path.slice(base.length)) {
      value =
        typeof value === "object" && value !== null ? (value as Record<string | number, unknown>)[step] : undefined;
    }
    return !hasReference(value);
  });
}

async function validateConnection(
  name: string,
  { source, store, sink, ...options }: Config["connections"][string],
  registry: Registry,
  problems: Problem[],
): Promise<ModuleSpec | undefined> {
  const path = ["connections", name];
  if (sink !== undefined && source === undefined && store === undefined) {
    return validateModule("sink", sink, options, [path, [...path, "sink"]], registry, problems);
  }
  const takesStore =
    source !== undefined && Object.hasOwn(registry.sources, source) && (await readsStores(registry, source));
  if (sink === undefined && source !== undefined && (store === undefined || takesStore)) {
    const all = store === undefined ? options : { ...options, store };
    return validateModule("source", source, all, [path, [...path, "source"]], registry, problems);
  }
  if (sink === undefined && store !== undefined && source === undefined) {
    return validateModule("store", store, options, [path, [...path, "store"]], registry, problems);
  }
  problems.push({
    path,
    message: `\`connections.${name}\` must have one of \`source\`, \`store\` and \`sink\``,
    hint: "`millrace list` shows what there is",
  });
  return undefined;
}

/** Whether `store` is an option of the source: the name of the connection that its files are in. */
async function readsStores(registry: Registry, source: string): Promise<boolean> {
  return knownKeys((await registry.sources[source]!.load()).options).includes("store");
}

async function validateStore(
  store: Config["store"],
  registry: Registry,
  problems: Problem[],
): Promise<ModuleSpec | undefined> {
  if (typeof store !== "string") {
    const { store: type, ...options } = store;
    return validateModule("store", type, options, [["store"], ["store", "store"]], registry, problems);
  }
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//.exec(store)?.[1];
  if (scheme !== undefined && scheme !== "file") {
    const definition = Object.hasOwn(registry.stores, scheme) ? await registry.stores[scheme]!.load() : undefined;
    const options = definition?.address?.(store);
    if (options !== undefined) {
      return validateModule("store", scheme, options, [["store"], ["store"]], registry, problems);
    }
    problems.push(unknownName("store for addresses of", `${scheme}://`, Object.keys(registry.stores), ["store"]));
    return undefined;
  }
  const options = { path: scheme === "file" ? decodeURIComponent(new URL(store).pathname) : store };
  return validateModule("store", folderStore, options, [["store"], ["store"]], registry, problems);
}

import * as z from "zod";
import {
  MillraceError,
  suggestion,
  type CheckDefinition,
  type Enricher,
  type EnricherCapabilities,
  type EnricherContext,
  type Format,
  type Registry,
  type RegistryEntry,
  type Sink,
  type SinkContext,
  type SinkDefinition,
  type Source,
  type SourceContext,
  type SourceDefinition,
  type Store,
  type StoreDefinition,
} from "../core/index.ts";

async function load<Module>(
  kind: string,
  entries: Record<string, RegistryEntry<Module>>,
  name: string,
): Promise<Module> {
  const entry = Object.hasOwn(entries, name) ? entries[name] : undefined;
  if (entry === undefined) {
    throw new MillraceError("config", `there is no ${kind} \`${name}\``, {
      hint: suggestion(name, Object.keys(entries)),
    });
  }
  return entry.load();
}

export const loadSource = (registry: Registry, name: string): Promise<SourceDefinition> =>
  load("source", registry.sources, name);
export const loadStore = (registry: Registry, name: string): Promise<StoreDefinition> =>
  load("store", registry.stores, name);
export const loadSink = (registry: Registry, name: string): Promise<SinkDefinition> =>
  load("sink", registry.sinks, name);
export const loadCheck = (registry: Registry, name: string): Promise<CheckDefinition> =>
  load("check", registry.checks, name);

/** Options as the module's own schema gives them back, defaults filled in. Throws `config` naming every wrong key. */
export function validateOptions<Schema extends z.ZodType>(
  schema: Schema,
  options: unknown,
  what: string,
): z.output<Schema> {
  const result = schema.safeParse(options);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => {
    const path = issue.path.join(".");
    if (issue.code === "unrecognized_keys") {
      const known = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
      return issue.keys.map((key) => `\`${key}\` is not an option; ${suggestion(key, known)}`).join("; ");
    }
    return path === "" ? issue.message : `\`${path}\`: ${issue.message}`;
  });
  throw new MillraceError("config", `${what}: ${problems.join("; ")}`, {
    hint: "`millrace describe` lists the options",
  });
}

export async function openSource(
  registry: Registry,
  type: string,
  options: unknown,
  context: SourceContext,
): Promise<Source> {
  const definition = await loadSource(registry, type);
  const valid = validateOptions(definition.options, options, `options of \`${context.connection}\``);
  const driver = await definition.load();
  return driver.open(valid, context);
}

export async function openStore(registry: Registry, type: string, options: unknown, folder: string): Promise<Store> {
  const definition = await loadStore(registry, type);
  const valid = validateOptions(definition.options, options, `options of the store \`${type}\``);
  const driver = await definition.load();
  return driver.open(valid, { connection: "store", folder });
}

export async function openSink(
  registry: Registry,
  type: string,
  options: unknown,
  context: SinkContext,
): Promise<Sink> {
  const definition = await loadSink(registry, type);
  const valid = validateOptions(definition.options, options, `options of \`${context.connection}\``);
  return (await definition.load()).open(valid, context);
}

export async function openEnricher(
  registry: Registry,
  type: string,
  options: unknown,
  context: EnricherContext,
): Promise<{ enricher: Enricher; capabilities: EnricherCapabilities }> {
  const definition = await load("enricher", registry.enrichers, type);
  const valid = validateOptions(definition.options, options, `options of the enricher \`${type}\``);
  const enricher = await (await definition.load()).open(valid, context);
  return { enricher, capabilities: definition.capabilities };
}

export async function openFormat(registry: Registry, name: string, options: unknown): Promise<Format> {
  const definition = await load("format", registry.formats, name);
  const valid = validateOptions(definition.options, options ?? {}, `options of the format \`${name}\``);
  return (await definition.load()).open(valid);
}

import type { LoadedConfig } from "../config/index.ts";
import { MillraceError, suggestion, type Collector, type Registry } from "../core/index.ts";

/** The collectors of the named connections, or of all that have one. Throws `usage` when there is none. */
export async function collectorsOf(
  config: LoadedConfig,
  registry: Registry,
  names: readonly string[],
): Promise<{ name: string; collector: Collector }[]> {
  const { loadSource, validateOptions } = await import("../pipeline/modules.ts");
  const collectors = [];
  for (const name of names.length > 0 ? new Set(names) : Object.keys(config.connections)) {
    const entry = Object.hasOwn(config.connections, name) ? config.connections[name] : undefined;
    if (entry === undefined) {
      throw new MillraceError("not-found", `there is no connection \`${name}\` in the configuration`, {
        hint: suggestion(name, Object.keys(config.connections)),
        where: { connection: name },
      });
    }
    const type = config.kinds[name];
    const definition = type?.kind === "source" ? await loadSource(registry, type.type) : undefined;
    if (definition?.collector === undefined) {
      if (names.length === 0) continue;
      throw new MillraceError("usage", `nobody sends to \`${name}\`: it is read from`, {
        where: { connection: name },
        hint: "`millrace run` reads it",
      });
    }
    const { options } = typeof entry === "function" ? await entry() : entry;
    const valid = validateOptions(definition.options, options, `options of \`${name}\``);
    const module = await definition.collector();
    collectors.push({ name, collector: module.collector(valid, { connection: name, folder: config.folder }) });
  }
  if (collectors.length > 0) return collectors;
  throw new MillraceError("usage", "the configuration has no connection that others send to", {
    hint: "write one: `connections: { clicks: { source: clickstream } }`",
  });
}

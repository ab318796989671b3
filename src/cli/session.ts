import { loadConfig, type LoadedConfig } from "../config/index.ts";
import type { Registry } from "../core/index.ts";
import type { Lake } from "../pipeline/index.ts";
import type { Context, GlobalFlags } from "./context.ts";

export async function readConfig(flags: GlobalFlags): Promise<{ config: LoadedConfig; registry: Registry }> {
  const { registry } = await import("../registry.ts");
  const config = await loadConfig({ registry, ...(flags.config === undefined ? {} : { config: flags.config }) });
  return { config, registry };
}

/** Opens the lake of the configuration, and closes it whatever happens. */
export async function withLake<Result>(
  _context: Context,
  flags: GlobalFlags,
  action: (lake: Lake, config: LoadedConfig) => Promise<Result>,
): Promise<Result> {
  const { config, registry } = await readConfig(flags);
  const { openLake } = await import("../pipeline/index.ts");
  await using lake = await openLake(config, registry);
  return await action(lake, config);
}

/** The named datasets, or all of the lake. */
export async function chosenDatasets(lake: Lake, names: readonly string[]): Promise<string[]> {
  return names.length > 0 ? [...names] : lake.catalog.list();
}

/**
 * The SDK: what the command line does, as functions.
 *
 *     import { openLake } from "millrace";
 *
 *     await using lake = await openLake();
 *     const report = await lake.run("orders");
 *     const { rows } = await lake.query("select split, count(*) as rows from orders group by 1");
 */
import { configFrom, loadConfig } from "./config/index.ts";
import type { ConfigInput } from "./config/index.ts";
import type { Registry } from "./core/index.ts";
import { openLake as openPipeline, type Lake, type RunOptions, type RunReport } from "./pipeline/index.ts";
import { registry as builtIn } from "./registry.ts";

export interface OpenOptions {
  /** A configuration file, or the folder that holds one; or the configuration itself. Default: `millrace.yaml` found upward from `folder`. */
  config?: string | ConfigInput;
  /** What relative paths are taken from when `config` is an object, and where the search begins otherwise. Default: the working folder. */
  folder?: string;
  /** Modules of your own beside those of this package, made with `defineSource` and the like. */
  modules?: Partial<Registry>;
}

/**
 * Opens the lake of a configuration. Close it with `await using`.
 * Throws `MillraceError` with the code `config` and file, line and what is allowed.
 */
export async function openLake(options: OpenOptions = {}): Promise<Lake> {
  const folder = options.folder ?? process.cwd();
  const registry = withModules(options.modules);
  const config =
    typeof options.config === "object"
      ? await configFrom(options.config, folder, registry)
      : await loadConfig({ folder, registry, ...(options.config === undefined ? {} : { config: options.config }) });
  return openPipeline(config, registry);
}

/** Opens the lake, runs one flow and closes the lake again. */
export async function run(flow: string, options: OpenOptions & RunOptions = {}): Promise<RunReport> {
  await using lake = await openLake(options);
  return await lake.run(flow, options);
}

function withModules(modules: Partial<Registry> | undefined): Registry {
  if (modules === undefined) return builtIn;
  return {
    sources: { ...builtIn.sources, ...modules.sources },
    stores: { ...builtIn.stores, ...modules.stores },
    sinks: { ...builtIn.sinks, ...modules.sinks },
    enrichers: { ...builtIn.enrichers, ...modules.enrichers },
    runners: { ...builtIn.runners, ...modules.runners },
    formats: { ...builtIn.formats, ...modules.formats },
    checks: { ...builtIn.checks, ...modules.checks },
  };
}

export { defineConfig, type ConfigInput } from "./config/index.ts";
export type * from "./core/index.ts";
export {
  defineCheck,
  defineEnricher,
  defineFormat,
  defineRunner,
  defineSink,
  defineSource,
  defineStore,
  isMillraceError,
  MillraceError,
  registerSecret,
  sqlName,
  sqlString,
} from "./core/index.ts";
export { foldOf } from "./feed/folds.ts";
export { splitOf } from "./feed/split.ts";
export type { Catalog, Dataset, GcOptions, GcReport, VerifyReport, Version } from "./dataset/index.ts";
export type {
  EraseOptions,
  EraseReport,
  ExportOptions,
  ExportReport,
  FeaturesChoice,
  FeaturesExport,
  FeaturesExportOptions,
  Flow,
  FoldReport,
  GetOptions,
  Lake,
  LakeConfig,
  Lookup,
  LookupOptions,
  LookupResult,
  LeakageOptions,
  LeakageReport,
  Publication,
  PublishOptions,
  ReplayOptions,
  Rows,
  CostEstimate,
  RunOptions,
  RunProgress,
  RunReport,
  Selection,
  SplitSpec,
  SourceComparison,
} from "./pipeline/index.ts";

export { findModule, moduleKinds, parseKind, type ModuleKind } from "./find.ts";
export { configFrom, loadConfig, type LoadedConfig, type LoadOptions } from "./load.ts";
export { configNames, locateConfig } from "./locate.ts";
export { defineConfig, type ConfigInput } from "./schema.ts";

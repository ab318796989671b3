import type * as z from "zod";
import type { Check } from "./check.ts";
import type { Format, FormatCapabilities } from "./format.ts";
import type { Source, SourceCapabilities, SourceContext } from "./source.ts";
import type { Store, StoreCapabilities, StoreContext } from "./store.ts";

/** Facts that every module states about itself. Docs, help, forms, JSON schema and the contract tests are derived from them. */
export interface Facts<Options extends z.ZodType, Capabilities> {
  /** Kebab-case; the same as the folder or file. */
  name: string;
  /** As people write it: `PostgreSQL`. */
  title: string;
  /** One sentence. */
  summary: string;
  /** A `z.strictObject` whose every key has `.describe()`; secrets carry `.meta({ secret: true })`. */
  options: Options;
  /** Packages, programs and permissions that it needs beyond an installed Millrace. */
  needs: string[];
  capabilities: Capabilities;
  /** Configurations that work as written once names and secrets are filled in. */
  examples: Example[];
}

export interface Example {
  title: string;
  /** YAML of a connection, a flow or a check. */
  yaml: string;
}

export interface SourceDefinition<Options extends z.ZodType = z.ZodType> extends Facts<Options, SourceCapabilities> {
  kind: "source";
  /** Local folders and files that the engine must be let into; relative ones are taken from `folder`. */
  localPaths?(options: z.output<Options>, folder: string): string[];
  load(): Promise<{ open(options: z.output<Options>, context: SourceContext): Promise<Source> }>;
}

export interface StoreDefinition<Options extends z.ZodType = z.ZodType> extends Facts<Options, StoreCapabilities> {
  kind: "store";
  load(): Promise<{ open(options: z.output<Options>, context: StoreContext): Promise<Store> }>;
}

export interface FormatDefinition<Options extends z.ZodType = z.ZodType> extends Facts<Options, FormatCapabilities> {
  kind: "format";
  /** Without dot: `csv`, `parquet`. Compression suffixes are not part of it. */
  extensions: string[];
  mediaTypes: string[];
  load(): Promise<{ open(options: z.output<Options>): Format }>;
}

export interface CheckDefinition<Options extends z.ZodType = z.ZodType> extends Facts<Options, { rows: boolean }> {
  kind: "check";
  load(): Promise<Check<z.output<Options>>>;
}

/** What the generated registry knows without loading a module. */
export interface RegistryEntry<Module> {
  title: string;
  summary: string;
  load(): Promise<Module>;
}

export interface Registry {
  sources: Record<string, RegistryEntry<SourceDefinition>>;
  stores: Record<string, RegistryEntry<StoreDefinition>>;
  formats: Record<string, RegistryEntry<FormatDefinition>>;
  checks: Record<string, RegistryEntry<CheckDefinition>>;
}

export type Definition = SourceDefinition | StoreDefinition | FormatDefinition | CheckDefinition;

export function defineSource<Options extends z.ZodType>(
  facts: Omit<SourceDefinition<Options>, "kind">,
): SourceDefinition<Options> {
  return { kind: "source", ...facts };
}

export function defineStore<Options extends z.ZodType>(
  facts: Omit<StoreDefinition<Options>, "kind">,
): StoreDefinition<Options> {
  return { kind: "store", ...facts };
}

export function defineFormat<Options extends z.ZodType>(
  facts: Omit<FormatDefinition<Options>, "kind">,
): FormatDefinition<Options> {
  return { kind: "format", ...facts };
}

export function defineCheck<Options extends z.ZodType>(
  facts: Omit<CheckDefinition<Options>, "kind">,
): CheckDefinition<Options> {
  return { kind: "check", ...facts };
}

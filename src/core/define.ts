import type * as z from "zod";
import type { Check } from "./check.ts";
import type { Collector, CollectorContext } from "./collector.ts";
import type { Enricher, EnricherCapabilities, EnricherContext } from "./enricher.ts";
import type { Format, FormatCapabilities } from "./format.ts";
import type { Runner, RunnerCapabilities, RunnerContext } from "./runner.ts";
import type { Sink, SinkCapabilities, SinkContext } from "./sink.ts";
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
  /** A source that others send to: what `millrace collect` runs for it. It reads what its collector has taken in. */
  collector?(): Promise<{ collector(options: z.output<Options>, context: CollectorContext): Collector }>;
}

export interface StoreDefinition<Options extends z.ZodType = z.ZodType> extends Facts<Options, StoreCapabilities> {
  kind: "store";
  /** Options of an address `<name>://…`, the short form of `store:`; undefined when it is none. */
  address?(text: string): Record<string, unknown> | undefined;
  load(): Promise<{ open(options: z.output<Options>, context: StoreContext): Promise<Store> }>;
}

export interface FormatDefinition<Options extends z.ZodType = z.ZodType> extends Facts<Options, FormatCapabilities> {
  kind: "format";
  /** Without dot: `csv`, `parquet`. Compression suffixes are not part of it. */
  extensions: string[];
  mediaTypes: string[];
  load(): Promise<{ open(options: z.output<Options>): Format }>;
}

export interface CheckCapabilities {
  /** It is about single rows, so that failing ones can be rejected. */
  rows: boolean;
  /** It can take out of values what makes them fail. */
  mask?: boolean;
}

export interface CheckDefinition<Options extends z.ZodType = z.ZodType> extends Facts<Options, CheckCapabilities> {
  kind: "check";
  load(): Promise<Check<z.output<Options>>>;
}

export interface SinkDefinition<Options extends z.ZodType = z.ZodType> extends Facts<Options, SinkCapabilities> {
  kind: "sink";
  load(): Promise<{ open(options: z.output<Options>, context: SinkContext): Promise<Sink> }>;
}

export interface EnricherDefinition<Options extends z.ZodType = z.ZodType> extends Facts<
  Options,
  EnricherCapabilities
> {
  kind: "enricher";
  load(): Promise<{ open(options: z.output<Options>, context: EnricherContext): Promise<Enricher> }>;
}

export interface RunnerDefinition<Options extends z.ZodType = z.ZodType> extends Facts<Options, RunnerCapabilities> {
  kind: "runner";
  load(): Promise<{ open(options: z.output<Options>, context: RunnerContext): Promise<Runner> }>;
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
  sinks: Record<string, RegistryEntry<SinkDefinition>>;
  enrichers: Record<string, RegistryEntry<EnricherDefinition>>;
  formats: Record<string, RegistryEntry<FormatDefinition>>;
  runners: Record<string, RegistryEntry<RunnerDefinition>>;
  checks: Record<string, RegistryEntry<CheckDefinition>>;
}

export type Definition =
  | SourceDefinition
  | StoreDefinition
  | SinkDefinition
  | EnricherDefinition
  | FormatDefinition
  | RunnerDefinition
  | CheckDefinition;

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

export function defineSink<Options extends z.ZodType>(
  facts: Omit<SinkDefinition<Options>, "kind">,
): SinkDefinition<Options> {
  return { kind: "sink", ...facts };
}

export function defineEnricher<Options extends z.ZodType>(
  facts: Omit<EnricherDefinition<Options>, "kind">,
): EnricherDefinition<Options> {
  return { kind: "enricher", ...facts };
}

export function defineRunner<Options extends z.ZodType>(
  facts: Omit<RunnerDefinition<Options>, "kind">,
): RunnerDefinition<Options> {
  return { kind: "runner", ...facts };
}

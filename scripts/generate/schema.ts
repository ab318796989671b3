import * as z from "zod";
import { configSchema, engineSchema } from "../../src/config/schema.ts";
import { checkSchema, enrichSchema } from "../../src/pipeline/flow.ts";
import type { FoundModule } from "./modules.ts";

type Json = Record<string, unknown>;

const jsonOf = (schema: z.ZodType): Json => {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Json;
  return rest;
};

/** Options by name, which may be those of JSON schema's own keywords. */
const optionsWithReferences = (options: Json): Json =>
  Object.fromEntries(Object.entries(options).map(([name, schema]) => [name, withReferences(schema)]));

/** In options a text may be a reference (`${env:NAME}`), whatever the option's own rules are. */
function withReferences(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withReferences);
  if (typeof value !== "object" || value === null) return value;
  const { format: _format, pattern: _pattern, secret: _secret, ...rest } = value as Json;
  const inner = Object.fromEntries(
    Object.entries(rest).map(([key, item]) => [
      key,
      key === "properties" ? optionsWithReferences(item as Json) : withReferences(item),
    ]),
  );
  const type = inner["type"];
  if (type === "number" || type === "integer" || type === "boolean") {
    const { description, default: preset, ...bounds } = inner;
    return {
      ...(description === undefined ? {} : { description }),
      ...(preset === undefined ? {} : { default: preset }),
      anyOf: [bounds, { type: "string", pattern: "^\\$\\{[a-z-]+:[^}]*\\}$" }],
    };
  }
  return inner;
}

/** The object schema of a module's options with the key that names the module put in front. */
function named(key: string, { definition }: FoundModule, extra: Json, references: boolean): Json {
  const options = jsonOf(definition.options);
  const own = options["properties"] as Json | undefined;
  const properties = references && own !== undefined ? optionsWithReferences(own) : own;
  return {
    title: definition.title,
    description: definition.summary,
    type: "object",
    properties: { [key]: { const: definition.name, description: definition.summary }, ...extra, ...properties },
    required: [key, ...((options["required"] as string[] | undefined) ?? [])],
    additionalProperties: false,
  };
}

/** One branch per module, chosen by the key that names it, so that an editor shows the problems of that branch only. */
function choice(key: string, modules: readonly FoundModule[], extra: Json, references: boolean): Json {
  return {
    type: "object",
    properties: { [key]: { enum: modules.map((module) => module.definition.name) } },
    required: [key],
    allOf: modules.map((module) => ({
      if: { properties: { [key]: { const: module.definition.name } }, required: [key] },
      // The keyword of JSON schema; nobody awaits this object.
      // oxlint-disable-next-line unicorn/no-thenable
      then: named(key, module, extra, references),
    })),
  };
}

/** JSON schema of `millrace.yaml`, for editors. */
export function editorSchema(modules: readonly FoundModule[]): Json {
  const of = (kind: FoundModule["kind"]): FoundModule[] => modules.filter((module) => module.kind === kind);
  const config = jsonOf(configSchema);
  const properties = config["properties"] as Record<string, Json>;
  const flow = properties["flows"]!["additionalProperties"] as Json & { properties: Record<string, Json> };
  const { check: _check, ...common } = jsonOf(checkSchema)["properties"] as Json;
  flow.properties["checks"] = { ...flow.properties["checks"], items: choice("check", of("checks"), common, false) };
  const { enricher: _enricher, ...commonEnrich } = jsonOf(enrichSchema)["properties"] as Json;
  flow.properties["enrich"] = {
    ...flow.properties["enrich"],
    items: choice("enricher", of("enrichers"), commonEnrich, false),
  };
  properties["store"] = {
    description: properties["store"]!["description"],
    anyOf: [{ type: "string", minLength: 1 }, choice("store", of("stores"), {}, true)],
  };
  properties["connections"] = {
    ...properties["connections"],
    additionalProperties: {
      type: "object",
      anyOf: [
        choice("source", of("sources"), {}, true),
        choice("store", of("stores"), {}, true),
        choice("sink", of("sinks"), {}, true),
      ],
    },
  };
  properties["engine"] = { ...jsonOf(engineSchema), description: properties["engine"]!["description"] };
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Configuration of Millrace (millrace.yaml)",
    ...config,
    properties,
  };
}

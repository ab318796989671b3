import * as z from "zod";

/** One option of a module, as documentation and help show it. */
export interface OptionFact {
  name: string;
  /** As people read it: `text`, `number`, `one of "a", "b"`, `list of text`. */
  type: string;
  required: boolean;
  /** JSON of the default. */
  default?: string;
  description: string;
  secret: boolean;
}

type JsonSchema = z.core.JSONSchema.BaseSchema;

function typeText(schema: JsonSchema): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return `one of ${schema.enum.map((value) => JSON.stringify(value)).join(", ")}`;
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return [...new Set(options.map((option) => typeText(option as JsonSchema)))].join(" or ");
  switch (schema.type) {
    case "string":
      return "text";
    case "integer":
      return "whole number";
    case "number":
      return "number";
    case "boolean":
      return "true or false";
    case "null":
      return "null";
    case "array":
      return `list of ${typeof schema.items === "object" && !Array.isArray(schema.items) ? typeText(schema.items as JsonSchema) : "values"}`;
    case "object":
      return schema.properties === undefined ? "keys and values" : `{ ${Object.keys(schema.properties).join(", ")} }`;
    default:
      return "any value";
  }
}

/** Options of a module, from its schema. */
export function optionFacts(options: z.ZodType): OptionFact[] {
  const schema = z.toJSONSchema(options, { io: "input", unrepresentable: "any" }) as JsonSchema;
  const required = new Set(schema.required);
  return Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const option = property as JsonSchema & { secret?: unknown };
    return {
      name,
      type: typeText(option),
      required: required.has(name),
      ...(option.default === undefined ? {} : { default: JSON.stringify(option.default) }),
      description: option.description ?? "",
      secret: option.secret === true,
    };
  });
}

/** Capabilities as names and words. */
export function capabilityFacts(capabilities: object): [string, string][] {
  return Object.entries(capabilities).map(([name, value]) => [
    name,
    value === true ? "yes" : value === false ? "no" : String(value),
  ]);
}

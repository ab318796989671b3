import { momentText } from "./moment-text.ts";
import type { LookupValue } from "./sink.ts";
import type { Column, DataType } from "./types.ts";

/**
 * A nested value from its JSON, by its type: 64-bit integers are `bigint`, decimals text with their scale, bytes are bytes. Numbers of any length are exact, because their own text is taken.
 */
export function jsonValue(text: string, type: DataType): LookupValue {
  return typed(
    JSON.parse(text, (_, value: unknown, context?: { source?: string }) => numberText(value, context)),
    type,
  );
}

/** A number stands for its text until its type is known. */
class NumberText {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

function numberText(value: unknown, context: { source?: string } | undefined): unknown {
  return typeof value === "number" && context?.source !== undefined ? new NumberText(context.source) : value;
}

function typed(value: unknown, type: DataType): LookupValue {
  if (value === null || value === undefined) return null;
  if (typeof type === "string") return primitive(value instanceof NumberText ? value.text : value, type);
  switch (type.type) {
    case "list":
      return (value as unknown[]).map((item) => typed(item, type.element));
    case "struct": {
      const members = value as Record<string, unknown>;
      return Object.fromEntries(
        type.fields.map((field: Column) => [field.name, typed(members[field.name], field.type)]),
      );
    }
    case "map":
      return Object.fromEntries(
        Object.entries(value as Record<string, unknown>).map(([key, item]) => [key, typed(item, type.value)]),
      );
  }
}

function primitive(value: unknown, type: DataType): LookupValue {
  switch (type) {
    case "long":
      return BigInt(value as string);
    case "int":
    case "double":
      return numberOf(String(value));
    case "float":
      return Math.fround(numberOf(String(value)));
    case "boolean":
      return value === true || value === "true";
    case "binary":
      return new Uint8Array(Buffer.from(String(value).replace(/^\\x/, ""), "hex"));
    default:
      return momentText(String(value), type);
  }
}

const numberOf = (text: string): number => {
  const named: Record<string, number> = {
    inf: Infinity,
    "-inf": -Infinity,
    infinity: Infinity,
    "-infinity": -Infinity,
  };
  return named[text.toLowerCase()] ?? Number(text);
};

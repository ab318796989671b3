import { momentText } from "./moment-text.ts";
import type { LookupValue } from "./sink.ts";
import type { Column, DataType } from "./types.ts";

/**
 * Reads nested values from their JSON, by their type: 64-bit integers are `bigint`, decimals text with their scale, bytes are bytes. Numbers of
 * any length are exact: where a double could not hold one, its own text is taken.
 */
export function jsonReader(type: DataType): (text: string) => LookupValue {
  const exact = exactness(type);
  return (text) => {
    // Without a reviver parsing is ten times faster, and exact where no number is long.
    const needsText = exact === "always" || (exact === "long" && longInteger.test(text));
    return typed(needsText ? JSON.parse(text, numberText) : JSON.parse(text), type);
  };
}

/** Where 16 digits begin a number, or seem to. */
const longInteger = /[:,[]\s*-?\d{16}/;

/** One value; who has many of a type asks `jsonReader` once. */
export const jsonValue = (text: string, type: DataType): LookupValue => jsonReader(type)(text);

/** When the text of a number says more than a double: always for decimals, that have trailing zeros; for integers when it is long. */
function exactness(type: DataType): "always" | "long" | "never" {
  if (typeof type === "string") {
    if (type === "long") return "long";
    return type.startsWith("decimal") ? "always" : "never";
  }
  const inner =
    type.type === "list"
      ? [exactness(type.element)]
      : type.type === "map"
        ? [exactness(type.value)]
        : type.fields.map((field) => exactness(field.type));
  return inner.includes("always") ? "always" : inner.includes("long") ? "long" : "never";
}

/** A number stands for its text until its type is known. */
class NumberText {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

function numberText(_key: string, value: unknown, context?: { source?: string }): unknown {
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
      return BigInt(value as string | number);
    case "int":
    case "double":
      return typeof value === "number" ? value : numberOf(String(value));
    case "float":
      return Math.fround(typeof value === "number" ? value : numberOf(String(value)));
    case "boolean":
      return value === true || value === "true";
    case "binary":
      return new Uint8Array(Buffer.from(String(value).replace(/^\\x/, ""), "hex"));
    default:
      return momentText(String(value), type);
  }
}

const infinities: Record<string, number> = {
  inf: Infinity,
  "-inf": -Infinity,
  infinity: Infinity,
  "-infinity": -Infinity,
};

const numberOf = (text: string): number => infinities[text.toLowerCase()] ?? Number(text);

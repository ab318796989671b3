/**
 * The types of a column. They are Iceberg's (https://iceberg.apache.org/spec/#schemas-and-data-types, format v2), because
 * that is what a dataset can hold; every source maps its own types onto them, and fails with stream and column where it cannot.
 */
export type PrimitiveType =
  | "boolean"
  /** 32 bits, signed. */
  | "int"
  /** 64 bits, signed; `bigint` in JavaScript, always. */
  | "long"
  | "float"
  | "double"
  | "date"
  /** Time of day, microseconds, no zone. */
  | "time"
  /** Microseconds, no zone. */
  | "timestamp"
  /** Microseconds, an instant (stored in UTC). */
  | "timestamptz"
  | "string"
  | "uuid"
  | "binary"
  /** Exact; precision at most 38. */
  | `decimal(${number},${number})`;

export interface StructType {
  type: "struct";
  fields: Column[];
}
export interface ListType {
  type: "list";
  element: DataType;
  /** Iceberg field id of the element. Set by the dataset. */
  elementId?: number;
}
export interface MapType {
  type: "map";
  key: DataType;
  value: DataType;
  /** Iceberg field ids of key and value. Set by the dataset. */
  keyId?: number;
  valueId?: number;
}
export type DataType = PrimitiveType | StructType | ListType | MapType;

export interface Column {
  name: string;
  type: DataType;
  /** True when the column can never be null. Default false. */
  required?: boolean;
  /** What the column holds, as its source says. */
  doc?: string;
  /** Iceberg field id: set by the dataset, kept for ever, also over renames. */
  id?: number;
}

/** `decimal(18,2)` → `{ precision: 18, scale: 2 }`. */
export function parseDecimal(type: string): { precision: number; scale: number } | undefined {
  const match = /^decimal\((\d+),\s*(\d+)\)$/.exec(type);
  return match ? { precision: Number(match[1]), scale: Number(match[2]) } : undefined;
}

/** A type as people read it: `list<struct<a: int>>`. */
export function formatType(type: DataType): string {
  if (typeof type === "string") return type;
  switch (type.type) {
    case "struct":
      return `struct<${type.fields.map((field) => `${field.name}: ${formatType(field.type)}`).join(", ")}>`;
    case "list":
      return `list<${formatType(type.element)}>`;
    case "map":
      return `map<${formatType(type.key)}, ${formatType(type.value)}>`;
  }
}

/** Equality of types, field ids and docs aside. */
export function sameType(left: DataType, right: DataType): boolean {
  return formatType(left) === formatType(right);
}

import { MillraceError } from "./errors.ts";
import { type Column, type DataType, type PrimitiveType, parseDecimal } from "./types.ts";

/** A schema in table metadata: https://iceberg.apache.org/spec/#schemas */
export interface IcebergSchema {
  type: "struct";
  "schema-id": number;
  fields: IcebergField[];
  "identifier-field-ids"?: number[];
}
export interface IcebergField {
  id: number;
  name: string;
  required: boolean;
  type: IcebergType;
  doc?: string;
}
export type IcebergType =
  | string
  | { type: "struct"; fields: IcebergField[] }
  | { type: "list"; "element-id": number; element: IcebergType; "element-required": boolean }
  | {
      type: "map";
      "key-id": number;
      key: IcebergType;
      "value-id": number;
      value: IcebergType;
      "value-required": boolean;
    };

const primitives = new Set<string>([
  "boolean",
  "int",
  "long",
  "float",
  "double",
  "date",
  "time",
  "timestamp",
  "timestamptz",
  "string",
  "uuid",
  "binary",
]);

/** Columns with ids → schema. Every column must have its id. */
export function toIcebergSchema(columns: readonly Column[], schemaId: number): IcebergSchema {
  return { type: "struct", "schema-id": schemaId, fields: columns.map(toField) };
}

function toField(column: Column): IcebergField {
  const field: IcebergField = {
    id: idOf(column.id, column.name),
    name: column.name,
    required: column.required ?? false,
    type: toType(column.type, column.name),
  };
  if (column.doc !== undefined) field.doc = column.doc;
  return field;
}

function toType(type: DataType, name: string): IcebergType {
  if (typeof type === "string") {
    const decimal = parseDecimal(type);
    return decimal ? `decimal(${decimal.precision}, ${decimal.scale})` : type;
  }
  switch (type.type) {
    case "struct":
      return { type: "struct", fields: type.fields.map(toField) };
    case "list":
      return {
        type: "list",
        "element-id": idOf(type.elementId, `${name}.element`),
        element: toType(type.element, name),
        "element-required": false,
      };
    case "map":
      return {
        type: "map",
        "key-id": idOf(type.keyId, `${name}.key`),
        key: toType(type.key, name),
        "value-id": idOf(type.valueId, `${name}.value`),
        value: toType(type.value, name),
        "value-required": false,
      };
  }
}

function idOf(id: number | undefined, name: string): number {
  if (id === undefined) throw new MillraceError("internal", `the column \`${name}\` has no field id`);
  return id;
}

/** Schema → columns with ids. Throws `unsupported` for types that Millrace has no counterpart for. */
export function fromIcebergSchema(schema: IcebergSchema): Column[] {
  return schema.fields.map(fromField);
}

function fromField(field: IcebergField): Column {
  const column: Column = { id: field.id, name: field.name, type: fromType(field.type, field.name) };
  if (field.required) column.required = true;
  if (field.doc !== undefined) column.doc = field.doc;
  return column;
}

function fromType(type: IcebergType, name: string): DataType {
  if (typeof type === "string") {
    if (primitives.has(type)) return type as PrimitiveType;
    const decimal = parseDecimal(type);
    if (decimal) return `decimal(${decimal.precision},${decimal.scale})`;
    if (/^fixed\[\d+\]$/.test(type)) return "binary";
    throw new MillraceError(
      "unsupported",
      `the column \`${name}\` has the Iceberg type \`${type}\`, which Millrace cannot read`,
      {
        where: { column: name },
      },
    );
  }
  switch (type.type) {
    case "struct":
      return { type: "struct", fields: type.fields.map(fromField) };
    case "list":
      return { type: "list", element: fromType(type.element, `${name}.element`), elementId: type["element-id"] };
    case "map":
      return {
        type: "map",
        key: fromType(type.key, `${name}.key`),
        keyId: type["key-id"],
        value: fromType(type.value, `${name}.value`),
        valueId: type["value-id"],
      };
  }
}

/** A leaf of the columns: what statistics are kept for. */
export interface Leaf {
  id: number;
  type: PrimitiveType;
  /** Lies inside a list or map, so that its values are not one a row. */
  repeated: boolean;
}

/** All leaves of the columns by field id. */
export function leavesOf(columns: readonly Column[]): Map<number, Leaf> {
  const leaves = new Map<number, Leaf>();
  const visit = (id: number | undefined, type: DataType, repeated: boolean): void => {
    if (typeof type === "string") {
      if (id !== undefined) leaves.set(id, { id, type, repeated });
    } else if (type.type === "struct") {
      for (const field of type.fields) visit(field.id, field.type, repeated);
    } else if (type.type === "list") {
      visit(type.elementId, type.element, true);
    } else {
      visit(type.keyId, type.key, true);
      visit(type.valueId, type.value, true);
    }
  };
  for (const column of columns) visit(column.id, column.type, false);
  return leaves;
}

/** The highest field id in the columns, nested ones included. */
export function highestId(columns: readonly Column[]): number {
  let highest = 0;
  const see = (id: number | undefined): void => {
    if (id !== undefined && id > highest) highest = id;
  };
  const visit = (type: DataType): void => {
    if (typeof type === "string") return;
    if (type.type === "struct") {
      for (const field of type.fields) {
        see(field.id);
        visit(field.type);
      }
    } else if (type.type === "list") {
      see(type.elementId);
      visit(type.element);
    } else {
      see(type.keyId);
      see(type.valueId);
      visit(type.key);
      visit(type.value);
    }
  };
  for (const column of columns) {
    see(column.id);
    visit(column.type);
  }
  return highest;
}

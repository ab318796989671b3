import { parseDecimal, sqlName, sqlString, type Column, type DataType, type Sql } from "../core/index.ts";

/**
 * A row as JSON text from which `rowsOfRecords` makes it again: 64-bit integers in full, decimals as text (a JSON number would
 * pass through a double), NaN and infinities as text (JSON has none), binary as the engine's `\xAB` escapes.
 */
export function recordExpression(columns: readonly Column[]): Sql {
  if (columns.length === 0) return "'{}'";
  const fields = columns.map((column) => `${sqlName(column.name)}: ${jsonValue(sqlName(column.name), column.type)}`);
  return `CAST(to_json({${fields.join(", ")}}) AS VARCHAR)`;
}

/** How values are written for other systems: as `recordExpression` does, but binary as hexadecimal. */
export function plainJson(value: Sql, type: DataType): Sql {
  return jsonValue(value, type, 0, true);
}

function jsonValue(value: Sql, type: DataType, depth = 0, hex = false): Sql {
  if (typeof type === "string") {
    if (hex && type === "binary") return `lower(hex(${value}))`;
    if (parseDecimal(type) !== undefined) return `CAST(${value} AS VARCHAR)`;
    if (type !== "float" && type !== "double") return value;
    return `CASE WHEN isfinite(${value}) THEN to_json(${value}) ELSE to_json(CAST(${value} AS VARCHAR)) END`;
  }
  if (!holds(type, hex ? (one) => needsText(one) || one === "binary" : needsText)) return value;
  switch (type.type) {
    case "list":
      return `list_transform(${value}, lambda x${depth}: ${jsonValue(`x${depth}`, type.element, depth + 1, hex)})`;
    case "struct": {
      const fields = type.fields.map(
        (field) =>
          `${sqlName(field.name)}: ${jsonValue(`struct_extract(${value}, ${sqlString(field.name)})`, field.type, depth, hex)}`,
      );
      return `CASE WHEN ${value} IS NOT NULL THEN {${fields.join(", ")}} END`;
    }
    case "map":
      return `map(map_keys(${value}), list_transform(map_values(${value}), lambda x${depth}: ${jsonValue(`x${depth}`, type.value, depth + 1, hex)}))`;
  }
}

/** Types of which the engine's own JSON loses something. */
const needsText = (type: string): boolean => type === "float" || type === "double" || parseDecimal(type) !== undefined;

function holds(type: DataType, test: (primitive: string) => boolean): boolean {
  if (typeof type === "string") return test(type);
  switch (type.type) {
    case "list":
      return holds(type.element, test);
    case "struct":
      return type.fields.some((field) => holds(field.type, test));
    case "map":
      return holds(type.key, test) || holds(type.value, test);
  }
}

/**
 * The inverse: a SELECT of typed rows from a SELECT whose column `record` holds such JSON. Fields that a record lacks are null.
 * The engine refuses records whose values are not of the types.
 */
export function rowsOfRecords(records: Sql, columns: readonly Column[]): Sql {
  const shape = `{${columns.map((column) => `${JSON.stringify(column.name)}: ${jsonShape(column.type)}`).join(", ")}}`;
  const values = columns.map((column) => {
    const value = `struct_extract(r, ${sqlString(column.name)})`;
    // JSON has no bytes: they pass through as escaped text, which the cast reads.
    const typed = holds(column.type, (type) => type === "binary")
      ? `CAST(${value} AS ${engineType(column.type)})`
      : value;
    return `${typed} AS ${sqlName(column.name)}`;
  });
  return `SELECT ${values.join(", ")} FROM (SELECT from_json(record, ${sqlString(shape)}) AS r FROM (${records}))`;
}

const engineTypes: Record<string, string> = {
  boolean: "BOOLEAN",
  int: "INTEGER",
  long: "BIGINT",
  float: "FLOAT",
  double: "DOUBLE",
  date: "DATE",
  time: "TIME",
  timestamp: "TIMESTAMP",
  timestamptz: "TIMESTAMPTZ",
  string: "VARCHAR",
  uuid: "UUID",
  binary: "BLOB",
};

function engineType(type: DataType): string {
  if (typeof type === "string") return engineTypes[type] ?? type.toUpperCase();
  switch (type.type) {
    case "list":
      return `${engineType(type.element)}[]`;
    case "struct":
      return `STRUCT(${type.fields.map((field) => `${sqlName(field.name)} ${engineType(field.type)}`).join(", ")})`;
    case "map":
      return `MAP(${engineType(type.key)}, ${engineType(type.value)})`;
  }
}

/** The structure that `from_json` takes. */
function jsonShape(type: DataType): string {
  if (typeof type === "string") return JSON.stringify(type === "binary" ? "VARCHAR" : engineType(type));
  switch (type.type) {
    case "list":
      return `[${jsonShape(type.element)}]`;
    case "struct":
      return `{${type.fields.map((field) => `${JSON.stringify(field.name)}: ${jsonShape(field.type)}`).join(", ")}}`;
    case "map":
      return JSON.stringify(`MAP(${mapPart(type.key)}, ${mapPart(type.value)})`);
  }
}

const mapPart = (type: DataType): string => engineType(type).replaceAll("BLOB", "VARCHAR");

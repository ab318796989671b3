import { parseDecimal, sqlName, sqlString, type Column, type DataType, type Sql } from "../../core/index.ts";

/**
 * A value as it goes into JSON without loss: decimals as text, since most readers make doubles of numbers; bytes as base64. Dates and
 * times become text by themselves, 64-bit integers are numbers.
 */
export function exactValue(expression: Sql, type: DataType, depth = 0): Sql {
  if (!needsChange(type)) return expression;
  if (typeof type === "string") return parseDecimal(type) ? `${expression}::VARCHAR` : `base64(${expression})`;
  switch (type.type) {
    case "list": {
      const item = `item${depth}`;
      return `list_transform(${expression}, lambda ${item}: ${exactValue(item, type.element, depth + 1)})`;
    }
    case "struct": {
      const fields = type.fields.map(
        (field) =>
          `${sqlName(field.name)} := ${exactValue(`struct_extract(${expression}, ${sqlString(field.name)})`, field.type, depth)}`,
      );
      return `CASE WHEN ${expression} IS NULL THEN NULL ELSE struct_pack(${fields.join(", ")}) END`;
    }
    case "map": {
      const entry = `entry${depth}`;
      const pair = `struct_pack(k := ${exactValue(`${entry}.key`, type.key, depth + 1)}, v := ${exactValue(`${entry}.value`, type.value, depth + 1)})`;
      return `map_from_entries(list_transform(map_entries(${expression}), lambda ${entry}: ${pair}))`;
    }
  }
}

function needsChange(type: DataType): boolean {
  if (typeof type === "string") return type === "binary" || parseDecimal(type) !== undefined;
  switch (type.type) {
    case "list":
      return needsChange(type.element);
    case "map":
      return needsChange(type.key) || needsChange(type.value);
    case "struct":
      return type.fields.some((field) => needsChange(field.type));
  }
}

/** One value as the bytes of its JSON text; null stays null. */
export function jsonBytes({ name, type }: Column): Sql {
  const value = exactValue(sqlName(name), type);
  return `encode(to_json(${value})::VARCHAR)`;
}

/** Several columns as the bytes of one JSON object. */
export function jsonObjectBytes(columns: readonly Column[]): Sql {
  const fields = columns.map(({ name, type }) => `${sqlName(name)} := ${exactValue(sqlName(name), type)}`);
  return `encode(to_json(struct_pack(${fields.join(", ")}))::VARCHAR)`;
}

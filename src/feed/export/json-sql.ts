import { parseDecimal, sqlName, sqlString, type Column, type DataType, type Sql } from "../../core/index.ts";

/** As text, since most readers make doubles of numbers, or as numbers with all their digits. */
export type JsonDecimals = "text" | "number";

/** A value as it goes into JSON without loss: bytes as base64. Dates and times become text by themselves, 64-bit integers are numbers. */
export function exactValue(expression: Sql, type: DataType, decimals: JsonDecimals = "text"): Sql {
  return changed(expression, type, (each) => each === "binary" || (decimals === "text" && !!parseDecimal(each)), 0);
}

type IsChanged = (type: Extract<DataType, string>) => boolean;

function changed(expression: Sql, type: DataType, isChanged: IsChanged, depth: number): Sql {
  if (!needsChange(type, isChanged)) return expression;
  if (typeof type === "string") return type === "binary" ? `base64(${expression})` : `${expression}::VARCHAR`;
  switch (type.type) {
    case "list": {
      const item = `item${depth}`;
      return `list_transform(${expression}, lambda ${item}: ${changed(item, type.element, isChanged, depth + 1)})`;
    }
    case "struct": {
      const fields = type.fields.map((field) => {
        const value = `struct_extract(${expression}, ${sqlString(field.name)})`;
        return `${sqlName(field.name)} := ${changed(value, field.type, isChanged, depth)}`;
      });
      return `CASE WHEN ${expression} IS NULL THEN NULL ELSE struct_pack(${fields.join(", ")}) END`;
    }
    case "map": {
      const entry = `entry${depth}`;
      const [key, value] = [
        changed(`${entry}.key`, type.key, isChanged, depth + 1),
        changed(`${entry}.value`, type.value, isChanged, depth + 1),
      ];
      return `map_from_entries(list_transform(map_entries(${expression}), lambda ${entry}: struct_pack(k := ${key}, v := ${value})))`;
    }
  }
}

function needsChange(type: DataType, isChanged: IsChanged): boolean {
  if (typeof type === "string") return isChanged(type);
  switch (type.type) {
    case "list":
      return needsChange(type.element, isChanged);
    case "map":
      return needsChange(type.key, isChanged) || needsChange(type.value, isChanged);
    case "struct":
      return type.fields.some((field) => needsChange(field.type, isChanged));
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

/** A column as a cell of CSV or a member of JSON lines, where the engine's own text of it is one that only the engine reads. */
export function textualColumn({ name, type }: Column, format: "delimited" | "json"): { sql: Sql; meaning?: string } {
  const column = sqlName(name);
  if (type === "binary") return { sql: `base64(${column})`, meaning: "base64" };
  if (typeof type === "string") return { sql: column };
  if (format === "json") return { sql: exactValue(column, type, "number") };
  return { sql: `to_json(${exactValue(column, type)})::VARCHAR`, meaning: "JSON" };
}

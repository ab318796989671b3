import { sqlName, sqlString, type DataType, type Sql } from "../core/index.ts";
import { isExact, isInteger, sqlType } from "./sql.ts";

/** A key as JSON Pointer (RFC 6901), which the engine takes beside JSONPath and which can name every key. */
export function jsonPointer(key: string): string {
  return `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

const text = (json: Sql): Sql => `json_extract_string(${json}, '$')`;
const isNull = (json: Sql): Sql => `coalesce(json_type(${json}) = 'NULL', true)`;

/** The JSON value as the column's type; null where it does not fit, which `misfitOfJson` has found before. */
export function convertJson(json: Sql, type: DataType): Sql {
  if (typeof type === "string") return `TRY_CAST(${text(json)} AS ${sqlType(type)})`;
  switch (type.type) {
    case "struct":
      return `CASE WHEN ${isNull(json)} THEN NULL ELSE struct_pack(${type.fields
        .map(
          (field) =>
            `${sqlName(field.name)} := ${convertJson(`json_extract(${json}, ${sqlString(jsonPointer(field.name))})`, field.type)}`,
        )
        .join(", ")}) END`;
    case "list":
      return `CASE WHEN ${isNull(json)} THEN NULL ELSE list_transform(CAST(${json} AS JSON[]), lambda element: ${convertJson("element", type.element)}) END`;
    case "map":
      return `CASE WHEN ${isNull(json)} THEN NULL ELSE map_from_entries(list_transform(map_entries(CAST(${json} AS MAP(VARCHAR, JSON))), lambda pair: struct_pack(k := TRY_CAST(pair.key AS ${sqlType(type.key)}), v := ${convertJson("pair.value", type.value)}))) END`;
  }
}

/** True where a value that is not null would become null, or another value. */
export function misfitOfJson(json: Sql, type: DataType): Sql {
  if (typeof type === "string") {
    if (type === "string") return "false";
    if (isInteger(type)) return `(NOT ${isNull(json)} AND NOT ${isExact(text(json), type)})`;
    return `(NOT ${isNull(json)} AND TRY_CAST(${text(json)} AS ${sqlType(type)}) IS NULL)`;
  }
  const wrong = `(NOT ${isNull(json)} AND json_type(${json}) <> '${type.type === "list" ? "ARRAY" : "OBJECT"}')`;
  switch (type.type) {
    case "struct": {
      const fields = type.fields
        .map((field) => misfitOfJson(`json_extract(${json}, ${sqlString(jsonPointer(field.name))})`, field.type))
        .filter((sql) => sql !== "false");
      return fields.length === 0 ? wrong : `(${wrong} OR ${fields.join(" OR ")})`;
    }
    case "list": {
      const inner = misfitOfJson("element", type.element);
      if (inner === "false") return wrong;
      return `(${wrong} OR CASE WHEN json_type(${json}) = 'ARRAY' THEN len(list_filter(CAST(${json} AS JSON[]), lambda element: ${inner})) > 0 ELSE false END)`;
    }
    case "map": {
      const inner = misfitOfJson("pair", type.value);
      if (inner === "false") return wrong;
      return `(${wrong} OR CASE WHEN json_type(${json}) = 'OBJECT' THEN len(list_filter(map_values(CAST(${json} AS MAP(VARCHAR, JSON))), lambda pair: ${inner})) > 0 ELSE false END)`;
    }
  }
}

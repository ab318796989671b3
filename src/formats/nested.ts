import { sqlName, sqlString, type DataType, type Sql } from "../core/index.ts";
import { exactInteger, isInteger } from "./sql.ts";

/** The type with text in the place of every integer, however deep: so it is read, because the engine rounds `1.5` to 2. */
export function integersAsText(type: DataType): DataType {
  if (isInteger(type)) return "string";
  if (typeof type === "string") return type;
  switch (type.type) {
    case "struct":
      return { ...type, fields: type.fields.map((field) => ({ ...field, type: integersAsText(field.type) })) };
    case "list":
      return { ...type, element: integersAsText(type.element) };
    case "map":
      return { ...type, key: integersAsText(type.key), value: integersAsText(type.value) };
  }
}

export function hasIntegers(type: DataType): boolean {
  if (typeof type === "string") return isInteger(type);
  switch (type.type) {
    case "struct":
      return type.fields.some((field) => hasIntegers(field.type));
    case "list":
      return hasIntegers(type.element);
    case "map":
      return hasIntegers(type.key) || hasIntegers(type.value);
  }
}

/** A value of `integersAsText(type)` as `type`. Text that is not exactly an integer fails. */
export function exactIntegers(value: Sql, type: DataType): Sql {
  if (!hasIntegers(type)) return value;
  if (typeof type === "string") return exactInteger(value, type);
  switch (type.type) {
    case "struct": {
      const fields = type.fields.map((field) => {
        const name = sqlName(field.name);
        return `${name} := ${exactIntegers(`struct_extract(${value}, ${sqlString(field.name)})`, field.type)}`;
      });
      return `CASE WHEN ${value} IS NOT NULL THEN struct_pack(${fields.join(", ")}) END`;
    }
    case "list":
      return `list_transform(${value}, lambda element: ${exactIntegers("element", type.element)})`;
    case "map": {
      const pair = `struct_pack(k := ${exactIntegers("pair.key", type.key)}, v := ${exactIntegers("pair.value", type.value)})`;
      return `CASE WHEN ${value} IS NOT NULL THEN map_from_entries(list_transform(map_entries(${value}), lambda pair: ${pair})) END`;
    }
  }
}

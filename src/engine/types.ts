import {
  DuckDBArrayType,
  DuckDBDecimalType,
  DuckDBListType,
  DuckDBMapType,
  DuckDBStructType,
  DuckDBTypeId,
  type DuckDBType,
} from "@duckdb/node-api";
import { sqlName, type Column, type DataType, type Sql } from "../core/index.ts";

/** The dataset's type for one of DuckDB's. What Iceberg has no type for becomes text or an exact decimal, never a rounded number. */
export function fromDuckDB(type: DuckDBType): DataType {
  if (type instanceof DuckDBDecimalType) return `decimal(${type.width},${type.scale})`;
  if (type instanceof DuckDBListType || type instanceof DuckDBArrayType)
    return { type: "list", element: fromDuckDB(type.valueType) };
  if (type instanceof DuckDBMapType)
    return { type: "map", key: fromDuckDB(type.keyType), value: fromDuckDB(type.valueType) };
  if (type instanceof DuckDBStructType) {
    return {
      type: "struct",
      fields: type.entryNames.map((name, index) => ({ name, type: fromDuckDB(type.entryTypes[index]!) })),
    };
  }
  switch (type.typeId) {
    case DuckDBTypeId.BOOLEAN:
      return "boolean";
    case DuckDBTypeId.TINYINT:
    case DuckDBTypeId.SMALLINT:
    case DuckDBTypeId.INTEGER:
    case DuckDBTypeId.UTINYINT:
    case DuckDBTypeId.USMALLINT:
      return "int";
    case DuckDBTypeId.BIGINT:
    case DuckDBTypeId.UINTEGER:
      return "long";
    case DuckDBTypeId.UBIGINT:
      return "decimal(20,0)";
    case DuckDBTypeId.HUGEINT:
    case DuckDBTypeId.UHUGEINT:
      return "decimal(38,0)";
    case DuckDBTypeId.FLOAT:
      return "float";
    case DuckDBTypeId.DOUBLE:
      return "double";
    case DuckDBTypeId.DATE:
      return "date";
    case DuckDBTypeId.TIME:
      return "time";
    case DuckDBTypeId.TIMESTAMP:
    case DuckDBTypeId.TIMESTAMP_S:
    case DuckDBTypeId.TIMESTAMP_MS:
    case DuckDBTypeId.TIMESTAMP_NS:
      return "timestamp";
    case DuckDBTypeId.TIMESTAMP_TZ:
      return "timestamptz";
    case DuckDBTypeId.UUID:
      return "uuid";
    case DuckDBTypeId.BLOB:
      return "binary";
    default:
      return "string";
  }
}

/** The name of a type in the engine's SQL. */
export function typeSql(type: DataType): Sql {
  if (typeof type !== "string") {
    switch (type.type) {
      case "list":
        return `${typeSql(type.element)}[]`;
      case "map":
        return `MAP(${typeSql(type.key)}, ${typeSql(type.value)})`;
      case "struct":
        return `STRUCT(${type.fields.map((field) => `${sqlName(field.name)} ${typeSql(field.type)}`).join(", ")})`;
    }
  }
  switch (type) {
    case "boolean":
      return "BOOLEAN";
    case "int":
      return "INTEGER";
    case "long":
      return "BIGINT";
    case "float":
      return "FLOAT";
    case "double":
      return "DOUBLE";
    case "date":
      return "DATE";
    case "time":
      return "TIME";
    case "timestamp":
      return "TIMESTAMP";
    case "timestamptz":
      return "TIMESTAMPTZ";
    case "string":
      return "VARCHAR";
    case "uuid":
      return "UUID";
    case "binary":
      return "BLOB";
    default:
      return type.toUpperCase();
  }
}

/** `expression` as exactly `type`. Nanoseconds that microseconds cannot hold are an error, not a rounding. */
export function castSql(expression: Sql, from: DuckDBType | undefined, column: Column): Sql {
  const to = typeSql(column.type);
  if (from?.typeId === DuckDBTypeId.TIMESTAMP_NS) {
    const problem = `'Conversion Error: the column "${column.name.replaceAll("'", "''")}" has nanoseconds, which a timestamp of microseconds cannot hold'`;
    return `CASE WHEN epoch_ns(${expression}) % 1000 <> 0 THEN error(${problem}) ELSE CAST(${expression} AS ${to}) END`;
  }
  return `CAST(${expression} AS ${to})`;
}

/** A FROM item that has the columns and no rows. */
export function emptyRelation(columns: readonly Column[]): Sql {
  const list = columns.map((column) => `NULL::${typeSql(column.type)} AS ${sqlName(column.name)}`);
  return `(SELECT ${list.join(", ")} LIMIT 0)`;
}

/** `FIELD_IDS {…}` of COPY, for columns whose ids are set. */
export function fieldIds(columns: readonly Column[]): Sql {
  const struct = (fields: readonly Column[], own?: number): Sql => {
    const entries = fields.map((field) => `${sqlName(field.name)}: ${idsOf(field.type, field.id)}`);
    if (own !== undefined) entries.unshift(`__duckdb_field_id: ${own}`);
    return `{${entries.join(", ")}}`;
  };
  const idsOf = (type: DataType, id: number | undefined): Sql => {
    if (typeof type === "string") return String(id);
    switch (type.type) {
      case "struct":
        return struct(type.fields, id);
      case "list":
        return `{__duckdb_field_id: ${id}, element: ${idsOf(type.element, type.elementId)}}`;
      case "map":
        return `{__duckdb_field_id: ${id}, key: ${idsOf(type.key, type.keyId)}, value: ${idsOf(type.value, type.valueId)}}`;
    }
  };
  return struct(columns);
}

/** Leaf columns by the path under which COPY … RETURN_STATS reports them: `"list"."element"`. */
export function leafPaths(columns: readonly Column[]): Map<string, { id: number; type: DataType }> {
  const leaves = new Map<string, { id: number; type: DataType }>();
  const visit = (path: string, type: DataType, id: number | undefined): void => {
    if (typeof type === "string") {
      if (id !== undefined) leaves.set(path, { id, type });
      return;
    }
    switch (type.type) {
      case "struct":
        for (const field of type.fields) visit(`${path}.${sqlName(field.name)}`, field.type, field.id);
        break;
      case "list":
        visit(`${path}."element"`, type.element, type.elementId);
        break;
      case "map":
        visit(`${path}."key"`, type.key, type.keyId);
        visit(`${path}."value"`, type.value, type.valueId);
    }
  };
  for (const column of columns) visit(sqlName(column.name), column.type, column.id);
  return leaves;
}

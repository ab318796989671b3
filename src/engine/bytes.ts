import type { DuckDBConnection } from "@duckdb/node-api";
import { randomBytes } from "node:crypto";
import { sqlName, sqlString, type Column, type Encoding, type Payload, type Sql } from "../core/index.ts";
import { typeSql } from "./types.ts";

type Bytes = Extract<Payload, { form: "bytes" }>;

/**
 * One record may be this long; the engine holds two of them a buffer. The first reading takes small buffers, which is faster and a third of
 * the memory; a longer record fails it, and the second, tolerant reading takes large ones.
 */
const recordBytes = { strict: 4 << 20, tolerant: 16 << 20 };

function columnMap(columns: readonly Column[], typeOf: (column: Column) => Sql): Sql {
  return `{${columns.map((column) => `${sqlString(column.name)}: ${sqlString(typeOf(column))}`).join(", ")}}`;
}

function readCsv(path: string, columns: Sql, maximumRecordBytes: number): Sql {
  // RFC 4180; a cell without quotes and without text is null, one with quotes is the empty string.
  return `read_csv(${sqlString(path)}, auto_detect = false, header = false, delim = ',', quote = '"', escape = '"', new_line = '\\n',
    nullstr = '', allow_quoted_nulls = false, max_line_size = ${maximumRecordBytes}, buffer_size = ${2 * maximumRecordBytes}, columns = ${columns})`;
}

function readNdjson(path: string, columns: Sql, maximumRecordBytes: number): Sql {
  // Without `records` the engine reads a single column's file twice to find out, which a pipe does not allow.
  return `read_json(${sqlString(path)}, format = 'newline_delimited', records = true, auto_detect = false, maximum_object_size = ${maximumRecordBytes}, columns = ${columns})`;
}

/** The value of a column whose text is encoded. `failure`: what a text that does not decode gives (an error, or null). */
function decode(name: Sql, column: Column, encoding: Encoding, strict: boolean): Sql {
  const type = typeSql(column.type);
  const expression = ((): Sql => {
    switch (encoding) {
      case "json":
        return typeof column.type === "string"
          ? `${name}::JSON::${type}`
          : `from_json_strict(${name}, ${sqlString(jsonShape(column))})`;
      case "hex":
        return `unhex(${name})`;
      case "pg-hex":
        return `unhex(${name}[3:])`;
      case "base64":
        return `from_base64(${name})`;
    }
  })();
  return strict ? expression : `TRY(${expression})`;
}

/** The structure that `from_json` wants: type names in lists and objects. */
function jsonShape(column: Column): string {
  const shape = (type: Column["type"]): unknown => {
    if (typeof type === "string") return typeSql(type);
    switch (type.type) {
      case "list":
        return [shape(type.element)];
      case "struct":
        return Object.fromEntries(type.fields.map((field) => [field.name, shape(field.type)]));
      case "map":
        return typeSql(type);
    }
  };
  return JSON.stringify(shape(column.type));
}

/** A FROM item that reads the pipe, typed. It fails on the first record that does not fit. */
export function scanOfPipe(payload: Bytes, path: string): Sql {
  const encodings = payload.encodings ?? {};
  const encoded = (column: Column): Encoding | undefined =>
    Object.hasOwn(encodings, column.name) ? encodings[column.name] : undefined;
  // The engine's CSV reader makes null of an instant that it cannot parse; a cast of its text fails instead.
  const asText = (column: Column): boolean =>
    encoded(column) !== undefined || (payload.format === "csv" && column.type === "timestamptz");
  const columns = columnMap(payload.columns, (column) => (asText(column) ? "VARCHAR" : typeSql(column.type)));
  const scan = (payload.format === "csv" ? readCsv : readNdjson)(path, columns, recordBytes.strict);
  if (!payload.columns.some(asText)) return scan;
  const list = payload.columns.map((column) => {
    const name = sqlName(column.name);
    const encoding = encoded(column);
    if (encoding !== undefined) return `${decode(name, column, encoding, true)} AS ${name}`;
    return asText(column) ? `CAST(${name} AS ${typeSql(column.type)}) AS ${name}` : name;
  });
  return `(SELECT ${list.join(", ")} FROM ${scan})`;
}

export interface TolerantTable {
  good: Sql;
  /** reason, origin, record. */
  rejected: Sql;
  drop: Sql;
}

/** Reads the pipe as text into a temporary table, and tells the records that fit from those that do not. */
export async function tolerantTable(
  connection: DuckDBConnection,
  payload: Bytes,
  path: string,
): Promise<TolerantTable> {
  const table = `tolerant_${randomBytes(6).toString("hex")}`;
  const { columns } = payload;
  const names = columns.map((column) => sqlName(column.name));
  const ndjson = payload.format === "ndjson";
  if (ndjson) {
    await connection.run(
      `CREATE TEMP TABLE ${table} AS SELECT row_number() OVER () AS record_number, line AS record_text, json_valid(line) AS valid,
        ${columns.map((column) => `CASE WHEN json_valid(line) THEN ${memberText(column)} END AS ${sqlName(column.name)}`).join(", ")}
       FROM ${readLines(path)}`,
    );
  } else {
    const record = `to_json(struct_pack(${names.map((name) => `${name} := ${name}`).join(", ")}))::VARCHAR`;
    const texts = columnMap(columns, () => "VARCHAR");
    await connection.run(
      `CREATE TEMP TABLE ${table} AS SELECT row_number() OVER () AS record_number, ${record} AS record_text, true AS valid, * FROM ${readCsv(path, texts, recordBytes.tolerant)}`,
    );
  }
  const conversions = columns.map((column, index) => ({
    column,
    name: names[index]!,
    value: converted(payload, column, names[index]!),
  }));
  const bad = ["NOT valid", ...conversions.map(({ name, value }) => `(${name} IS NOT NULL AND ${value} IS NULL)`)].join(
    " OR ",
  );
  const reason = `CASE WHEN valid THEN concat_ws('; ', ${conversions.map(misfit).join(", ")}) ELSE 'the line is not JSON' END`;
  return {
    good: `(SELECT ${conversions.map(({ name, value }) => `${value} AS ${name}`).join(", ")} FROM ${table} WHERE NOT (${bad}))`,
    rejected: `(SELECT ${reason} AS reason, 'record ' || record_number AS origin, record_text AS record FROM ${table} WHERE ${bad})`,
    drop: `DROP TABLE ${table}`,
  };
}

/** Why the text `name` of a column does not fit; null where it does. `value` is what `converted` makes of it. */
export function misfit({ column, name, value }: { column: Column; name: Sql; value: Sql }): Sql {
  const type = typeof column.type === "string" ? column.type : column.type.type;
  const problem = sqlString(`\`${column.name}\` is not a ${type}: `);
  return `CASE WHEN ${name} IS NOT NULL AND ${value} IS NULL THEN ${problem} || substr(${name}, 1, 80) END`;
}

/** Lines as they are: a delimiter and a null mark that no JSON text holds unescaped. */
function readLines(path: string): Sql {
  return `read_csv(${sqlString(path)}, auto_detect = false, header = false, delim = '\x1f', quote = '', escape = '', new_line = '\\n',
    nullstr = '\x1e', max_line_size = ${recordBytes.tolerant}, buffer_size = ${2 * recordBytes.tolerant}, columns = {'line': 'VARCHAR'})`;
}

/** The text of a member of a JSON line: of a nested value its JSON, of null nothing. */
export function memberText(column: Column): Sql {
  const path = sqlString(`$."${column.name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`);
  return typeof column.type === "string"
    ? `json_extract_string(line, ${path})`
    : `nullif(json_extract(line, ${path})::VARCHAR, 'null')`;
}

/** The typed value of a column's text, or null where the text does not fit. */
export function converted({ encodings = {} }: Pick<Bytes, "encodings">, column: Column, text: Sql): Sql {
  const encoding = Object.hasOwn(encodings, column.name) ? encodings[column.name] : undefined;
  if (encoding !== undefined) return decode(text, column, encoding, false);
  if (typeof column.type !== "string") return decode(text, column, "json", false);
  return `TRY_CAST(${text} AS ${typeSql(column.type)})`;
}

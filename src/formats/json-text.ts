import * as z from "zod";
import {
  isMillraceError,
  MillraceError,
  sqlName,
  sqlString,
  type Column,
  type DataType,
  type EngineView,
  type FileRef,
  type Format,
  type Inferred,
  type Sql,
  type TolerantScan,
} from "../core/index.ts";
import {
  exactInteger,
  fileNames,
  isExactInteger,
  isInteger,
  sameName,
  selectList,
  sqlArguments,
  sqlColumns,
  sqlPaths,
  sqlType,
  temporaryName,
  unreadable,
} from "./sql.ts";

export const jsonOptions = z.strictObject({
  structure: z
    .enum(["auto", "array", "concatenated"])
    .default("auto")
    .describe("Of a JSON document: one `array` of records, or values one after the other. Default: found out."),
  records: z
    .enum(["auto", "objects", "values"])
    .default("auto")
    .describe("`objects`: keys are columns. `values`: each value is one column `json`. Default: found out."),
  types: z
    .record(z.string(), z.string())
    .optional()
    .describe("Type by top-level key (`long`, `decimal(18,2)`, `string`, …). Default: inferred from the sample."),
  dateformat: z.string().optional().describe("Notation of dates, as strptime has it. Default ISO 8601."),
  timestampformat: z.string().optional().describe("Notation of timestamps, as strptime has it. Default ISO 8601."),
  depth: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("Levels that become structs and lists; what lies deeper stays JSON text. Default: all."),
  max_object_bytes: z
    .number()
    .int()
    .positive()
    .default(64 * 1024 * 1024)
    .describe("A larger object is an error (json) or rejected (ndjson). Default 64 MiB."),
  sample_rows: z
    .number()
    .int()
    .default(20_480)
    .describe(
      "Records to infer columns and types from; -1: all, which reads the file twice. Keys that first appear later are not read. Default 20,480.",
    ),
  encoding: z
    .string()
    .default("utf-8")
    .describe(
      "Encoding of the text, a label of the WHATWG standard. UTF-16 with a byte order mark is recognised. Default `utf-8`.",
    ),
  compression: z.enum(["auto", "none", "gzip", "zstd"]).default("auto").describe("Default: what name and content say."),
});
export type JsonOptions = z.output<typeof jsonOptions>;

/** A reader of JSON documents (`lines` false: an array, an object or several) or of one JSON value a line. */
export function openJson(options: JsonOptions, lines: boolean): Format {
  const structure = lines ? "newline_delimited" : options.structure === "array" ? "array" : "auto";
  const common = (): Record<string, string | number | undefined> => ({
    format: structure,
    maximum_object_size: options.max_object_bytes,
    dateformat: options.dateformat,
    timestampformat: options.timestampformat,
  });
  const rest = {
    compression: options.compression === "auto" ? "auto_detect" : options.compression,
    hive_partitioning: false,
  };
  const raw = { compression: options.compression, hive_partitioning: false };
  const records = options.records === "auto" ? "auto" : options.records === "objects" ? "true" : "false";

  /** One JSON value a row, in the order of the file: `value` is its text, `number` counts over all files, `path` is the file. */
  const values = (files: readonly FileRef[], rejects: Sql, scans: Sql): Sql => {
    // Window functions without partition keep the order of the scan, whatever the session says about insertion order.
    const numbered = "row_number() OVER () AS number, filename AS path";
    return lines
      ? // A delimiter of control characters, which JSON text cannot hold: the line is one value, whatever is in it.
        `(SELECT value, ${numbered} FROM read_csv(${sqlPaths(files)}, columns = {'value': 'VARCHAR'}, auto_detect = false, header = false, delim = '\u0001\u0002\u0003', quote = '', escape = '', comment = '', strict_mode = false, filename = true, store_rejects = true, rejects_table = '${rejects}', rejects_scan = '${scans}', rejects_limit = 0, max_line_size = ${options.max_object_bytes}, buffer_size = ${options.max_object_bytes * 2}${sqlArguments(raw)}))`
      : `(SELECT json::VARCHAR AS value, ${numbered} FROM read_json_objects(${sqlPaths(files)}, format = ${sqlString(structure)}, maximum_object_size = ${options.max_object_bytes}, filename = true${sqlArguments(rest)}))`;
  };

  return {
    copy: lines ? "FORMAT json" : "FORMAT json, ARRAY true",
    native: {
      scan(files, columns) {
        if (columns === undefined) {
          return `read_json(${sqlPaths(files)}${sqlArguments({ ...common(), ...rest, records, sample_size: options.sample_rows, maximum_depth: options.depth, union_by_name: true })})`;
        }
        const read = columns.map((column) => ({
          name: column.name,
          type: isInteger(column.type) ? "VARCHAR" : sqlType(column.type),
        }));
        const list = selectList(columns, (column) =>
          isInteger(column.type) ? exactInteger(sqlName(column.name), column.type) : sqlName(column.name),
        );
        return `(SELECT ${list} FROM read_json(${sqlPaths(files)}, columns = ${sqlColumns(read)}${sqlArguments({ ...common(), ...rest, records })}))`;
      },

      tolerant(files, columns): TolerantScan {
        const table = temporaryName("records");
        const rejects = temporaryName("rejects");
        const scans = temporaryName("scans");
        const torn = temporaryName("torn");
        const whole = records === "false";
        const value = (column: Column): Sql =>
          whole ? "document" : `json_extract(document, ${sqlString(jsonPointer(column.name))})`;
        const reasons = columns.map((column) => {
          const found = value(column);
          return `CASE WHEN ${misfit(found, column.type)} THEN ${sqlString(`column \`${column.name}\`: `)} || left(${found}::VARCHAR, 200) || ${sqlString(` is not ${sqlType(column.type)}`)} END`;
        });
        const shape = whole
          ? "NULL"
          : `CASE WHEN json_type(document) <> 'OBJECT' THEN 'not an object' WHEN len(json_keys(document)) <> len(list_distinct(json_keys(document))) THEN 'a key occurs twice' END`;
        return {
          prepare: [
            `CREATE TEMP TABLE ${table} AS SELECT value, number, path, document, CASE WHEN value IS NULL THEN NULL WHEN document IS NULL THEN 'not valid JSON' ELSE nullif(concat_ws('; ', ${[shape, ...reasons].join(", ")}), '') END AS reason
             FROM (SELECT number, path, nullif(trim(value, ' ' || chr(9) || chr(13)), '') AS value, CASE WHEN json_valid(value) THEN value::JSON END AS document FROM ${values(files, rejects, scans)})`,
            ...(lines
              ? []
              : [
                  `CREATE TEMP TABLE ${rejects} (scan_id INT, file_id INT, line BIGINT, csv_line VARCHAR, error_type VARCHAR)`,
                  `CREATE TEMP TABLE ${scans} (scan_id INT, file_id INT, file_path VARCHAR)`,
                ]),
            // Lines that are no text: a kept line stands behind as many of them as lie before it.
            `CREATE TEMP TABLE ${torn} AS SELECT path, line, record, reason, line - row_number() OVER (PARTITION BY path ORDER BY line) AS kept_before FROM
             (SELECT s.file_path AS path, r.line, any_value(r.csv_line) AS record, CASE any_value(r.error_type) WHEN 'INVALID ENCODING' THEN 'wrong encoding' WHEN 'LINE SIZE OVER MAXIMUM' THEN 'record too long (max_object_bytes)' ELSE 'not a line of text' END AS reason
              FROM ${rejects} r JOIN ${scans} s ON r.scan_id = s.scan_id AND r.file_id = s.file_id GROUP BY s.file_path, r.line)`,
          ],
          good: `(SELECT ${selectList(columns, (column) => convert(value(column), column.type))} FROM ${table} WHERE reason IS NULL AND value IS NOT NULL)`,
          rejected: `(SELECT reason, ${fileNames(files, "path")} || ':' || (kept + (SELECT count(*) FROM ${torn} t WHERE t.path = bad.path AND t.kept_before < bad.kept)) AS origin, value AS record
            FROM (SELECT reason, path, number - first + 1 AS kept, value FROM ${table} JOIN (SELECT path, min(number) AS first FROM ${table} GROUP BY path) USING (path) WHERE reason IS NOT NULL) bad
            UNION ALL SELECT reason, ${fileNames(files, "path")} || ':' || line, record FROM ${torn})`,
          cleanup: [table, rejects, scans, torn].map((each) => `DROP TABLE IF EXISTS ${each}`),
        };
      },

      infer: (file, engine) =>
        inferJson(options, file, engine, {
          lines,
          raw: `(SELECT json FROM read_json_objects(${sqlPaths([file])}, format = ${sqlString(structure)}, maximum_object_size = ${options.max_object_bytes}${sqlArguments({ ...rest, ...(lines ? { ignore_errors: true } : {}) })}) LIMIT 20480)`,
          relation(mode, tolerant) {
            const more = {
              records: mode,
              sample_size: options.sample_rows,
              maximum_depth: options.depth,
              ...(tolerant ? { ignore_errors: true } : {}),
            };
            return `read_json(${sqlPaths([file])}${sqlArguments({ ...common(), ...rest, ...more })})`;
          },
        }),
    },
  };
}

/** A key as JSON Pointer (RFC 6901), which the engine takes beside JSONPath and which can name every key. */
function jsonPointer(key: string): string {
  return `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

const text = (json: Sql): Sql => `json_extract_string(${json}, '$')`;
const isNull = (json: Sql): Sql => `coalesce(json_type(${json}) = 'NULL', true)`;

/** The JSON value as the column's type; null where it does not fit, which `misfit` has found before. */
function convert(json: Sql, type: DataType): Sql {
  if (typeof type === "string") return `TRY_CAST(${text(json)} AS ${sqlType(type)})`;
  switch (type.type) {
    case "struct":
      return `CASE WHEN ${isNull(json)} THEN NULL ELSE struct_pack(${type.fields
        .map(
          (field) =>
            `${sqlName(field.name)} := ${convert(`json_extract(${json}, ${sqlString(jsonPointer(field.name))})`, field.type)}`,
        )
        .join(", ")}) END`;
    case "list":
      return `CASE WHEN ${isNull(json)} THEN NULL ELSE list_transform(CAST(${json} AS JSON[]), lambda element: ${convert("element", type.element)}) END`;
    case "map":
      return `CASE WHEN ${isNull(json)} THEN NULL ELSE map_from_entries(list_transform(map_entries(CAST(${json} AS MAP(VARCHAR, JSON))), lambda pair: struct_pack(k := TRY_CAST(pair.key AS ${sqlType(type.key)}), v := ${convert("pair.value", type.value)}))) END`;
  }
}

/** True where a value that is not null would become null, or another value. */
function misfit(json: Sql, type: DataType): Sql {
  if (typeof type === "string") {
    if (type === "string") return "false";
    if (isInteger(type)) return `(NOT ${isNull(json)} AND NOT ${isExactInteger(text(json), type)})`;
    return `(NOT ${isNull(json)} AND TRY_CAST(${text(json)} AS ${sqlType(type)}) IS NULL)`;
  }
  const wrong = `(NOT ${isNull(json)} AND json_type(${json}) <> '${type.type === "list" ? "ARRAY" : "OBJECT"}')`;
  switch (type.type) {
    case "struct": {
      const fields = type.fields
        .map((field) => misfit(`json_extract(${json}, ${sqlString(jsonPointer(field.name))})`, field.type))
        .filter((sql) => sql !== "false");
      return fields.length === 0 ? wrong : `(${wrong} OR ${fields.join(" OR ")})`;
    }
    case "list": {
      const inner = misfit("element", type.element);
      if (inner === "false") return wrong;
      return `(${wrong} OR CASE WHEN json_type(${json}) = 'ARRAY' THEN len(list_filter(CAST(${json} AS JSON[]), lambda element: ${inner})) > 0 ELSE false END)`;
    }
    case "map": {
      const inner = misfit("pair", type.value);
      if (inner === "false") return wrong;
      return `(${wrong} OR CASE WHEN json_type(${json}) = 'OBJECT' THEN len(list_filter(map_values(CAST(${json} AS MAP(VARCHAR, JSON))), lambda pair: ${inner})) > 0 ELSE false END)`;
    }
  }
}

async function inferJson(
  options: JsonOptions,
  file: FileRef,
  engine: EngineView,
  reader: { relation: (records: string, tolerant: boolean) => Sql; raw: Sql; lines: boolean },
): Promise<Inferred> {
  const wrong = (error: unknown): MillraceError => unreadable(error, file, "is not JSON that can be read");
  let mode = options.records === "auto" ? "auto" : options.records === "objects" ? "true" : "false";
  let columns: Column[];
  try {
    columns = await engine.describe(reader.relation(mode, false));
  } catch (error) {
    // Bad lines are rejected when the file is read; the good ones say what the columns are.
    if (!reader.lines) throw wrong(error);
    columns = await engine.describe(reader.relation(mode, true)).catch(() => {
      throw wrong(error);
    });
  }
  try {
    if (mode === "auto") {
      // `json` is the engine's name for values that are no objects, but may be a key as well.
      mode = "true";
      if (columns.length === 1 && columns[0]!.name === "json") {
        const [row] = await engine.query(
          `SELECT count(*) FILTER (json_type(json) = 'OBJECT' AND json_exists(json, '/json')) AS keyed FROM ${reader.raw}`,
        );
        if (Number(row!.keyed) === 0) mode = "false";
      }
    }
    if (mode === "false") columns = columns.map((column) => ({ ...column, type: "string" }));
    else await refuseRenamedKeys(columns, file, engine, reader.raw);
  } catch (error) {
    throw isMillraceError(error) && error.where.file !== undefined ? error : wrong(error);
  }
  const exact = mode === "false" ? columns : await exactNumbers(columns, file, engine, options, reader.lines);
  const typed = exact.map((column): Column => {
    const wanted = Object.entries(options.types ?? {}).find(([key]) => sameName(key, column.name));
    if (wanted === undefined) return column;
    sqlType(wanted[1] as DataType);
    return { name: column.name, type: wanted[1] as DataType };
  });
  return { columns: typed, options: { records: mode === "false" ? "values" : "objects" } };
}

/**
 * The engine takes some columns of small integers for 128 bits wide, and integers beyond 64 bits for floating point, which rounds
 * them. The text of the sample says what they are.
 */
async function exactNumbers(
  columns: readonly Column[],
  file: FileRef,
  engine: EngineView,
  options: JsonOptions,
  lines: boolean,
): Promise<Column[]> {
  const wide = ["decimal(38,0)", "decimal(20,0)"];
  const doubtful = columns.filter(
    (column) => typeof column.type === "string" && (column.type === "double" || wide.includes(column.type)),
  );
  const narrowed = columns.map((column): Column =>
    typeof column.type === "string" ? column : { ...column, type: narrow(column.type) },
  );
  if (doubtful.length === 0) return narrowed;
  const texts = doubtful.map(({ name }) => ({ name, type: "VARCHAR" }));
  const facts = doubtful.map(({ name }, index) => {
    const column = sqlName(name);
    return `bool_and(regexp_full_match(${column}, '-?[0-9]+')) AS i${index}, bool_and(TRY_CAST(${column} AS BIGINT) IS NOT NULL) FILTER (${column} IS NOT NULL) AS f${index}, max(length(${column})) AS l${index}`;
  });
  const more = {
    format: lines ? "newline_delimited" : "auto",
    maximum_object_size: options.max_object_bytes,
    compression: options.compression === "auto" ? "auto_detect" : options.compression,
    ...(lines ? { ignore_errors: true } : {}),
  };
  const limit = options.sample_rows < 0 ? "" : ` LIMIT ${options.sample_rows}`;
  let row: Record<string, unknown> | undefined;
  try {
    [row] = await engine.query(
      `SELECT ${facts.join(", ")} FROM (SELECT * FROM read_json(${sqlPaths([file])}, columns = ${sqlColumns(texts)}${sqlArguments(more)})${limit})`,
    );
  } catch {
    // Records that do not fit any columns (a key twice) are told when the file is read.
    return narrowed;
  }
  return narrowed.map((column) => {
    const index = doubtful.findIndex((each) => each.name === column.name);
    if (index === -1 || row![`i${index}`] !== true) return column;
    if (row![`f${index}`] === true) return { ...column, type: "long" };
    return { ...column, type: Number(row![`l${index}`]) <= 38 ? "decimal(38,0)" : "string" };
  });
}

/** The types within lists and structs. Integers there are 64 bits wide: what is beyond is rejected when it is read. */
function narrow(type: DataType): DataType {
  if (type === "decimal(38,0)" || type === "decimal(20,0)") return "long";
  if (typeof type === "string") return type;
  switch (type.type) {
    case "struct": {
      // Keys that cannot name fields: the object stays JSON text.
      const names = new Set(type.fields.map((field) => field.name.toLowerCase()));
      if (names.has("") || names.size < type.fields.length) return "string";
      return { ...type, fields: type.fields.map((field) => ({ ...field, type: narrow(field.type) })) };
    }
    case "list":
      return { ...type, element: narrow(type.element) };
    case "map":
      return { ...type, value: narrow(type.value) };
  }
}

/**
 * The engine renames the second of `a` and `A` to `A_1`, and the empty key to `C0`: keys that no record has, so that their values
 * would be lost.
 */
async function refuseRenamedKeys(
  columns: readonly Column[],
  file: FileRef,
  engine: EngineView,
  raw: Sql,
): Promise<void> {
  const doubtful = columns.filter(({ name }) => {
    const base = /^(.+)_\d+$/s.exec(name)?.[1]?.toLowerCase();
    return (
      /^C\d+$/.test(name) ||
      (base !== undefined && columns.some((other) => other.name !== name && other.name.toLowerCase() === base))
    );
  });
  if (doubtful.length === 0) return;
  const counts = doubtful
    .map(({ name }, index) => `count(*) FILTER (json_exists(json, ${sqlString(jsonPointer(name))})) AS n${index}`)
    .join(", ");
  const [row] = await engine.query(`SELECT ${counts} FROM ${raw}`);
  const renamed = doubtful.find((_, index) => Number(row![`n${index}`]) === 0);
  if (renamed === undefined) return;
  const key = renamed.name.replace(/_\d+$/, "");
  const problem = /^C\d+$/.test(renamed.name)
    ? "has a key that is empty"
    : `has keys that are \`${key}\` but for upper and lower case`;
  throw new MillraceError("schema", `\`${file.name}\` ${problem}, which cannot be columns of one dataset`, {
    where: { file: file.name, column: key },
    hint: "rename the key in the file, or read it with `options: { records: values }` and take the JSON apart with `transform`",
  });
}

import {
  sqlName,
  sqlString,
  type Column,
  type FileRef,
  type Format,
  type Sql,
  type TolerantScan,
} from "../core/index.ts";
import { inferJson } from "./json-infer.ts";
import type { JsonOptions } from "./json-options.ts";
import { exactIntegers, integersAsText } from "./nested.ts";
import { convertJson, jsonPointer, misfitOfJson } from "./json-values.ts";
import { fileNames, selectList, sqlArguments, sqlColumns, sqlPaths, sqlType, temporaryName } from "./sql.ts";

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
          type: sqlType(integersAsText(column.type)),
        }));
        const list = selectList(columns, (column) => exactIntegers(sqlName(column.name), column.type));
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
          return `CASE WHEN ${misfitOfJson(found, column.type)} THEN ${sqlString(`column \`${column.name}\`: `)} || left(${found}::VARCHAR, 200) || ${sqlString(` is not ${sqlType(column.type)}`)} END`;
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
          good: `(SELECT ${selectList(columns, (column) => convertJson(value(column), column.type))} FROM ${table} WHERE reason IS NULL AND value IS NOT NULL)`,
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

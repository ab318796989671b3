import {
  sqlName,
  sqlString,
  type Column,
  type FileRef,
  type Format,
  type Sql,
  type TolerantScan,
} from "../core/index.ts";
import type { DelimitedOptions } from "./delimited-options.ts";
import { inferDelimited } from "./dialect.ts";
import {
  exactInteger,
  integerOfDouble,
  fileNames,
  isExact,
  isInteger,
  sameName,
  selectList,
  sqlArguments,
  sqlColumns,
  sqlPaths,
  sqlType,
  temporaryName,
} from "./sql.ts";

/** How integers are read: as text and as numbers loses nothing, the engine's own cast rounds `1.5` to 2. */
type Integers = "text" | "number" | "engine";

/** A reader of delimited text: CSV (RFC 4180 and its relatives) and TSV. */
export function openDelimited(options: DelimitedOptions, copy: Sql): Format {
  const fixed = (): Record<string, string | number | boolean | undefined> => ({
    auto_detect: false,
    delim: options.delimiter ?? ",",
    quote: options.quote ?? '"',
    escape: options.escape ?? options.quote ?? '"',
    header: options.header ?? true,
    skip: options.skip,
    comment: options.comment,
    dateformat: options.dateformat,
    timestampformat: options.timestampformat,
  });
  const common = (): Record<string, string | number | boolean | readonly string[] | undefined> => ({
    allow_quoted_nulls: options.quoted_nulls,
    nullstr: options.nulls,
    decimal_separator: options.decimal_separator,
    max_line_size: options.max_line_bytes,
    buffer_size: Math.max(32 * 1024 * 1024, options.max_line_bytes * 4),
    compression: options.compression,
    hive_partitioning: false,
  });

  const isWide = (column: Column): boolean =>
    options.wide_integers?.some((name) => sameName(name, column.name)) ?? false;

  /** The engine's reader makes null of an instant that it cannot parse; the cast of its text fails instead. */
  const isInstant = (column: Column): boolean =>
    column.type === "timestamptz" && (options.timestampformat === undefined || options.timestampformat === "");

  /** The columns as they lie in the file, each with the type that it is read with. */
  const physical = (columns: readonly Column[], integers: Integers): { name: string; type: Sql }[] =>
    (options.names ?? columns.map((column) => column.name)).map((name) => {
      const column = columns.find((each) => sameName(each.name, name));
      if (column === undefined || typeof column.type !== "string" || isInstant(column))
        return { name, type: "VARCHAR" };
      if (!isInteger(column.type) || integers === "engine") return { name, type: sqlType(column.type) };
      return { name, type: integers === "number" && !isWide(column) ? "DOUBLE" : "VARCHAR" };
    });
  const inFile = (column: Column): string | undefined =>
    options.names === undefined ? column.name : options.names.find((name) => sameName(name, column.name));

  const read = (
    files: readonly FileRef[],
    columns: readonly Column[],
    integers: Integers,
    more: Record<string, string | number | boolean> = {},
  ): Sql =>
    `read_csv(${sqlPaths(files)}, columns = ${sqlColumns(physical(columns, integers))}${sqlArguments({ ...fixed(), ...common(), ...more })})`;

  return {
    copy,
    native: {
      scan(files, columns) {
        if (columns === undefined) {
          const { delimiter, names, sample_rows } = options;
          const given = {
            delim: delimiter,
            quote: options.quote,
            escape: options.escape,
            header: options.header,
            skip: options.skip,
            comment: options.comment,
            names,
            dateformat: options.dateformat,
            timestampformat: options.timestampformat,
          };
          return `read_csv(${sqlPaths(files)}${sqlArguments({ ...given, ...common(), sample_size: sample_rows, union_by_name: true })})`;
        }
        const list = selectList(columns, (column) => {
          const name = inFile(column);
          if (name === undefined) return undefined;
          if (isInstant(column)) return `CAST(${sqlName(name)} AS ${sqlType(column.type)})`;
          if (!isInteger(column.type)) return sqlName(name);
          return (isWide(column) ? exactInteger : integerOfDouble)(sqlName(name), column.type);
        });
        return `(SELECT ${list} FROM ${read(files, columns, "number")})`;
      },

      tolerant(files, columns): TolerantScan {
        const good = temporaryName("good");
        const rounded = temporaryName("rounded");
        const counts = temporaryName("counts");
        const rejects = temporaryName("rejects");
        const scans = `${rejects}_scan`;
        // Types whose values the engine would change or drop without a word.
        const guarded = columns.filter(
          (column) => (isInteger(column.type) || isInstant(column)) && inFile(column) !== undefined,
        );
        const text = (column: Column): Sql => sqlName(inFile(column)!);
        const isCastable = (column: Column): Sql => `TRY_CAST(${text(column)} AS ${sqlType(column.type)}) IS NOT NULL`;
        const fits = ["true", ...guarded.map((column) => isExact(text(column), column.type))].join(" AND ");
        const list = selectList(columns, (column) => {
          if (inFile(column) === undefined) return undefined;
          return guarded.includes(column) ? `TRY_CAST(${text(column)} AS ${sqlType(column.type)})` : text(column);
        });
        // The engine keeps the line of what it cannot cast itself, so integers are read as such too; what it would only round is told apart by its text.
        const names = physical(columns, "engine").map((each) => sqlName(each.name));
        const casts = names.map((name) => `count(${name})`).join(" + ");
        const castsOrNulls = [
          "true",
          ...guarded
            .filter((column) => isInteger(column.type))
            .map((column) => `(${text(column)} IS NULL OR ${isCastable(column)})`),
        ].join(" AND ");
        const reasons = guarded.map(
          (column) =>
            `CASE WHEN NOT ${isExact(text(column), column.type)} THEN ${sqlString(`column \`${column.name}\`: \``)} || ${text(column)} || '\` is not ${isInteger(column.type) ? "an integer" : "a timestamp with zone"}' END`,
        );
        // Not `ignore_errors`: it loses the good record behind one with broken quotes (DuckDB 1.5.5).
        const keep = (name: string): Record<string, string | number | boolean> => ({
          store_rejects: true,
          rejects_table: name,
          rejects_scan: `${name}_scan`,
          rejects_limit: 0,
        });
        return {
          prepare: [
            `CREATE TEMP TABLE ${good} AS SELECT ${list} FROM ${read(files, columns, "text", keep(`${good}_rejects`))} WHERE ${fits}`,
            `CREATE TEMP TABLE ${rounded} AS SELECT concat_ws('; ', ${["NULL", ...reasons].join(", ")}) AS reason, ${fileNames(files, "filename")} AS origin, concat_ws(${sqlString(options.delimiter ?? ",")}, ${names.join(", ")}) AS record
             FROM ${read(files, columns, "text", { ...keep(`${rounded}_rejects`), filename: true })} WHERE NOT (${fits}) AND ${castsOrNulls}`,
            `CREATE TEMP TABLE ${counts} AS SELECT count(*) AS records, ${casts} AS cells FROM ${read(files, columns, "engine", keep(rejects))}`,
            // Nothing may vanish between the scans: what the engine took is what is good and what it would have rounded.
            `SELECT CASE WHEN (SELECT records FROM ${counts}) <> (SELECT count(*) FROM ${good}) + (SELECT count(*) FROM ${rounded}) THEN error('two scans of the same text gave different records') END`,
          ],
          good,
          rejected: `(SELECT string_agg(DISTINCT ${reasonOf("r")}, '; ') AS reason, ${fileNames(files, "any_value(s.file_path)")} || ':' || r.line AS origin, any_value(r.csv_line) AS record
            FROM ${rejects} r JOIN ${scans} s ON r.scan_id = s.scan_id AND r.file_id = s.file_id GROUP BY r.scan_id, r.file_id, r.line, r.line_byte_position
            UNION ALL SELECT reason, origin, record FROM ${rounded})`,
          cleanup: [
            good,
            rounded,
            counts,
            rejects,
            scans,
            ...[good, rounded].flatMap((name) => [`${name}_rejects`, `${name}_rejects_scan`]),
          ].map((table) => `DROP TABLE IF EXISTS ${table}`),
        };
      },

      infer: (file, engine) => inferDelimited(options, common(), file, engine),
    },
  };
}

function reasonOf(table: string): Sql {
  return `CASE ${table}.error_type WHEN 'MISSING COLUMNS' THEN 'too few values: ' WHEN 'TOO MANY COLUMNS' THEN 'too many values: ' WHEN 'INVALID ENCODING' THEN 'wrong encoding: ' WHEN 'LINE SIZE OVER MAXIMUM' THEN 'record too long (max_line_bytes): ' WHEN 'UNQUOTED VALUE' THEN 'broken quotes: ' ELSE '' END || split_part(${table}.error_message, chr(10), 1)`;
}

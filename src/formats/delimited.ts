import * as z from "zod";
import {
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
  integerOfDouble,
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
  uniqueNames,
  unreadable,
} from "./sql.ts";

const character = z.string().max(1);

/** Options that CSV and TSV share. What is left open is found out from the file. */
export const delimitedOptions = {
  quote: character.optional().describe('Character around values. Empty: none. Default: found out, else `"`.'),
  escape: character
    .optional()
    .describe("Character before a quote inside quotes. Default: found out, else the quote itself."),
  header: z.boolean().optional().describe("Whether the first line names the columns. Default: found out."),
  names: z
    .array(z.string())
    .optional()
    .describe("Names of the columns in the order of the file. Default: those of the header."),
  types: z
    .record(z.string(), z.string())
    .optional()
    .describe("Type by column (`long`, `decimal(18,2)`, `string`, …). Default: inferred from the sample."),
  nulls: z
    .array(z.string())
    .optional()
    .describe('Unquoted texts that mean null. Default: only the empty text; `""` in quotes is an empty string.'),
  quoted_nulls: z
    .boolean()
    .default(false)
    .describe("Whether the texts of `nulls` mean null within quotes too. Default false."),
  encoding: z
    .string()
    .default("utf-8")
    .describe(
      "Encoding of the text, a label of the WHATWG standard: `utf-16le`, `latin1`. UTF-16 with a byte order mark is recognised. Default `utf-8`.",
    ),
  skip: z.number().int().nonnegative().optional().describe("Lines to leave out at the start. Default: found out."),
  comment: character.optional().describe("Lines that begin with it are left out. Default: found out."),
  dateformat: z.string().optional().describe("Notation of dates, as strptime has it: `%d.%m.%Y`. Default: found out."),
  timestampformat: z.string().optional().describe("Notation of timestamps, as strptime has it. Default: found out."),
  decimal_separator: z.enum([".", ","]).optional().describe("Default `.`."),
  max_line_bytes: z
    .number()
    .int()
    .positive()
    .default(4 * 1024 * 1024)
    .describe("A longer record is rejected. Costs 16 times as much memory. Default 4 MiB."),
  sample_rows: z
    .number()
    .int()
    .default(20_480)
    .describe("Rows to infer dialect and types from; -1: all, which reads the file twice. Default 20,480."),
  wide_integers: z
    .array(z.string())
    .optional()
    .describe(
      "Integer columns with values of more than 15 digits, which take a slower reading. Default: found out from the sample; where such a value comes later, the file is read a second time.",
    ),
  compression: z.enum(["auto", "none", "gzip", "zstd"]).default("auto").describe("Default: what name and content say."),
};

const delimiterOption = z
  .string()
  .min(1)
  .max(4)
  .optional()
  .describe("What separates values. Default: found out among `,` `;` `|` and tab.");

export const csvOptions = z.strictObject({ delimiter: delimiterOption, ...delimitedOptions });
export const tsvOptions = z.strictObject(delimitedOptions);
export type DelimitedOptions = z.output<typeof csvOptions>;

/** How integers are read: as text and as numbers loses nothing, the engine's own cast rounds `1.5` to 2. */
type Integers = "text" | "number" | "engine";

/** Bytes of the longest record that the dialect is found out with. */
const longestSampled = 64 * 1024 * 1024;

const recommended = [",", ";", "\t", "|"];

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

  /** The columns as they lie in the file, each with the type that it is read with. */
  const physical = (columns: readonly Column[], integers: Integers): { name: string; type: Sql }[] =>
    (options.names ?? columns.map((column) => column.name)).map((name) => {
      const column = columns.find((each) => sameName(each.name, name));
      if (column === undefined || typeof column.type !== "string") return { name, type: "VARCHAR" };
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
        const integers = columns.filter((column) => isInteger(column.type) && inFile(column) !== undefined);
        const text = (column: Column): Sql => sqlName(inFile(column)!);
        const isCastable = (column: Column): Sql => `TRY_CAST(${text(column)} AS ${sqlType(column.type)}) IS NOT NULL`;
        const isExact = ["true", ...integers.map((column) => isExactInteger(text(column), column.type))].join(" AND ");
        const list = selectList(columns, (column) => {
          if (inFile(column) === undefined) return undefined;
          return isInteger(column.type) ? `TRY_CAST(${text(column)} AS ${sqlType(column.type)})` : text(column);
        });
        // The engine keeps the line of what it cannot cast itself, so integers are read as such too; what it would only round is told apart by its text.
        const names = physical(columns, "engine").map((each) => sqlName(each.name));
        const casts = names.map((name) => `count(${name})`).join(" + ");
        const castsOrNulls = [
          "true",
          ...integers.map((column) => `(${text(column)} IS NULL OR ${isCastable(column)})`),
        ].join(" AND ");
        const reasons = integers.map(
          (column) =>
            `CASE WHEN NOT ${isExactInteger(text(column), column.type)} THEN ${sqlString(`column \`${column.name}\`: \``)} || ${text(column)} || '\` is not an integer' END`,
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
            `CREATE TEMP TABLE ${good} AS SELECT ${list} FROM ${read(files, columns, "text", keep(`${good}_rejects`))} WHERE ${isExact}`,
            `CREATE TEMP TABLE ${rounded} AS SELECT concat_ws('; ', ${["NULL", ...reasons].join(", ")}) AS reason, ${fileNames(files, "filename")} AS origin, concat_ws(${sqlString(options.delimiter ?? ",")}, ${names.join(", ")}) AS record
             FROM ${read(files, columns, "text", { ...keep(`${rounded}_rejects`), filename: true })} WHERE NOT (${isExact}) AND ${castsOrNulls}`,
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

/**
 * The quote of a file in whose sample no value is quoted. Where the sample has the character within values, it is one like any
 * other: taken for a quote, one at the start of a value would swallow the lines up to the next. Else what the format says: RFC 4180
 * has it for CSV; text/tab-separated-values of IANA has none.
 */
async function unseenQuote(file: FileRef, options: DelimitedOptions, engine: EngineView): Promise<string> {
  if (options.delimiter === "\t") return "";
  const limit = options.sample_rows < 0 ? "" : `LIMIT ${options.sample_rows}`;
  const [row] = await engine.query(
    `SELECT coalesce(bool_or(contains(line, '"')), false) AS seen FROM (SELECT line FROM read_csv(${sqlPaths([file])}, columns = {'line': 'VARCHAR'}, auto_detect = false, header = false,
      delim = '\u0001\u0002\u0003', quote = '', escape = '', comment = '', strict_mode = false, ignore_errors = true, max_line_size = ${options.max_line_bytes}${sqlArguments({ compression: options.compression, hive_partitioning: false })}) ${limit})`,
  );
  return row!.seen === true ? "" : '"';
}

const sniffedTypes: Record<string, DataType> = {
  BOOLEAN: "boolean",
  TINYINT: "int",
  SMALLINT: "int",
  INTEGER: "int",
  BIGINT: "long",
  FLOAT: "float",
  DOUBLE: "double",
  DATE: "date",
  TIME: "time",
  TIMESTAMP: "timestamp",
  "TIMESTAMP WITH TIME ZONE": "timestamptz",
};

interface Dialect {
  delimiter: string;
  quote: string;
  escape: string;
  comment: string;
  skip: number;
  header: boolean;
  dateformat: string | null;
  timestampformat: string | null;
  columns: { name: string; type: string }[];
}

async function inferDelimited(
  options: DelimitedOptions,
  common: Record<string, string | number | boolean | readonly string[] | undefined>,
  file: FileRef,
  engine: EngineView,
): Promise<Inferred> {
  const sniff = async (more: Record<string, number | boolean>, roomy: boolean): Promise<Dialect> => {
    // Room for the longest line makes the sniffer read far more than it needs; a line that does not fit is met by the second try.
    const { hive_partitioning: _, max_line_size, buffer_size, ...readable } = common;
    const given = {
      delim: options.delimiter,
      quote: options.quote,
      escape: options.escape,
      header: options.header,
      skip: options.skip,
      comment: options.comment,
      names: options.names,
      dateformat: options.dateformat,
      timestampformat: options.timestampformat,
    };
    const [row] = await engine.query(
      `SELECT to_json({delimiter: Delimiter, quote: Quote, escape: "Escape", comment: "Comment", skip: SkipRows, header: HasHeader, dateformat: DateFormat, timestampformat: TimestampFormat, columns: "Columns"})::VARCHAR AS dialect
       FROM sniff_csv(${sqlString(file.path.replace(/[*?[]/g, "[$&]"))}${sqlArguments({ ...given, ...readable, sample_size: options.sample_rows, ...(roomy ? { max_line_size, buffer_size } : {}), ...more })})`,
    );
    return JSON.parse(String(row!.dialect)) as Dialect;
  };

  let dialect: Dialect | undefined;
  let failure: unknown;
  let ragged = false;
  // Ragged rows make the engine doubt the delimiter and take each line for one column, so it is asked again for the dialect of most
  // rows; a record that is too long must not hide the dialect of the others.
  const attempts: { more: Record<string, number | boolean>; roomy: boolean }[] = [
    { more: {}, roomy: false },
    { more: {}, roomy: true },
    { more: { ignore_errors: true }, roomy: true },
    { more: { ignore_errors: true, max_line_size: longestSampled, buffer_size: 2 * longestSampled }, roomy: false },
  ];
  for (const { more, roomy } of attempts) {
    ragged = more.ignore_errors === true;
    try {
      dialect = await sniff(more, roomy);
      const [only] = dialect.columns;
      const isDoubtful =
        dialect.columns.length === 1 &&
        recommended.some((delimiter) => delimiter !== dialect!.delimiter && only!.name.includes(delimiter));
      if (!isDoubtful || options.delimiter !== undefined || ragged) break;
    } catch (error) {
      failure ??= error;
    }
  }
  if (dialect === undefined) {
    throw unreadable(
      failure,
      file,
      "has no dialect that can be found out",
      "set `options: { delimiter, quote, header, encoding }`",
    );
  }

  const present = (text: string | null): string | undefined =>
    text === null || text === "(empty)" || text === "" || text === "\0" ? undefined : text;
  const quote = options.quote ?? present(dialect.quote) ?? (ragged ? '"' : await unseenQuote(file, options, engine));
  const names = uniqueNames(dialect.columns.map((column) => column.name));
  const settled: Inferred["options"] = {
    delimiter: options.delimiter ?? present(dialect.delimiter) ?? ",",
    quote,
    // The sniffer finds no escape where the sample has none; RFC 4180 doubles the quote.
    escape: options.escape ?? present(dialect.escape) ?? quote,
    header: dialect.header,
    skip: Number(dialect.skip),
    names,
  };
  const comment = options.comment ?? present(dialect.comment);
  if (comment !== undefined) settled.comment = comment;
  const dateformat = options.dateformat ?? present(dialect.dateformat);
  // The engine reads ISO dates ten percent faster when it is not told that they are.
  if (dateformat !== undefined && (dateformat !== isoDate || options.dateformat !== undefined))
    settled.dateformat = dateformat;
  const timestampformat = options.timestampformat ?? present(dialect.timestampformat);
  if (timestampformat !== undefined) settled.timestampformat = timestampformat;
  const columns = dialect.columns.map(({ type }, index): Column => {
    const name = names[index]!;
    const wanted = Object.entries(options.types ?? {}).find(([key]) => sameName(key, name));
    if (wanted === undefined) return { name, type: sniffedTypes[type] ?? "string" };
    // Throws `config` for a name that is no type.
    sqlType(wanted[1] as DataType);
    return { name, type: wanted[1] as DataType };
  });
  const wide = options.wide_integers ?? (await wideIntegers(file, columns, settled, common, engine));
  if (wide.length > 0) settled.wide_integers = wide;
  return { columns, options: settled };
}

const isoDate = "%Y-%m-%d";

/** Integer columns in whose first rows a value has more digits than a double holds exactly. */
async function wideIntegers(
  file: FileRef,
  columns: readonly Column[],
  settled: Inferred["options"],
  common: Record<string, string | number | boolean | readonly string[] | undefined>,
  engine: EngineView,
): Promise<string[]> {
  const integers = columns.filter((column) => column.type === "long");
  if (integers.length === 0) return [];
  const { delimiter, quote, escape, header, skip, comment } = settled as Record<string, string | number | boolean>;
  const dialect = { auto_detect: false, delim: delimiter, quote, escape, header, skip, comment, ignore_errors: true };
  const texts = sqlColumns(columns.map(({ name }) => ({ name, type: "VARCHAR" })));
  const lengths = integers.map((column, index) => `max(length(${sqlName(column.name)})) AS l${index}`);
  const [row] = await engine.query(
    `SELECT ${lengths.join(", ")} FROM (SELECT * FROM read_csv(${sqlPaths([file])}, columns = ${texts}${sqlArguments({ ...dialect, ...common })}) LIMIT 2048)`,
  );
  return integers.filter((_, index) => Number(row![`l${index}`] ?? 0) > 15).map((column) => column.name);
}

import {
  isMillraceError,
  sqlName,
  sqlString,
  type Column,
  type DataType,
  type EngineView,
  type FileRef,
  type Inferred,
} from "../core/index.ts";
import type { DelimitedOptions } from "./delimited-options.ts";
import { limitFirstLine } from "./first-line.ts";
import { sameName, sqlArguments, sqlColumns, sqlPaths, sqlType, uniqueNames, unreadable } from "./sql.ts";

/** Bytes of the longest record that the dialect is found out with. */
const longestSampled = 64 * 1024 * 1024;

const recommended = [",", ";", "\t", "|"];

/** The lines of a file, whatever they hold: a delimiter that nobody writes. */
const linesOf = (file: FileRef, options: DelimitedOptions): string =>
  `read_csv(${sqlPaths([file])}, columns = {'line': 'VARCHAR'}, auto_detect = false, header = false,
      delim = '\u0001\u0002\u0003', quote = '', escape = '', comment = '', strict_mode = false, ignore_errors = true, max_line_size = ${options.max_line_bytes}${sqlArguments({ compression: options.compression, hive_partitioning: false })})`;

/**
 * The quote of a file in whose sample no value is quoted. Where the sample has the character within values, it is one like any
 * other: taken for a quote, one at the start of a value would swallow the lines up to the next. Else what the format says: RFC 4180
 * has it for CSV; text/tab-separated-values of IANA has none.
 */
async function unseenQuote(file: FileRef, options: DelimitedOptions, engine: EngineView): Promise<string> {
  if (options.delimiter === "\t") return "";
  const limit = options.sample_rows < 0 ? "" : `LIMIT ${options.sample_rows}`;
  const [row] = await engine.query(
    `SELECT coalesce(bool_or(contains(line, '"')), false) AS seen FROM (SELECT line FROM ${linesOf(file, options)} ${limit})`,
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

/**
 * One record with too many fields at the end of a file makes the engine take all lines before it for a preamble, and the file for
 * one without a header: they would be passed over in silence. They are no preamble when they are most of the file, or have
 * the header, and are records of their own to a look that forgives single lines (`without`).
 */
async function isNoPreamble(
  dialect: Dialect,
  without: Dialect,
  file: FileRef,
  options: DelimitedOptions,
  engine: EngineView,
): Promise<boolean> {
  if (without.columns.length < 2 || without.skip >= dialect.skip) return false;
  if (!dialect.header && without.header) return true;
  const most = 2 * Number(dialect.skip);
  const [row] = await engine.query(
    `SELECT count(*) AS lines FROM (SELECT line FROM ${linesOf(file, options)} LIMIT ${most + 1})`,
  );
  return Number(row!.lines) <= most;
}

/** The dialect, names and types of a file, by its first records. Throws `parse` naming the file. */
export async function inferDelimited(
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

  await limitFirstLine(file, options.compression, options.max_line_bytes);
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
      // The device failed, not the file: a laxer look would find a dialect that the file does not have.
      if (isMillraceError(error) && error.temporary) throw unreadable(error, file, "cannot be read");
      failure ??= error;
    }
  }
  if (dialect !== undefined && !ragged && dialect.skip > (options.skip ?? 0)) {
    const without = await sniff({ ignore_errors: true }, true).catch(() => undefined);
    if (without !== undefined && (await isNoPreamble(dialect, without, file, options, engine))) {
      dialect = without;
      ragged = true;
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
  const { wide, coded } = await examineIntegers(file, columns, settled, common, engine);
  const wideIntegers = options.wide_integers ?? wide;
  if (wideIntegers.length > 0) settled.wide_integers = wideIntegers;
  const given = (name: string): boolean => Object.keys(options.types ?? {}).some((key) => sameName(key, name));
  return {
    columns: columns.map((column) =>
      coded.includes(column.name) && !given(column.name) ? { ...column, type: "string" } : column,
    ),
    options: settled,
  };
}

const isoDate = "%Y-%m-%d";

/**
 * What the first rows say of the integer columns. `wide`: a value has more digits than a double holds exactly.
 * `coded`: a value has a leading zero, so these are codes (postal codes, account numbers) and stay text.
 */
async function examineIntegers(
  file: FileRef,
  columns: readonly Column[],
  settled: Inferred["options"],
  common: Record<string, string | number | boolean | readonly string[] | undefined>,
  engine: EngineView,
): Promise<{ wide: string[]; coded: string[] }> {
  const integers = columns.filter((column) => column.type === "long");
  if (integers.length === 0) return { wide: [], coded: [] };
  const { delimiter, quote, escape, header, skip, comment } = settled as Record<string, string | number | boolean>;
  const dialect = { auto_detect: false, delim: delimiter, quote, escape, header, skip, comment, ignore_errors: true };
  const texts = sqlColumns(columns.map(({ name }) => ({ name, type: "VARCHAR" })));
  const measures = integers.map((column, index) => {
    const text = sqlName(column.name);
    return `max(length(${text})) AS length_${index}, coalesce(bool_or(regexp_matches(${text}, '^[+-]?0[0-9]')), false) AS coded_${index}`;
  });
  const [row] = await engine.query(
    `SELECT ${measures.join(", ")} FROM (SELECT * FROM read_csv(${sqlPaths([file])}, columns = ${texts}${sqlArguments({ ...dialect, ...common })}) LIMIT 20480)`,
  );
  const chosen = (test: (index: number) => boolean): string[] =>
    integers.filter((_, index) => test(index)).map((column) => column.name);
  return {
    wide: chosen((index) => Number(row![`length_${index}`] ?? 0) > 15),
    coded: chosen((index) => row![`coded_${index}`] === true),
  };
}

import type { DataType } from "../../core/index.ts";
import { quoteName } from "./names.ts";

/** A column as the server describes it: of `information_schema.columns`, or of the header of a result. */
export interface ServerColumn {
  name: string;
  /** Lower case, without length and attributes: `bigint`, `varchar`, `datetime`. */
  type: string;
  unsigned: boolean;
  zerofill: boolean;
  /** Digits of decimals, bits of `bit`, display width of `tinyint`. */
  precision?: number;
  /** Digits after the point, also of `float(7,2)` and `double(10,2)`. */
  scale?: number;
  /** The character set is `binary`: bytes, not text. */
  binary: boolean;
  required: boolean;
  /** AUTO_INCREMENT. */
  numbered?: boolean;
  /** ON UPDATE CURRENT_TIMESTAMP. */
  stamped?: boolean;
  doc?: string;
}

/**
 * What the text of the wire becomes in CSV. `plain`: numbers and dates, as they are. `text`: always quoted, so that the
 * empty string is not null. `utc`: a time of the session's zone, which is UTC. `hex`: bytes. `geometry`: bytes after the
 * server's own prefix of four (the number of the spatial reference system), which leaves WKB.
 */
export type CellForm = "plain" | "text" | "utc" | "hex" | "geometry";

/** How one column is read and measured. `select`, `canonical` and `order` are given the quoted column. */
export interface Mapping {
  type: DataType;
  form: CellForm;
  /** Undefined: the column as it is. */
  select?: (column: string) => string;
  /** The canonical text that checksums are made of; undefined where a type has none. */
  canonical?: (column: string) => string;
  /** Its values have an order that the server and the dataset agree on. */
  ordered: boolean;
}

export interface MappingOptions {
  /** `tinyint(1)` as boolean. */
  tinyintAsBoolean?: boolean;
}

/** A column together with how it is read. */
export interface MappedColumn {
  name: string;
  server: ServerColumn;
  mapping: Mapping;
}

const integerTypes = new Set(["tinyint", "smallint", "mediumint", "int", "integer", "bigint"]);
const bytesTypes = new Set(["binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"]);
const geometryTypes = new Set([
  "geometry",
  "point",
  "linestring",
  "polygon",
  "multipoint",
  "multilinestring",
  "multipolygon",
  "geometrycollection",
  "geomcollection",
]);
/** The most digits that a decimal of a dataset can hold (Iceberg). */
const maximumPrecision = 38;

const characters = (column: string): string => `CAST(${column} AS CHAR CHARACTER SET utf8mb4)`;
const number = (column: string): string => `(${column} + 0)`;
const truth = (column: string): string => `CASE ${column} WHEN 0 THEN 'false' WHEN 1 THEN 'true' END`;
const moment = (column: string): string => `DATE_FORMAT(${column}, '%Y-%m-%d %H:%i:%s.%f')`;

/** Every type of MySQL 8 and MariaDB 10.11; one that is not known is read as the text the server prints. */
export function mapType(column: ServerColumn, options: MappingOptions = {}): Mapping {
  const { type } = column;
  if (integerTypes.has(type)) return mapInteger(column, options);
  if (bytesTypes.has(type) || geometryTypes.has(type)) {
    const geometry = geometryTypes.has(type);
    return {
      type: "binary",
      form: geometry ? "geometry" : "hex",
      canonical: (name) => (geometry ? `LOWER(SUBSTRING(HEX(${name}), 9))` : `LOWER(HEX(${name}))`),
      ordered: false,
    };
  }
  switch (type) {
    case "decimal":
    case "numeric": {
      const { precision = 10, scale = 0 } = column;
      const plain = column.zerofill ? (name: string) => `CAST(${name} AS DECIMAL(${precision},${scale}))` : undefined;
      const canonical = (name: string): string => characters(plain?.(name) ?? name);
      if (precision > maximumPrecision)
        return { type: "string", form: "text", select: plain, canonical, ordered: false };
      return { type: `decimal(${precision},${scale})`, form: "plain", canonical, ordered: true };
    }
    // The text of a float shows six digits, and that of `double(10,2)` two decimals; the product with one shows the
    // number itself and, unlike the sum with zero, keeps the sign of zero.
    case "float":
      return { type: "float", form: "plain", select: (name) => `(${name} * 1e0)`, ordered: true };
    case "double":
    case "real": {
      const rounded = column.scale !== undefined || column.zerofill;
      return {
        type: "double",
        form: "plain",
        select: rounded ? (name) => `(${name} * 1e0)` : undefined,
        ordered: true,
      };
    }
    case "bit":
      return mapBits(column);
    case "year":
      return { type: "int", form: "plain", canonical: (name) => characters(number(name)), ordered: true };
    case "date":
      return { type: "date", form: "plain", canonical: characters, ordered: true };
    case "datetime":
      return { type: "timestamp", form: "plain", canonical: moment, ordered: true };
    case "timestamp":
      return { type: "timestamptz", form: "utc", canonical: moment, ordered: true };
    // -838:59:59 to 838:59:59 is a span, not a time of day.
    case "time":
      return { type: "string", form: "text", canonical: characters, ordered: false };
    case "uuid":
      return { type: "uuid", form: "plain", canonical: characters, ordered: false };
    default:
      if (column.binary && type !== "json" && type !== "null" && !type.startsWith("inet")) {
        return { type: "binary", form: "hex", canonical: (name) => `LOWER(HEX(${name}))`, ordered: false };
      }
      // The order of an enum is that of its definition in one place and of its text in another.
      return { type: "string", form: "text", canonical: characters, ordered: /char$|text$/.test(type) };
  }
}

/** The expression that is put into a SELECT list for the column. */
export function selected(column: MappedColumn): string {
  const name = quoteName(column.name);
  return column.mapping.select?.(name) ?? name;
}

/** Text or bytes that are the same exactly when the values are. */
export function hashedText(column: MappedColumn): string {
  const name = quoteName(column.name);
  if (column.mapping.type === "binary") return name;
  return column.mapping.canonical?.(name) ?? characters(selected(column));
}

export function mapColumns(columns: readonly ServerColumn[], options: MappingOptions): MappedColumn[] {
  return columns.map((server) => ({ name: server.name, server, mapping: mapType(server, options) }));
}

function mapInteger(column: ServerColumn, options: MappingOptions): Mapping {
  // ZEROFILL is a way of printing; the number has no leading zeros.
  const digits = column.zerofill ? (name: string) => characters(`CAST(${name} AS UNSIGNED)`) : characters;
  const mapping = (type: DataType): Mapping => ({ type, form: "plain", canonical: digits, ordered: true });
  if (column.type === "bigint") return mapping(column.unsigned ? "decimal(20,0)" : "long");
  if (column.type === "tinyint" && column.precision === 1 && options.tinyintAsBoolean === true) {
    return { type: "boolean", form: "plain", canonical: truth, ordered: false };
  }
  const isInt = column.type === "int" || column.type === "integer";
  return mapping(isInt && column.unsigned ? "long" : "int");
}

function mapBits(column: ServerColumn): Mapping {
  const { precision = 1 } = column;
  const canonical = (name: string): string => characters(number(name));
  if (precision === 1) {
    return { type: "boolean", form: "plain", select: number, canonical: truth, ordered: false };
  }
  return { type: precision < 64 ? "long" : "decimal(20,0)", form: "plain", select: number, canonical, ordered: true };
}

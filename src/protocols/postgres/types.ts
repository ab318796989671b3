import { MillraceError, parseDecimal, type DataType, type Encoding, type StructType } from "../../core/index.ts";
import { postgresNames, quoteName } from "../sql/names.ts";
import type { PgType, TypeCatalog } from "./catalog.ts";

/** How one column is read and measured. The functions are given an expression of the column's type. */
export interface Mapping {
  type: DataType;
  /** Absent: the column as it is, by the server's own output function. */
  select?: ((expression: string) => string) | undefined;
  encoding?: Encoding;
  /** The value inside a JSON document, for arrays and composites that hold it. */
  json: (expression: string) => string;
  /** The type inside arrays and composites, where it is another one: JSON has no bytes. */
  nested?: DataType;
  /** The canonical text that checksums are made of. Absent: the type has none. */
  canonical?: (expression: string) => string;
  /** Minimum and maximum mean the same here and in the dataset. */
  ordered: boolean;
}

/** A column's type as the server describes it. */
export interface PgColumnType {
  type: number;
  modifier: number;
  /** As declared; an array column may still hold any number. 0 where it is not known. */
  dimensions: number;
}

/** The most digits that a decimal of a dataset can hold (Iceberg). */
const maximumPrecision = 38;

const cast = (type: string) => (expression: string) => `(${expression})::${type}`;
const toJson = (expression: string): string => `to_json(${expression})`;
const textJson = (expression: string): string => `to_json((${expression})::text)`;
/** What the output function gives. A cast to text would differ: it pads no `char(n)` and adds a mask to every `inet`. */
const output = (expression: string): string => `concat(${expression})`;

const text: Mapping = { type: "string", json: toJson, canonical: output, ordered: false };
const integer = (type: "int" | "long"): Mapping => ({ type, json: toJson, canonical: cast("text"), ordered: true });

/**
 * Text that the engine reads as the same date or time, or that it refuses. Its parser takes `0044-03-15 BC` for a date of
 * our era, and no file has a place for the infinities: other readers find the year 294247 there.
 */
const dateText = (date: string): string =>
  `CASE WHEN ${date} >= '0001-01-01' AND ${date} < 'infinity' THEN (${date})::text WHEN isfinite(${date}) THEN to_char(${date}, 'YYYY-MM-DD (BC)') ELSE 'not a date: ' || (${date})::text END`;
const momentText =
  (zone: string) =>
  (moment: string): string =>
    `CASE WHEN ${moment} >= '0001-01-01' AND ${moment} < 'infinity' THEN (${moment})::text WHEN isfinite(${moment}) THEN to_char(${moment}, 'YYYY-MM-DD (BC) HH24:MI:SS.US${zone}') ELSE 'not a time: ' || (${moment})::text END`;
const timeText = (time: string): string =>
  `CASE WHEN ${time} < '24:00' THEN (${time})::text ELSE 'not a time of day: ' || (${time})::text END`;

/** A type of which not every value fits the dataset. */
function guarded(type: "date" | "time" | "timestamp" | "timestamptz", safe: (expression: string) => string): Mapping {
  return { type, select: safe, json: (expression) => toJson(safe(expression)), ordered: true };
}
const moment = (type: "timestamp" | "timestamptz", zone: string): Mapping => ({
  ...guarded(type, momentText(zone)),
  // to_char gives null for the infinities.
  canonical: (expression) => `coalesce(to_char(${expression}, 'YYYY-MM-DD HH24:MI:SS.US'), (${expression})::text)`,
});
const decimal = (precision: number, scale: number): Mapping => ({
  type: `decimal(${precision},${scale})`,
  json: textJson,
  canonical: (expression) => `round(${expression}, ${scale})::text`,
  ordered: true,
});

/** The built-in types that are not simply text. */
const builtIn: Record<string, Mapping> = {
  bool: { type: "boolean", json: toJson, canonical: cast("text"), ordered: false },
  int2: integer("int"),
  int4: integer("int"),
  int8: integer("long"),
  oid: { ...integer("long"), json: textJson },
  xid: { ...integer("long"), json: textJson, ordered: false },
  cid: { ...integer("long"), json: textJson, ordered: false },
  xid8: { ...decimal(20, 0), canonical: cast("text"), ordered: false },
  float4: { type: "float", json: toJson, ordered: true },
  float8: { type: "double", json: toJson, ordered: true },
  text: { ...text, ordered: true },
  varchar: { ...text, ordered: true },
  json: { ...text, json: textJson },
  jsonb: { ...text, json: textJson },
  bytea: {
    type: "binary",
    encoding: "pg-hex",
    json: toJson,
    nested: "string",
    canonical: (expression) => `encode(${expression}, 'hex')`,
    ordered: false,
  },
  date: { ...guarded("date", dateText), canonical: dateText },
  time: {
    ...guarded("time", timeText),
    canonical: (expression) => `to_char(${expression}, 'HH24:MI:SS.US')`,
  },
  timestamp: moment("timestamp", ""),
  timestamptz: moment("timestamptz", "+00"),
  uuid: { type: "uuid", json: textJson, canonical: cast("text"), ordered: false },
};

/** How a column is read. Whatever is not known here is read as the text that `psql` would show. */
export function mapType(catalog: TypeCatalog, column: PgColumnType): Mapping {
  const type = catalog.get(column.type);
  if (type === undefined) return text;
  switch (type.kind) {
    case "domain": {
      const dimensions = type.baseDimensions || column.dimensions;
      return mapType(catalog, { type: type.base, modifier: type.baseModifier, dimensions });
    }
    case "array":
      return mapArray(catalog, type, column);
    case "composite":
      return mapComposite(catalog, type);
    case "pseudo":
      return type.name === "record" ? jsonText : text;
    case "base":
      return type.builtIn ? mapBuiltIn(catalog, type, column.modifier) : mapExtension(type);
    default:
      return text;
  }
}

function mapBuiltIn(catalog: TypeCatalog, type: PgType, modifier: number): Mapping {
  if (type.name === "money") {
    const mapping = decimal(19, catalog.moneyScale);
    const numeric = cast("numeric");
    return {
      ...mapping,
      select: numeric,
      json: (expression) => textJson(numeric(expression)),
      canonical: (expression) => mapping.canonical!(numeric(expression)),
    };
  }
  if (type.name !== "numeric") return builtIn[type.name] ?? text;
  const digits = numericDigits(modifier);
  // Without precision a value may have any number of digits: as text nothing is lost.
  return digits === undefined ? { ...text, json: textJson } : decimal(digits.precision, digits.scale);
}

/** `numeric(p,s)` of a type modifier, as a decimal of a dataset; undefined when there is none or it does not fit. */
export function numericDigits(modifier: number): { precision: number; scale: number } | undefined {
  if (modifier < 4) return undefined;
  const declared = (modifier - 4) >> 16;
  // Eleven bits with sign, since version 15: `numeric(2,-3)` holds thousands.
  const scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
  const precision = scale < 0 ? declared - scale : Math.max(declared, scale);
  return precision > maximumPrecision ? undefined : { precision, scale: Math.max(scale, 0) };
}

const jsonText: Mapping = { type: "string", select: toJson, json: textJson, ordered: false };

function mapExtension(type: PgType): Mapping {
  if (type.name === "hstore") {
    const json = cast("json");
    return {
      type: { type: "map", key: "string", value: "string" },
      select: json,
      encoding: "json",
      json,
      ordered: false,
    };
  }
  return text;
}

/**
 * A list of lists as deep as the column was declared. The server does not hold values to that: a value of another depth
 * does not fit the column's type and is rejected with its reason when it is read.
 */
function mapArray(catalog: TypeCatalog, type: PgType, column: PgColumnType): Mapping {
  if (type.name === "int2vector" || type.name === "oidvector") return text;
  const element = mapType(catalog, { type: type.element, modifier: column.modifier, dimensions: 0 });
  const elementType = catalog.get(type.element);
  const base = elementType?.kind === "domain" ? catalog.get(elementType.base) : elementType;
  if (base === undefined || base.kind === "composite" || base.kind === "pseudo") return jsonText;
  let listed: DataType = { type: "list", element: element.nested ?? element.type };
  for (let depth = 1; depth < column.dimensions; depth++) listed = { type: "list", element: listed };
  const json = (expression: string): string => {
    if (base.name === "money") return `to_json((${expression})::numeric[]::text[])`;
    // JSON numbers would lose digits of a numeric, and JSON in JSON would not be text any more.
    const beyond = base.builtIn ? arrayBeyond[base.name] : undefined;
    if (beyond !== undefined) {
      const refusal = `to_json('holds what is no ${base.name}: ' || (${expression})::text)`;
      return `CASE WHEN ${beyond(expression)} THEN ${refusal} ELSE to_json((${expression})::text[]) END`;
    }
    const needsText = base.builtIn && !plainInJson.has(base.name);
    return needsText ? `to_json((${expression})::text[])` : toJson(expression);
  };
  return { type: listed, select: json, encoding: "json", json, ordered: false };
}

const beyondCalendar = (array: string): string => `'0001-01-01' > ANY (${array}) OR 'infinity' = ANY (${array})`;

/** True for arrays that hold a value which does not fit the dataset. */
const arrayBeyond: Record<string, (array: string) => string> = {
  date: beyondCalendar,
  timestamp: beyondCalendar,
  timestamptz: beyondCalendar,
  time: (array) => `'24:00' <= ANY (${array})`,
};

/** Types whose arrays `to_json` renders without loss: numbers as numbers, the rest by their output functions. */
const plainInJson = new Set("bool int2 int4 int8 float4 float8 text varchar bpchar name inet cidr bytea".split(" "));

function mapComposite(catalog: TypeCatalog, type: PgType): Mapping {
  const names = new Set(type.fields.map((field) => field.name.toLowerCase()));
  if (names.size === 0 || names.size < type.fields.length) return jsonText;
  const fields = type.fields.map((field) => ({ name: field.name, mapping: mapType(catalog, field) }));
  const struct: StructType = {
    type: "struct",
    fields: fields.map(({ name, mapping }) => ({ name, type: mapping.nested ?? mapping.type })),
  };
  const json = (expression: string): string => {
    const members = fields.map(({ name, mapping }) => {
      const member = `(${expression}).${quoteName(postgresNames, name)}`;
      return `${quoteText(name)}, ${mapping.json(member)}`;
    });
    // `IS NULL` would also be true for a composite whose fields are all null.
    return `CASE WHEN (${expression}) IS DISTINCT FROM NULL THEN json_build_object(${members.join(", ")}) END`;
  };
  // A function takes a hundred arguments at most.
  return fields.length > 50 ? jsonText : { type: struct, select: json, encoding: "json", json, ordered: false };
}

const numberTypes = new Set(["int2", "int4", "int8", "numeric"]);

/**
 * What a flow asks for instead of the type that was found: `string`, `double`, or a decimal for numbers.
 * A value that does not fit the decimal is left with a remark, so that it is rejected and not rounded.
 */
export function overrideType(mapping: Mapping, wanted: string, column: string, typeName: string): Mapping {
  if (wanted === "string") return { ...text, select: mapping.type === "string" ? mapping.select : undefined };
  const isNumber = numberTypes.has(typeName);
  if (wanted === "double" && isNumber) return { type: "double", json: textJson, ordered: true };
  const digits = parseDecimal(wanted);
  const fits = digits !== undefined && digits.precision <= maximumPrecision && digits.scale <= digits.precision;
  if (!fits || !isNumber) {
    throw new MillraceError("config", `\`types\` asks for \`${column}\` as \`${wanted}\``, {
      where: { column },
      hint: "a number may be `double` or, up to 38 digits, `decimal(precision,scale)`; any column may be `string`",
    });
  }
  const { precision, scale } = digits;
  const select = (expression: string): string => {
    const value = `(${expression})::numeric`;
    return `CASE WHEN ${value} = round(${value}, ${scale}) THEN round(${value}, ${scale})::text ELSE 'has more than ${scale} decimals: ' || (${expression})::text END`;
  };
  const canonical = (expression: string): string => `round((${expression})::numeric, ${scale})::text`;
  return { ...decimal(precision, scale), select, canonical };
}

/** A text literal; `standard_conforming_strings` is on in every session. */
export function quoteText(value: string): string {
  return `'${value.replaceAll("\0", "").replaceAll("'", "''")}'`;
}

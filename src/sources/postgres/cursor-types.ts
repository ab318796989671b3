import { MillraceError } from "../../core/index.ts";
import { quoteText } from "../../protocols/postgres/types.ts";

/** A type whose values can be a position: totally ordered, exact as text. */
interface CursorType {
  /** As SQL names it. */
  sql: string;
  /** True for values beyond all others, which are no positions. Absent: there are none. */
  unordered?: (column: string) => string;
  /** The value less a lag; absent: the type has no distances. */
  minus?: (value: string, lag: number) => string;
}

const infinite = (column: string): string => `${column} IN ('infinity', '-infinity')`;
/** By their text: servers before 14 do not know an infinite numeric. */
const notNumbers = (column: string): string => `${column}::text IN ('NaN', 'Infinity', '-Infinity')`;
const seconds = (value: string, lag: number): string => `(${value} - make_interval(secs => ${lag}))`;
const units = (value: string, lag: number): string => `(${value} - ${lag}::numeric)`;
/** Not numeric: an index on the column could not be used. */
const wholeUnits = (value: string, lag: number): string => `(${value}::bigint - ${Math.ceil(lag)}::bigint)`;

const cursorTypes: Record<string, CursorType> = {
  timestamptz: { sql: "timestamp with time zone", unordered: infinite, minus: seconds },
  timestamp: { sql: "timestamp without time zone", unordered: infinite, minus: seconds },
  date: { sql: "date", unordered: infinite, minus: (value, lag) => `(${value} - ${Math.ceil(lag / 86_400)})` },
  int2: { sql: "smallint", minus: wholeUnits },
  int4: { sql: "integer", minus: wholeUnits },
  int8: { sql: "bigint", minus: wholeUnits },
  numeric: { sql: "numeric", unordered: notNumbers, minus: units },
  oid: { sql: "oid" },
  text: { sql: "text" },
  varchar: { sql: "text" },
  uuid: { sql: "uuid" },
};

export function isCursorType(name: string): boolean {
  return Object.hasOwn(cursorTypes, name);
}

/** Throws `config` for a type that cannot be read by. */
export function cursorType(name: string, column: string): CursorType {
  const type = Object.hasOwn(cursorTypes, name) ? cursorTypes[name] : undefined;
  if (type !== undefined) return type;
  throw new MillraceError(
    "config",
    `\`cursor\` names the column \`${column}\`, whose type \`${name}\` has no usable order`,
    {
      where: { column },
      hint: "take a time, a date, a number, a text or a uuid; `millrace discover` shows which columns suit",
    },
  );
}

/** A value of a position as SQL of the column's type. */
export function cursorLiteral(type: CursorType, value: string): string {
  return `${quoteText(value)}::${type.sql}`;
}

/** Where the window of a lag begins. Throws `config` for a type without distances. */
export function lagStart(type: CursorType, value: string, lag: number, column: string): string {
  if (type.minus === undefined) {
    throw new MillraceError("config", `\`lag\` does not go with the column \`${column}\` of type \`${type.sql}\``, {
      where: { column },
      hint: "leave `lag` out, or read by a time or a number",
    });
  }
  return type.minus(cursorLiteral(type, value), lag);
}

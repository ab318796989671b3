import { parseDecimal, type Column, type DataType, type PrimitiveType } from "../../core/index.ts";

const primitives: Partial<Record<PrimitiveType, string>> = {
  boolean: "boolean",
  int: "integer",
  long: "bigint",
  float: "real",
  double: "double precision",
  date: "date",
  time: "time without time zone",
  timestamp: "timestamp without time zone",
  timestamptz: "timestamp with time zone",
  string: "text",
  uuid: "uuid",
  binary: "bytea",
};

function primitiveSql(type: PrimitiveType): string {
  const decimal = parseDecimal(type);
  return decimal === undefined ? primitives[type]! : `numeric(${decimal.precision},${decimal.scale})`;
}

/** The server's type of a column. Lists of simple values are arrays; all else that is nested is `jsonb`. */
export function columnSql(type: DataType): string {
  if (typeof type === "string") return primitiveSql(type);
  return isArray(type) ? `${primitiveSql(type.element as PrimitiveType)}[]` : "jsonb";
}

export function isArray(type: DataType): type is { type: "list"; element: PrimitiveType } {
  return typeof type !== "string" && type.type === "list" && typeof type.element === "string";
}

/** How the text of a cell has to be written anew before the server reads it as the column's type; undefined: not at all. */
export function cellWriter({ type }: Column): ((cell: string) => string) | undefined {
  if (type === "binary") return (cell) => `\\x${cell}`;
  return isArray(type) ? arrayWriter(type.element) : undefined;
}

/** `[1,null,"a"]` → `{1,NULL,"a"}`. https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO */
function arrayWriter(element: PrimitiveType): (cell: string) => string {
  // Numbers, dates and uuids hold nothing that JSON or the server would escape.
  if (element !== "string" && element !== "binary") return (cell) => `{${cell.slice(1, -1)}}`;
  const prefix = element === "binary" ? "\\\\x" : "";
  const write = (value: string | null): string =>
    value === null ? "NULL" : `"${prefix}${value.replaceAll(/["\\]/g, "\\$&")}"`;
  return (cell) => `{${(JSON.parse(cell) as (string | null)[]).map(write).join(",")}}`;
}

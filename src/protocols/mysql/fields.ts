import type { FieldPacket } from "mysql2";
import type { ServerColumn } from "./types.ts";

/** Types of the protocol: https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html */
const protocolTypes: Record<number, string> = {
  0: "decimal",
  1: "tinyint",
  2: "smallint",
  3: "int",
  4: "float",
  5: "double",
  6: "null",
  7: "timestamp",
  8: "bigint",
  9: "mediumint",
  10: "date",
  11: "time",
  12: "datetime",
  13: "year",
  14: "date",
  15: "varchar",
  16: "bit",
  242: "vector",
  245: "json",
  246: "decimal",
  247: "enum",
  248: "set",
  249: "tinyblob",
  250: "mediumblob",
  251: "longblob",
  252: "blob",
  253: "varchar",
  254: "char",
  255: "geometry",
};
const flagUnsigned = 32;
const flagZerofill = 64;
const flagEnum = 256;
const flagSet = 2048;
const binaryCharacterSet = 63;
/** What the header of a result says where a number of decimals was not declared. */
const notFixed = 31;

/** A column of a result, as its header describes it. */
export function serverColumn(field: FieldPacket): ServerColumn {
  const {
    name,
    characterSet,
    columnLength,
    decimals,
    extendedTypeName,
    type: code = 253,
  } = field as FieldPacket & {
    characterSet: number;
    columnLength: number;
    extendedTypeName?: string;
  };
  const flags = Number(field.flags);
  const unsigned = (flags & flagUnsigned) !== 0;
  const binary = characterSet === binaryCharacterSet;
  let type = extendedTypeName ?? protocolTypes[code] ?? "varchar";
  if (flags & flagEnum) type = "enum";
  if (flags & flagSet) type = "set";
  // The protocol calls text of any length a blob; only its character set tells.
  if (!binary && type.endsWith("blob")) type = "text";
  const column: ServerColumn = {
    name,
    type,
    unsigned,
    zerofill: (flags & flagZerofill) !== 0,
    binary,
    required: false,
  };
  if (type === "decimal") {
    column.precision = columnLength - (decimals > 0 ? 1 : 0) - (unsigned ? 0 : 1);
    column.scale = decimals;
  } else if (type === "bit" || type === "tinyint") column.precision = columnLength;
  else if ((type === "float" || type === "double") && decimals < notFixed) column.scale = decimals;
  return column;
}

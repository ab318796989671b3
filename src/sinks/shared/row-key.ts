import {
  MillraceError,
  parseDecimal,
  suggestion,
  type Column,
  type DataType,
  type LookupValue,
  type PublishRequest,
  type VersionRows,
} from "../../core/index.ts";

/** The text of a value of a key column, the same for all ways to write it; undefined: no row can have it. */
export function keyText(value: LookupValue, type: DataType): string | undefined {
  if (value === null || (typeof value === "object" && !(value instanceof Uint8Array))) {
    throw new MillraceError("usage", value === null ? "a key cannot be null" : "a key cannot be nested");
  }
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  const text = String(value);
  if (type === "int" || type === "long") return /^[+-]?\d+$/.test(text) ? String(BigInt(text)) : undefined;
  if (type === "float" || type === "double") return numberText(Number(text));
  if (type === "boolean") return /^(true|false)$/i.test(text) ? text.toLowerCase() : undefined;
  if (type === "uuid" || type === "binary") return text.toLowerCase();
  return typeof type === "string" && parseDecimal(type) ? decimalText(text) : text;
}

const numberText = (value: number): string => (Object.is(value, -0) ? "0" : String(value));

/** Without zeros that say nothing: `1.50` and `1.5` are one key. */
function decimalText(text: string): string | undefined {
  const [, sign, whole, part = ""] = /^([+-]?)0*(\d*)(?:\.(\d*?)0*)?$/.exec(text) ?? [];
  if (whole === undefined || (whole === "" && part === "" && !/\d/.test(text))) return undefined;
  const digits = `${whole === "" ? "0" : whole}${part === "" ? "" : `.${part}`}`;
  return sign === "-" && digits !== "0" ? `-${digits}` : digits;
}

/** The key of a row as one text: the JSON of a list with the text of each key column. */
export const fieldOf = (texts: readonly string[]): string => JSON.stringify(texts);

/** The columns of a key by which rows are found. Throws `usage` for none, `config` for one that there is not or that is nested. */
export function keyColumns(version: VersionRows, { target, key }: PublishRequest): Column[] {
  if (key.length === 0) {
    throw new MillraceError("usage", `\`${target}\` needs a key: rows are found by it`, {
      hint: "name its columns with --key",
    });
  }
  return key.map((name) => {
    const column = version.columns.find((each) => each.name === name);
    if (column === undefined) {
      throw new MillraceError("config", `the key names \`${name}\`, which the rows do not have`, {
        where: { column: name },
        hint: suggestion(
          name,
          version.columns.map((each) => each.name),
        ),
      });
    }
    if (typeof column.type === "string") return column;
    throw new MillraceError("config", `\`${name}\` holds nested values and cannot be a key`, {
      where: { column: name },
    });
  });
}

import { createHash } from "node:crypto";
import {
  formatType,
  MillraceError,
  parseDecimal,
  sqlName,
  sqlString,
  suggestion,
  type Column,
  type Sql,
} from "../core/index.ts";
import type { SplitSpec } from "../pipeline/flow.ts";

/*
 * The assignment, so that anybody can compute it again (docs/guide/splits.md):
 *
 *   text(v)  canonical text of a key value, `\N` for null
 *   h        first 13 hexadecimal digits of md5(seed ␟ text(key₁) ␟ text(key₂) …), ␟ = U+001F, UTF-8
 *   u        h / 2^52, exact in a double, 0 ≤ u < 1
 *   split    train when u < train, else validation when u < train + validation, else test
 *
 * It depends on nothing else: not on other rows, not on order, not on the engine. So rows never move when others are appended.
 */

export type SplitName = "train" | "validation" | "test";

const separator = "\x1f";
const nullText = "\\N";
/** Hexadecimal digits of the hash: 52 bits, which a double holds exactly. */
export const hashDigits = 13;
const range = 2 ** 52;

/** Splits in order with the upper end of their share of [0, 1); the last one takes what is left. */
function cuts(spec: SplitSpec): { name: SplitName; below: number }[] {
  let sum = 0;
  const all: { name: SplitName; below: number }[] = [];
  for (const name of ["train", "validation", "test"] as const) {
    const share = spec[name];
    if (share === undefined || share === 0) continue;
    sum += share;
    // 0.7 + 0.1 is 0.7999999999999999 in doubles; twelve decimals are what people mean.
    all.push({ name, below: Math.round(sum * 1e12) / 1e12 });
  }
  if (all.length === 0)
    throw splitError(
      "`split` gives no share to `train`, `validation` or `test`",
      "for instance `train: 0.8, validation: 0.1, test: 0.1`",
    );
  return all;
}

export function splitError(message: string, hint: string, column?: string): MillraceError {
  return new MillraceError("config", message, { hint, ...(column === undefined ? {} : { where: { column } }) });
}

export function columnNamed(name: string, columns: readonly Column[], setting: string): Column {
  const found = columns.find((column) => column.name === name);
  if (found !== undefined) return found;
  throw splitError(
    `\`${setting}\` names the column \`${name}\`, which is not there`,
    suggestion(
      name,
      columns.map((column) => column.name),
    ),
    name,
  );
}

const list = (value: string | string[] | undefined): string[] =>
  value === undefined ? [] : typeof value === "string" ? [value] : value;

/**
 * The columns whose values decide: `split.key`, else the key of the dataset, else all columns by name.
 * Throws `config` for a column that is not there.
 */
export function splitKey(spec: SplitSpec, columns: readonly Column[], key: readonly string[]): Column[] {
  if (spec.key !== undefined) return list(spec.key).map((name) => columnNamed(name, columns, "split.key"));
  if (key.length > 0) return key.map((name) => columnNamed(name, columns, "key"));
  return columns
    .filter((column) => column.name !== spec.into)
    .toSorted((left, right) => (left.name < right.name ? -1 : 1));
}

/**
 * The canonical text of a value, as SQL. It does not change when a column is widened (`int` to `long`, `float` to `double`, more
 * digits before the point), so that a dataset keeps its splits when its schema evolves.
 */
export function canonicalText(column: Column): Sql {
  const name = sqlName(column.name);
  return `coalesce(${textOf(name, column)}, ${sqlString(nullText)})`;
}

function textOf(name: Sql, { type }: Column): Sql {
  switch (type) {
    case "string":
      return name;
    case "float":
    case "double":
      // Adding zero makes one zero of both. Seventeen digits tell any two doubles apart.
      return `printf('%.17g', CAST(${name} AS DOUBLE) + 0.0)`;
    case "date":
      return `strftime(${name}, '%Y-%m-%d')`;
    case "timestamp":
      return `strftime(${name}, '%Y-%m-%dT%H:%M:%S.%f')`;
    case "timestamptz":
      return `strftime(${name} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')`;
    case "uuid":
      return `lower(CAST(${name} AS VARCHAR))`;
    case "binary":
      return `lower(hex(${name}))`;
    case "boolean":
    case "int":
    case "long":
    case "time":
      return `CAST(${name} AS VARCHAR)`;
    default:
      return typeof type === "string" ? `CAST(${name} AS VARCHAR)` : `CAST(to_json(${name}) AS VARCHAR)`;
  }
}

/**
 * The SQL expression of the split of a row: `'train'`, `'validation'` or `'test'`, never null. A pure function of the key of the
 * row and the seed (`by: random`) or of its time (`by: time`).
 *
 * Rows whose key is null are one group. Rows whose time is null are train, because nothing says that they are later.
 * Throws `config` for columns that are not there and boundaries that are not of the column's type.
 */
export function splitExpression(spec: SplitSpec, columns: readonly Column[], key: readonly string[]): Sql {
  for (const name of list(spec.stratify)) columnNamed(name, columns, "split.stratify");
  return spec.by === "time" ? timeExpression(spec, columns) : hashExpression(spec, splitKey(spec, columns, key));
}

/** The first 13 hexadecimal digits of the hash, as SQL. */
export function hashText(seed: string, keys: readonly Column[]): Sql {
  return hashOf(sqlString(`${seed}${separator}`), keys);
}

function hashOf(start: Sql, keys: readonly Column[]): Sql {
  return `left(md5(${start} || ${keys.map(canonicalText).join(` || ${sqlString(separator)} || `)}), ${hashDigits})`;
}

/** The same digits in TypeScript, from canonical texts; null for null. */
export function keyHash(seed: string, keyTexts: readonly (string | null)[]): string {
  const text = [seed, ...keyTexts.map((value) => value ?? nullText)].join(separator);
  return createHash("md5").update(text, "utf8").digest("hex").slice(0, hashDigits);
}

function hashExpression(spec: SplitSpec, keys: readonly Column[], hash = hashText(String(spec.seed), keys)): Sql {
  if (keys.length === 0) throw splitError("there is no column to split by", "name one in `split.key`");
  const all = cuts(spec);
  const last = all.at(-1)!;
  if (all.length === 1) return sqlString(last.name);
  // u < cut is h < cut · 2^52; hexadecimal texts of one length order as their numbers do, which saves the engine a conversion.
  const cases = all.slice(0, -1).map(
    (cut) =>
      `WHEN ${hash} < '${Math.ceil(cut.below * range)
        .toString(16)
        .padStart(hashDigits, "0")}' THEN ${sqlString(cut.name)}`,
  );
  return `CASE ${cases.join(" ")} ELSE ${sqlString(last.name)} END`;
}

/** The assignment under another seed, which may be a column: to compare seeds in one query. */
export function splitWithSeed(spec: SplitSpec, columns: readonly Column[], key: readonly string[], seed: Sql): Sql {
  const keys = splitKey(spec, columns, key);
  return hashExpression(spec, keys, hashOf(`CAST(${seed} AS VARCHAR) || ${sqlString(separator)}`, keys));
}

/** The same function in TypeScript, over canonical texts of the key in order; null for null. For `by: random` only. */
export function splitOf(spec: SplitSpec, keyTexts: readonly (string | null)[]): SplitName {
  if (spec.by === "time")
    throw new MillraceError("usage", "`splitOf` is for `by: random`; with `by: time` compare with the boundaries");
  const position = Number.parseInt(keyHash(String(spec.seed), keyTexts), 16) / range;
  const all = cuts(spec);
  return (all.find((cut) => position < cut.below) ?? all.at(-1)!).name;
}

function timeExpression(spec: SplitSpec, columns: readonly Column[]): Sql {
  const { boundaries } = spec;
  if (spec.column === undefined || boundaries === undefined) {
    throw splitError(
      "`split.by` is `time`, but `split.column` and `split.boundaries` do not say where to cut",
      "set both",
    );
  }
  const column = columnNamed(spec.column, columns, "split.column");
  if (boundaries.validation === undefined && boundaries.test === undefined) {
    throw splitError("`split.boundaries` is empty", "set `validation`, `test` or both to the first moment of each");
  }
  const cases: Sql[] = [];
  for (const name of ["test", "validation"] as const) {
    const boundary = boundaries[name];
    if (boundary !== undefined)
      cases.push(`WHEN ${sqlName(column.name)} >= ${boundarySql(boundary, column, name)} THEN ${sqlString(name)}`);
  }
  if (
    boundaries.validation !== undefined &&
    boundaries.test !== undefined &&
    order(boundaries.validation) > order(boundaries.test)
  ) {
    throw splitError(
      `\`split.boundaries.validation\` is \`${boundaries.validation}\`, after \`test\` at \`${boundaries.test}\``,
      "validation comes before test",
    );
  }
  return `CASE ${cases.join(" ")} ELSE 'train' END`;
}

const moment = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?\s?(?:Z|[+-]\d{2}(?::?\d{2})?)?)?$/;
const hasZone = (text: string): boolean => /(?:Z|[+-]\d{2}(?::?\d{2})?)$/.test(text.slice(10));
const number = /^[+-]?\d+(?:\.\d+)?$/;

function order(boundary: string): number {
  if (number.test(boundary)) return Number(boundary);
  const text = boundary
    .replace(/\s(?=Z|[+-]\d)/, "")
    .replace(" ", "T")
    .replace(/([+-]\d{2})(\d{2})$/, "$1:$2")
    .replace(/(T.*[+-]\d{2})$/, "$1:00");
  return Date.parse(hasZone(text) || text.length === 10 ? text : `${text}Z`);
}

/** A boundary as SQL of the column's kind. Throws `config` for what is none. */
export function boundarySql(boundary: string, column: Column, name: string): Sql {
  const wrong = (needs: string): MillraceError =>
    splitError(
      `\`split.boundaries.${name}\` is \`${boundary}\`, but \`${column.name}\` of type \`${formatType(column.type)}\` needs ${needs}`,
      "quote it in YAML",
      column.name,
    );
  const { type } = column;
  if (
    type === "int" ||
    type === "long" ||
    type === "float" ||
    type === "double" ||
    (typeof type === "string" && parseDecimal(type))
  ) {
    if (!number.test(boundary)) throw wrong("a number");
    return `(${boundary})`;
  }
  if (type !== "date" && type !== "timestamp" && type !== "timestamptz") {
    throw splitError(
      `\`split.column\` is \`${column.name}\` of type \`${formatType(type)}\`, but a split by time needs a date, a timestamp or a number`,
      `cast it in the \`transform\`: \`select * replace (cast(${column.name} as timestamp) as ${column.name}) from input\``,
      column.name,
    );
  }
  if (!moment.test(boundary) || Number.isNaN(order(boundary)))
    throw wrong("a date such as `2024-01-31` or a timestamp such as `2024-01-31T12:00:00Z`");
  if (type === "timestamptz") {
    const zoned = hasZone(boundary) ? boundary : boundary.length === 10 ? `${boundary} 00:00:00Z` : `${boundary}Z`;
    return `CAST(${sqlString(zoned)} AS TIMESTAMPTZ)`;
  }
  if (hasZone(boundary) && !boundary.endsWith("Z")) throw wrong("a moment without zone, because the column has none");
  return `CAST(${sqlString(boundary.replace(/\s?Z$/, ""))} AS TIMESTAMP)`;
}

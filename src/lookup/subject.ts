import { createHash } from "node:crypto";
import {
  MillraceError,
  parseDecimal,
  sqlName,
  suggestion,
  type Column,
  type DataType,
  type Sql,
} from "../core/index.ts";
import type { Dataset, Version } from "../dataset/index.ts";
import type { Engine } from "../engine/index.ts";
import type { CacheSubject } from "../feed/cache.ts";
import { keyProblem } from "./key.ts";

/** Which rows of a version can be looked up, and by what. */
export interface IndexOptions {
  /** Columns that identify a row. */
  key: readonly string[];
  /** Columns of an answer, in this order; those of the key come first. Default: all. */
  columns?: readonly string[];
  /** An SQL condition on the rows. */
  where?: string;
  /** Of several rows with one key, the one with the greatest value here counts. Default: they are an error. */
  lastBy?: string;
}

export interface IndexSubject extends CacheSubject {
  /** The columns with their own types; in the cache nested ones are JSON text. */
  answered: Column[];
  /** Changes when the version, its content or the options do. */
  identity: string;
}

/** Throws `usage` for columns that are not there and for keys that are none. */
export async function indexSubject(
  engine: () => Promise<Engine>,
  dataset: Dataset,
  version: Version,
  options: IndexOptions,
): Promise<IndexSubject> {
  const all = dataset.columns(version);
  const named = (name: string, setting: string): Column => {
    const found = all.find((column) => column.name === name);
    if (found !== undefined) return found;
    throw new MillraceError("usage", `\`${setting}\` names \`${name}\`, which is no column of \`${dataset.name}\``, {
      where: { dataset: dataset.name, column: name },
      hint: suggestion(
        name,
        all.map((column) => column.name),
      ),
    });
  };
  const key = options.key.map((name) => named(name, "key"));
  if (key.length === 0 || new Set(options.key).size < key.length) {
    throw new MillraceError("usage", `the key of \`${dataset.name}\` must name one column or several different ones`, {
      where: { dataset: dataset.name },
      hint: "name what identifies a row: `--key id`",
    });
  }
  for (const column of key) {
    const problem = keyProblem(column);
    if (problem === undefined) continue;
    throw new MillraceError("usage", problem, {
      where: { dataset: dataset.name, column: column.name },
      hint: "choose another key, or make text of it in the flow's transform",
    });
  }
  const rest =
    options.columns?.map((name) => named(name, "columns")).filter((column) => !key.includes(column)) ??
    all.filter((column) => !key.includes(column));
  const answered = [...key, ...rest];
  if (options.lastBy !== undefined) named(options.lastBy, "last-by");

  const files = (await dataset.files(version)).toSorted((left, right) => (left.path < right.path ? -1 : 1));
  const content = createHash("sha256");
  for (const file of files) content.update(`${file.sha256 ?? file.path}\n`);
  const identity = JSON.stringify([
    "lookup",
    dataset.name,
    version.number,
    content.digest("hex"),
    options.key,
    rest.map((column) => column.name),
    options.where ?? null,
    options.lastBy ?? null,
  ]);
  const relations: Sql[] = [];
  for (const file of files) relations.push(await dataset.relation(version, [file], { rowNumber: true }));
  const where = options.where === undefined ? "" : ` WHERE (${options.where})`;
  const flat = await flatLists(engine, rest, relations, where);
  const kept = answered.map((column): { column: Column; item: Sql } =>
    isNested(column.type) && !flat.has(column.name)
      ? { column: { ...column, type: "string" }, item: jsonExpression(column) }
      : { column, item: sqlName(column.name) },
  );
  const list = kept.map(({ item }) => item).join(", ");
  return {
    dataset: dataset.name,
    identity,
    answered,
    columns: kept.map(({ column }) => column),
    selects:
      options.lastBy === undefined
        ? relations.map((relation) => `SELECT ${list} FROM ${relation}${where}`)
        : newestOnly(relations, list, options.key, options.lastBy, where),
  };
}

/** Of equal values the row that stands last counts, so that it is the same row each time. */
function newestOnly(
  relations: readonly Sql[],
  list: Sql,
  key: readonly string[],
  lastBy: string,
  where: string,
): Sql[] {
  if (relations.length === 0) return [];
  const rows = relations
    .map((relation, file) => `SELECT *, ${file} AS millrace_file FROM ${relation}${where}`)
    .join(" UNION ALL ");
  const order = `${sqlName(lastBy)} DESC NULLS LAST, millrace_file DESC, file_row_number DESC`;
  return [
    `SELECT ${list} FROM (${rows}) QUALIFY row_number() OVER (PARTITION BY ${key.map(sqlName).join(", ")} ORDER BY ${order}) = 1`,
  ];
}

const isNested = (type: DataType): boolean => typeof type !== "string";

/** Lists of numbers that hold no null: they stay numbers, and are a tensor. Manifests do not count the nulls inside of lists. */
async function flatLists(
  engine: () => Promise<Engine>,
  columns: readonly Column[],
  relations: readonly Sql[],
  where: string,
): Promise<Set<string>> {
  const lists = columns.filter(
    ({ type }) => typeof type !== "string" && type.type === "list" && numeric.has(type.element),
  );
  const flat = new Set(lists.map((column) => column.name));
  if (flat.size === 0 || relations.length === 0) return flat;
  const items = lists.map(
    ({ name }) => `coalesce(bool_or(list_count(${sqlName(name)}) < len(${sqlName(name)})), false) AS ${sqlName(name)}`,
  );
  const names = lists.map(({ name }) => sqlName(name)).join(", ");
  const rows = relations.map((relation) => `SELECT ${names} FROM ${relation}${where}`).join(" UNION ALL ");
  const [holed] = await (await engine()).query(`SELECT ${items.join(", ")} FROM (${rows})`);
  for (const { name } of lists) if (holed![name] === true) flat.delete(name);
  return flat;
}

const numeric = new Set<DataType>(["int", "long", "float", "double"]);

/** A nested column as JSON in which 64-bit integers and decimals are text. */
function jsonExpression({ name, type }: Column): Sql {
  return `to_json(CAST(${sqlName(name)} AS ${jsonType(type)}))::VARCHAR AS ${sqlName(name)}`;
}

function jsonType(type: DataType): Sql {
  if (typeof type !== "string") {
    switch (type.type) {
      case "list":
        return `${jsonType(type.element)}[]`;
      case "map":
        return `MAP(VARCHAR, ${jsonType(type.value)})`;
      case "struct":
        return `STRUCT(${type.fields.map((field) => `${sqlName(field.name)} ${jsonType(field.type)}`).join(", ")})`;
    }
  }
  if (parseDecimal(type)) return "VARCHAR";
  switch (type) {
    case "boolean":
      return "BOOLEAN";
    case "int":
      return "INTEGER";
    case "float":
      return "FLOAT";
    case "double":
      return "DOUBLE";
    default:
      return "VARCHAR";
  }
}

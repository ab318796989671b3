import {
  isMillraceError,
  MillraceError,
  sqlName,
  sqlString,
  suggestion,
  type Column,
  type Sql,
} from "../core/index.ts";
import type { Dataset } from "../dataset/index.ts";
import { emptyRelation, typeSql, type Engine } from "../engine/index.ts";

/** Whose rows go. At least one of `where` and `keys`; a row goes when either holds. */
export interface EraseSubject {
  /** A predicate over the columns of the dataset, in the engine's SQL. Null counts as false. */
  where?: string;
  /** Values of one column, compared as text; the column is the key of the flow when it has only one. */
  keys?: { column?: string; values: readonly string[] };
  /** Rejected records go too when their text has one of these in it, letter case aside: for records that could not be parsed. */
  text?: readonly string[];
}

/** The column of `keys`. Throws `usage`. */
export function keyColumn(subject: EraseSubject, dataset: Dataset, flowKey: readonly string[]): string | undefined {
  if (subject.keys === undefined) return undefined;
  const wanted = subject.keys.column ?? (flowKey.length === 1 ? flowKey[0] : undefined);
  const names = new Set(schemasOf(dataset).flatMap((columns) => columns.map(({ name }) => name)));
  if (wanted !== undefined && names.has(wanted)) return wanted;
  const where = { dataset: dataset.name };
  if (wanted === undefined) {
    throw new MillraceError("usage", "which column do the keys belong to?", { where, hint: "say so with `--column`" });
  }
  throw new MillraceError("usage", `\`${dataset.name}\` has no column \`${wanted}\``, {
    where,
    hint: suggestion(wanted, [...names]),
  });
}

/** The predicate over the rows of the dataset. Throws `usage` when the subject names nobody. */
export function rowPredicate(subject: EraseSubject, column: string | undefined): Sql {
  const parts: Sql[] = [];
  if (subject.where !== undefined) parts.push(`(${subject.where}\n)`);
  if (column !== undefined && subject.keys!.values.length > 0) {
    parts.push(`CAST(${sqlName(column)} AS VARCHAR) IN (${subject.keys!.values.map(sqlString).join(", ")})`);
  }
  if (parts.length > 0) return parts.map((part) => `coalesce(${part}, false)`).join(" OR ");
  throw new MillraceError("usage", "nothing says whose rows are to be erased", {
    hint: "--where \"email = 'a@b.example'\", or --keys with a file that has one key a line",
  });
}

/** The text that tells one erasure from another. */
export function subjectText(subject: EraseSubject, column: string | undefined): string {
  const keys = subject.keys === undefined ? null : { column, values: [...new Set(subject.keys.values)].sort() };
  return JSON.stringify([subject.where ?? null, keys, [...(subject.text ?? [])].sort()]);
}

/** The different columns that versions of the dataset have or had. */
function schemasOf(dataset: Dataset): Column[][] {
  const schemas = new Map<string, Column[]>();
  for (const columns of [dataset.columns(), ...dataset.versions().map((version) => dataset.columns(version))]) {
    schemas.set(JSON.stringify(columns), columns);
  }
  return [...schemas.values()];
}

/**
 * The same subject as a predicate over the rejected dataset: the record, JSON of a row, is read as the row that it would have been.
 * What could not be parsed holds no columns; there a key counts when it stands in the text as a word.
 */
export async function rejectedPredicate(
  subject: EraseSubject,
  column: string | undefined,
  dataset: Dataset,
  engine: Pick<Engine, "query">,
): Promise<Sql> {
  const predicate = rowPredicate(subject, column);
  const parts: Sql[] = [];
  for (const columns of schemasOf(dataset)) {
    if (!(await fits(engine, columns, predicate))) continue;
    const values = columns.map(({ name, type }) => {
      const path = sqlString(`$."${name.replaceAll('"', '\\"')}"`);
      const value =
        typeof type === "string"
          ? `TRY_CAST(json_extract_string(t.record, ${path}) AS ${typeSql(type)})`
          : `TRY(CAST(json_extract(t.record, ${path}) AS ${typeSql(type)}))`;
      return `CASE WHEN json_valid(t.record) THEN ${value} END AS ${sqlName(name)}`;
    });
    parts.push(`coalesce((SELECT (${predicate}) FROM (SELECT ${values.join(", ")}) AS row), false)`);
  }
  if (subject.keys !== undefined && subject.keys.values.length > 0) {
    const words = `(SELECT unnest([${subject.keys.values.map(sqlString).join(", ")}]) AS word)`;
    const edge = "[^\\p{L}\\p{N}]";
    parts.push(
      `(t."check" IS NULL AND EXISTS (SELECT 1 FROM ${words} AS w WHERE ` +
        `regexp_matches(t.record, '(^|${edge})' || regexp_escape(w.word) || '(${edge}|$)')))`,
    );
  }
  for (const text of subject.text ?? []) {
    const everything = "concat_ws(' ', t.record, t.reason, t.origin)";
    parts.push(`contains(lower(${everything}), lower(${sqlString(text)}))`);
  }
  return parts.length === 0 ? "false" : parts.join(" OR ");
}

async function fits(engine: Pick<Engine, "query">, columns: readonly Column[], predicate: Sql): Promise<boolean> {
  try {
    await engine.query(`SELECT 1 FROM ${emptyRelation(columns)} AS t WHERE ${predicate}`);
    return true;
  } catch (error) {
    if (!isMillraceError(error) || error.code === "aborted") throw error;
    return false;
  }
}

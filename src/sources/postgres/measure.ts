import { parseDecimal, type Column, type ColumnFacts, type Cursor } from "../../core/index.ts";
import { fromCursor } from "../sql/index.ts";
import { cursorLiteral, cursorType } from "./cursor-types.ts";
import type { Session } from "../../protocols/postgres/session.ts";
import type { Subject, SubjectColumn } from "../../protocols/postgres/subject.ts";

/** Columns measured by one statement: the server allows 1,664 expressions. */
const columnsAtOnce = 300;

/** Rows, nulls, checksums, minima and maxima of a subject, computed by the server in the transaction of the session. */
export async function measureSubject(
  session: Session,
  subject: Subject,
  options: { columns: readonly Column[]; upTo?: Cursor; cursor?: string; signal?: AbortSignal },
): Promise<{ rows: number; columns: Record<string, ColumnFacts> }> {
  const { signal } = options;
  let condition = "";
  if (options.upTo !== undefined && options.cursor !== undefined) {
    const position = fromCursor(options.upTo, options.cursor, subject.stream);
    const column = subject.all.find((candidate) => candidate.name === position.column)!;
    const value = cursorLiteral(cursorType(column.typeName, column.name), position.value);
    condition = ` WHERE ${column.sql} <= ${value}`;
  }
  const [encoding] = await session.query("SELECT getdatabaseencoding() AS name");
  const isUtf8 = encoding!.name === "UTF8";
  const wanted = options.columns.flatMap((column) => {
    const found = subject.all.find((candidate) => candidate.name === column.name);
    return found === undefined ? [] : [{ column, found }];
  });
  const result: { rows: number; columns: Record<string, ColumnFacts> } = { rows: 0, columns: {} };
  for (let start = 0; start === 0 || start < wanted.length; start += columnsAtOnce) {
    const batch = wanted.slice(start, start + columnsAtOnce);
    const expressions = batch.flatMap(({ column, found }, index) => factsSql(column, found, index, isUtf8));
    const list = ["count(*) AS rows", ...expressions].join(", ");
    const [row] = await session.query(`SELECT ${list} FROM ${subject.from}${condition}`, [], signal);
    result.rows = Number(row!.rows);
    for (const [index, { column }] of batch.entries()) {
      const facts: ColumnFacts = { nulls: Number(row![`nulls_${index}`]) };
      for (const name of ["checksum", "min", "max"] as const) {
        const value = row![`${name}_${index}`];
        if (value !== undefined && value !== null) facts[name] = value;
      }
      result.columns[column.name] = facts;
    }
  }
  return result;
}

function factsSql(column: Column, found: SubjectColumn, index: number, isUtf8: boolean): string[] {
  const { sql, mapping } = found;
  const expressions = [`count(*) - count(${nullable(found)}) AS nulls_${index}`];
  const canonical = canonicalFor(column, found);
  if (canonical !== undefined) {
    // The bytes that count are those of UTF-8, whatever the database stores.
    const bytes = isUtf8 ? canonical : `convert_to(${canonical}, 'UTF8')`;
    const number = `('x' || substr(md5(${bytes}), 1, 15))::bit(60)::bigint`;
    expressions.push(`coalesce(sum(CASE WHEN ${sql} IS NOT NULL THEN ${number} END), 0)::text AS checksum_${index}`);
  }
  if (mapping.ordered) {
    const ordered = mapping.type === "string" ? `${sql} COLLATE "C"` : sql;
    const text = mapping.canonical ?? ((expression: string) => `(${expression})::text`);
    expressions.push(`${text(`min(${ordered})`)} AS min_${index}`, `${text(`max(${ordered})`)} AS max_${index}`);
  }
  return expressions;
}

/** `count` of a composite would not count one whose fields are all null. */
function nullable({ sql, mapping }: SubjectColumn): string {
  return typeof mapping.type === "string" ? sql : `CASE WHEN ${sql} IS DISTINCT FROM NULL THEN 1 END`;
}

/** The text of a value as the dataset has it: its column may be wider than the source's by now. */
function canonicalFor(column: Column, { sql, mapping }: SubjectColumn): string | undefined {
  if (mapping.canonical === undefined || typeof column.type !== "string" || typeof mapping.type !== "string")
    return undefined;
  if (column.type === mapping.type) return mapping.canonical(sql);
  const integers = ["int", "long"];
  if (integers.includes(column.type) && integers.includes(mapping.type)) return mapping.canonical(sql);
  const decimal = parseDecimal(column.type);
  const isExact = integers.includes(mapping.type) || parseDecimal(mapping.type) !== undefined;
  return decimal && isExact ? `round((${sql})::numeric, ${decimal.scale})::text` : undefined;
}

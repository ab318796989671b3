import * as z from "zod";
import {
  isMillraceError,
  MillraceError,
  suggestion,
  type Column,
  type Encoding,
  type ReadRequest,
} from "../../core/index.ts";
import { postgresNames, quoteName, wrapQuery } from "../sql/names.ts";
import { loadTypes, type TypeCatalog } from "./catalog.ts";
import { findRelation, loadFacts, relationSql, streamName, type Relation, type RelationColumn } from "./relations.ts";
import type { Session } from "./session.ts";
import { mapType, overrideType, type Mapping } from "./types.ts";

/** Options of a stream: `from.options` of a flow. */
const streamOptions = z.strictObject({
  types: z
    .record(z.string(), z.string())
    .default({})
    .describe("Types of columns other than those found: `string`, `double` or `decimal(precision,scale)`."),
});

export interface SubjectColumn {
  name: string;
  /** The quoted name. */
  sql: string;
  /** Name of the base type in `pg_type`; domains are resolved. */
  typeName: string;
  /** The type as SQL names it, for a cast of text; undefined for the columns of a query. */
  cast: string | undefined;
  /** Computed from other columns of the row. */
  generated: boolean;
  required: boolean;
  doc: string | undefined;
  mapping: Mapping;
}

/** What a request reads: a relation, or a statement. */
export interface Subject {
  /** For messages. */
  stream: string;
  relation: Relation | undefined;
  /** A FROM item, alias included. */
  from: string;
  /** All columns. */
  all: SubjectColumn[];
  /** The columns that are read, in order. */
  columns: SubjectColumn[];
  key: string[];
}

/**
 * Resolves a request to a subject. `lock` keeps the relation from being altered, rewritten or dropped until the
 * transaction of the session ends; it must come before the first statement that takes a snapshot.
 */
export async function findSubject(session: Session, request: ReadRequest): Promise<Subject> {
  const { types } = parseOptions(request);
  if (request.query !== undefined) return querySubject(session, request, request.query, types);
  if (request.stream === undefined) {
    throw new MillraceError("config", "neither `stream` nor `query` says what to read", {
      hint: "`millrace discover` lists the streams of a connection",
    });
  }
  const relation = await findRelation(session, request.stream);
  const facts = (await loadFacts(session, [relation.oid])).get(relation.oid)!;
  const catalog = await loadTypes(session, [...new Set(facts.columns.map((column) => column.type))]);
  const all = facts.columns.map((column) => subjectColumn(column, catalog, types));
  const stream = streamName(relation);
  return {
    stream,
    relation,
    from: `${relationSql(relation)} AS subject`,
    all,
    columns: chosenColumns(all, request, types, stream),
    key: facts.key,
  };
}

async function querySubject(
  session: Session,
  request: ReadRequest,
  query: string,
  types: Record<string, string>,
): Promise<Subject> {
  const from = wrapQuery(query, "subject");
  const fields = await session.describe(`SELECT * FROM ${from} LIMIT 0`);
  const catalog = await loadTypes(session, [...new Set(fields.map((field) => field.type))]);
  const seen = new Set<string>();
  for (const { name } of fields) {
    if (seen.has(name)) {
      throw new MillraceError("config", `the query gives two columns the name \`${name}\``, {
        hint: "name one of them otherwise with `AS`",
      });
    }
    seen.add(name);
  }
  const all = fields.map((field) =>
    subjectColumn(
      { ...field, dimensions: 0, required: false, doc: undefined, serial: false, generated: false, cast: undefined },
      catalog,
      types,
    ),
  );
  return {
    stream: "query",
    relation: undefined,
    from,
    all,
    columns: chosenColumns(all, request, types, "query"),
    key: [],
  };
}

function parseOptions(request: ReadRequest): z.output<typeof streamOptions> {
  const result = streamOptions.safeParse(request.options ?? {});
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => {
    const path = ["options", ...issue.path].join(".");
    return issue.code === "unrecognized_keys"
      ? `\`${issue.keys.join("`, `")}\` is not an option of a stream`
      : `\`${path}\`: ${issue.message}`;
  });
  throw new MillraceError("config", problems.join("; "), { hint: "a stream of PostgreSQL takes the option `types`" });
}

function subjectColumn(column: RelationColumn, catalog: TypeCatalog, types: Record<string, string>): SubjectColumn {
  const found = mapType(catalog, column);
  const wanted = Object.hasOwn(types, column.name) ? types[column.name] : undefined;
  let type = catalog.get(column.type);
  while (type?.kind === "domain") type = catalog.get(type.base);
  const typeName = type?.builtIn ? type.name : "";
  return {
    name: column.name,
    sql: quoteName(postgresNames, column.name),
    typeName,
    cast: column.cast,
    generated: column.generated,
    required: column.required,
    doc: column.doc,
    mapping: wanted === undefined ? found : overrideType(found, wanted, column.name, typeName),
  };
}

function chosenColumns(
  all: readonly SubjectColumn[],
  request: ReadRequest,
  types: Record<string, string>,
  stream: string,
): SubjectColumn[] {
  const find = (name: string): SubjectColumn => {
    const column = all.find((candidate) => candidate.name === name);
    if (column !== undefined) return column;
    const names = all.map((candidate) => candidate.name);
    throw new MillraceError("not-found", `\`${stream}\` has no column \`${name}\``, {
      where: { stream, column: name },
      hint: suggestion(name, names),
    });
  };
  for (const name of Object.keys(types)) find(name);
  if (request.cursor !== undefined) find(request.cursor);
  if (request.columns === undefined) {
    if (all.length > 0) return [...all];
    throw new MillraceError("unsupported", `\`${stream}\` has no columns`, { where: { stream } });
  }
  return request.columns.map(find);
}

export function planColumns(columns: readonly SubjectColumn[]): Column[] {
  return columns.map((column) => ({
    name: column.name,
    type: column.mapping.type,
    ...(column.required ? { required: true } : {}),
    ...(column.doc === undefined ? {} : { doc: column.doc }),
  }));
}

export function encodingsOf(columns: readonly SubjectColumn[]): Record<string, Encoding> {
  const named = columns.flatMap(({ name, mapping }) =>
    mapping.encoding === undefined ? [] : [[name, mapping.encoding]],
  );
  return Object.fromEntries(named) as Record<string, Encoding>;
}

/** The select list of a read: the columns as they are wherever the server's own text will do. */
export function selectList(columns: readonly SubjectColumn[]): string {
  return columns.map(({ sql, mapping }) => mapping.select?.(sql) ?? sql).join(", ");
}

/** The contents of a row as 32 hexadecimal digits. */
export function rowHash(subject: Subject, columns: readonly string[]): string {
  const values = columns.map((name) => subject.all.find((candidate) => candidate.name === name)!.sql);
  return `md5(ROW(${values.join(", ")})::text)`;
}

/** Reading nothing shows what may not be read, and by a grant on some columns only those count. */
export async function requireReadable(session: Session, subject: Subject, user: string): Promise<void> {
  const list = subject.columns.map((column) => column.sql).join(", ");
  try {
    await session.query(`SELECT ${list} FROM ${subject.from} LIMIT 0`);
  } catch (error) {
    if (!isMillraceError(error) || error.code !== "permission" || subject.relation === undefined) throw error;
    const { schema, name } = subject.relation;
    throw new MillraceError("permission", `\`${user}\` may not read \`${subject.stream}\``, {
      cause: error,
      where: { stream: subject.stream },
      hint: `GRANT USAGE ON SCHEMA "${schema}" TO "${user}"; GRANT SELECT ON "${schema}"."${name}" TO "${user}"`,
    });
  }
}

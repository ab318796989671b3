import { MillraceError, suggestion, type ReadRequest } from "../../core/index.ts";
import { wrapQuery } from "../sql/names.ts";
import { describeTable, type TableInfo } from "./discover.ts";
import { formatStream, parseStream, quoteTable } from "./names.ts";
import type { Session } from "./session.ts";
import { mapColumns, type MappedColumn } from "./types.ts";

/** What a request reads: a table, a view, or a query. */
export interface Relation {
  /** For messages. */
  stream: string;
  /** A FROM item. */
  from: string;
  /** All columns of the relation. */
  all: MappedColumn[];
  /** The columns asked for, in the order asked for. */
  columns: MappedColumn[];
  key: string[];
  /** Undefined for queries. */
  table: TableInfo | undefined;
}

/** Finds out what a request means. Throws `config`, `not-found` or `permission`. */
export async function findRelation(session: Session, request: ReadRequest, signal?: AbortSignal): Promise<Relation> {
  const found = await (request.query === undefined
    ? tableRelation(session, request.stream, signal)
    : queryRelation(session, request.query));
  return { ...found, columns: chosenColumns(found, request) };
}

type Found = Omit<Relation, "columns">;

async function tableRelation(session: Session, stream: string | undefined, signal?: AbortSignal): Promise<Found> {
  if (stream === undefined) {
    throw new MillraceError("config", "neither `stream` nor `query` says what to read", {
      hint: "`millrace discover` lists the streams of a connection",
    });
  }
  const { database } = session.settings;
  const table = await describeTable(session, parseStream(stream, database), signal);
  return {
    stream: formatStream(table.name, database),
    from: quoteTable(table.name),
    all: table.columns,
    key: table.key,
    table,
  };
}

async function queryRelation(session: Session, query: string): Promise<Found> {
  const from = wrapQuery(query, "subject");
  const all = mapColumns(await session.describe(`SELECT * FROM ${from}`), session.settings);
  return { stream: "query", from, all, key: [], table: undefined };
}

function chosenColumns({ all, stream }: Found, request: ReadRequest): MappedColumn[] {
  if (request.columns === undefined) return all;
  return request.columns.map((name) => {
    const column = all.find((candidate) => candidate.name === name);
    if (column !== undefined) return column;
    throw new MillraceError("not-found", `\`${stream}\` has no column \`${name}\``, {
      where: { stream, column: name },
      hint: suggestion(
        name,
        all.map((candidate) => candidate.name),
      ),
    });
  });
}

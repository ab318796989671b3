import { createHash } from "node:crypto";
import { MillraceError, type Column, type ReadRequest } from "../../core/index.ts";
import type { Session } from "../../protocols/postgres/session.ts";
import { findSubject, planColumns, type Subject, type SubjectColumn } from "../../protocols/postgres/subject.ts";
import { relationSql } from "../../protocols/postgres/relations.ts";

/** The columns that every stream of changes has after those of its table. */
export const metaColumns: readonly Column[] = [
  { name: "_op", type: "string", doc: "insert, update, delete, truncate; snapshot for rows of the first reading" },
  { name: "_lsn", type: "string", doc: "where the transaction was committed, in the order of commits" },
  { name: "_index", type: "long", doc: "number of the change in its transaction" },
  { name: "_xid", type: "long", doc: "the transaction" },
  { name: "_committed_at", type: "timestamptz", doc: "when it was committed" },
  { name: "_deleted", type: "boolean", doc: "the row is gone" },
];

/** A table whose changes are read. */
export interface ChangeTable {
  stream: string;
  oid: number;
  subject: Subject;
  /** What is read of it: columns that are computed are not in the server's log. */
  columns: SubjectColumn[];
  /** The columns after them: all of `metaColumns`, unless the request chooses. */
  meta: Column[];
  /** Columns that tell its rows apart. */
  key: string[];
  /** Positions in `columns` of the key; a change of one of them is a deletion and an insertion. */
  keyColumns: number[];
  /** All columns of the row as it was are in the log. */
  full: boolean;
  /** Of the columns and how they are read: a part is of one digest. */
  digest: string;
}

/** Columns of the stream as they are planned: what a deletion does not say is null, so only `_op` and its like are always there. */
export function streamColumns(table: ChangeTable): Column[] {
  const columns = planColumns(table.columns).map((column): Column => ({ ...column, required: false }));
  return [...columns, ...table.meta];
}

/** Resolves a request to a table. Throws what keeps its changes from being read, and the statement that mends it. */
export async function findTable(session: Session, request: ReadRequest): Promise<ChangeTable> {
  if (request.query !== undefined) {
    throw new MillraceError("unsupported", "the changes of a query are not in the server's log", {
      hint: "name a table with `stream`; `transform` can do the rest",
    });
  }
  const meta = new Set(metaColumns.map(({ name }) => name));
  const wanted = request.columns?.filter((name) => !meta.has(name));
  const { cursor: _, columns: __, ...rest } = request;
  const subject = await findSubject(session, wanted === undefined ? rest : { ...rest, columns: wanted });
  const { relation, stream } = subject;
  if (relation === undefined) throw new MillraceError("internal", "a table was expected");
  const columns = subject.columns.filter(({ generated }) => !generated);
  const clash = subject.columns.find(({ name }) => meta.has(name));
  if (clash !== undefined) {
    throw new MillraceError("unsupported", `\`${stream}\` has a column \`${clash.name}\`, a name that changes need`, {
      where: { stream, column: clash.name },
      hint: "leave it out with `from.columns`",
    });
  }
  const [facts] = await session.query(
    `SELECT c.relreplident AS identity, c.relpersistence AS persistence, c.relkind AS kind,
            EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = c.oid) AND c.relkind = 'r' AS parent,
            (SELECT json_agg(a.attname ORDER BY k.place) FROM pg_catalog.pg_index AS i
             CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
             WHERE i.indrelid = c.oid AND k.place <= i.indnkeyatts
               AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END) AS key,
            c.reltoastrelid <> 0 AND pg_relation_size(nullif(c.reltoastrelid, 0)) > 0 AS toasted
     FROM pg_catalog.pg_class AS c WHERE c.oid = $1::oid`,
    [relation.oid],
  );
  const unsupported = (what: string, hint: string): MillraceError =>
    new MillraceError("unsupported", `${what}, so its changes cannot be read`, { where: { stream }, hint });
  const sql = relationSql(relation);
  if (relation.kind !== "table" && relation.kind !== "partitioned") {
    throw unsupported(`\`${stream}\` is not a table`, "read it with the source `postgres`, or the tables behind it");
  }
  if (facts!.persistence !== "p") {
    throw unsupported(`\`${stream}\` is not logged`, `ALTER TABLE ${sql} SET LOGGED`);
  }
  if (facts!.parent === "t") {
    throw unsupported(`other tables inherit from \`${stream}\``, "read each of them as a stream of its own");
  }
  const identity = facts!.identity!;
  const full = identity === "f";
  const identityKey = facts!.key === null ? [] : (JSON.parse(facts!.key!) as string[]);
  if (!full && (identity === "n" || identityKey.length === 0)) {
    throw unsupported(
      `rows of \`${stream}\` have no identity: it has no primary key`,
      `ALTER TABLE ${sql} ADD PRIMARY KEY (…), or ALTER TABLE ${sql} REPLICA IDENTITY FULL`,
    );
  }
  const isColumn = (name: string): boolean => columns.some((column) => column.name === name);
  const asked = (request.key ?? []).filter(isColumn);
  const own = full ? subject.key : identityKey;
  const key = [...new Set([...asked, ...own])];
  // A key that only the transform gives: whatever changes may be part of it.
  if (key.length === 0 && request.key !== undefined) key.push(...columns.map(({ name }) => name));
  if (!full) {
    const beyond = asked.filter((name) => !identityKey.includes(name));
    if (beyond.length > 0) {
      throw new MillraceError(
        "config",
        `deletions say of a row only \`${identityKey.join("`, `")}\`, but the key of the flow has \`${beyond.join("`, `")}\``,
        {
          where: { stream, column: beyond[0]! },
          hint: `set \`key: [${identityKey.join(", ")}]\`, or ALTER TABLE ${sql} REPLICA IDENTITY FULL`,
        },
      );
    }
    if (facts!.toasted === "t") {
      throw unsupported(
        `\`${stream}\` holds values of more than 2 kB, which the server does not send again with a row whose other columns change`,
        `ALTER TABLE ${sql} REPLICA IDENTITY FULL`,
      );
    }
  }
  return {
    stream,
    oid: relation.oid,
    subject: { ...subject, columns },
    columns,
    meta: metaColumns.filter(({ name }) => request.columns?.includes(name) ?? true),
    key: own,
    keyColumns: key.map((name) => columns.findIndex((column) => column.name === name)).filter((at) => at >= 0),
    full,
    digest: digestOf(columns, full),
  };
}

function digestOf(columns: readonly SubjectColumn[], full: boolean): string {
  const facts = columns.map(({ name, cast, mapping }) => [name, cast, mapping.type]);
  return createHash("sha256")
    .update(JSON.stringify([full, facts]))
    .digest("hex")
    .slice(0, 16);
}

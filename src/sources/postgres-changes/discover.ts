import { MillraceError, suggestion, throwIfAborted, type StreamInfo } from "../../core/index.ts";
import { loadTypes } from "../../protocols/postgres/catalog.ts";
import { listNames, listRelations, loadFacts, streamName } from "../../protocols/postgres/relations.ts";
import type { Session } from "../../protocols/postgres/session.ts";
import type { Settings } from "../../protocols/postgres/settings.ts";
import { mapType } from "../../protocols/postgres/types.ts";
import { metaColumns } from "./table.ts";

/** Relations whose columns are asked for at once. */
const batchSize = 500;

/** The tables; whether the changes of one can be read is said when it is planned. */
export async function* listTables(
  session: Session,
  schemas: readonly string[] | undefined,
  signal?: AbortSignal,
): AsyncIterable<StreamInfo> {
  const relations = (await listRelations(session, schemas)).filter(
    ({ kind }) => kind === "table" || kind === "partitioned",
  );
  for (let start = 0; start < relations.length; start += batchSize) {
    throwIfAborted(signal);
    const batch = relations.slice(start, start + batchSize);
    const facts = await loadFacts(
      session,
      batch.map(({ oid }) => oid),
    );
    const types = new Set([...facts.values()].flatMap(({ columns }) => columns.map(({ type }) => type)));
    const catalog = await loadTypes(session, [...types]);
    for (const relation of batch) {
      const { columns, key } = facts.get(relation.oid)!;
      const read = columns.filter(({ generated }) => !generated);
      yield {
        name: streamName(relation),
        columns: [
          ...read.map((column) => ({
            name: column.name,
            type: mapType(catalog, column).type,
            ...(column.doc === undefined ? {} : { doc: column.doc }),
          })),
          ...metaColumns,
        ],
        key,
        cursors: [],
        ...(relation.rows === undefined ? {} : { rows: relation.rows }),
        ...(relation.bytes === undefined ? {} : { bytes: relation.bytes }),
        kind: "table",
      };
    }
  }
}

/** Throws when a schema is not there, or when none of the tables may be read. */
export async function checkTables(
  session: Session,
  settings: Settings,
  schemas: readonly string[] | undefined,
  signal?: AbortSignal,
): Promise<void> {
  if (schemas !== undefined) {
    const rows = await session.query("SELECT nspname AS name FROM pg_catalog.pg_namespace ORDER BY 1", [], signal);
    const known = rows.map((row) => row.name!);
    const absent = schemas.find((schema) => !known.includes(schema));
    if (absent !== undefined) {
      throw new MillraceError("not-found", `there is no schema \`${absent}\``, { hint: suggestion(absent, known) });
    }
  }
  const names = await listNames(session, schemas);
  const rows = await session.query(
    `SELECT has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE') AS readable
     FROM unnest($1::text[], $2::text[]) AS listed(s, t)
     JOIN pg_namespace n ON n.nspname = s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t`,
    [names.map(({ schema }) => schema), names.map(({ name }) => name)],
    signal,
  );
  if (rows.length === 0 || rows.some((row) => row.readable === "t")) return;
  const { schema } = names[0]!;
  throw new MillraceError("permission", `\`${settings.user}\` may read none of the ${names.length} tables`, {
    where: { connection: settings.connection },
    hint: `GRANT USAGE ON SCHEMA "${schema}" TO "${settings.user}"; GRANT SELECT ON ALL TABLES IN SCHEMA "${schema}" TO "${settings.user}"`,
  });
}

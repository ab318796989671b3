import { MillraceError, suggestion, type Column, type StreamInfo } from "../../core/index.ts";
import { loadTypes, type TypeCatalog } from "../../protocols/postgres/catalog.ts";
import { isCursorType } from "./cursor-types.ts";
import {
  listRelations,
  loadFacts,
  streamName,
  type RelationColumn,
  type RelationFacts,
} from "../../protocols/postgres/relations.ts";
import type { Session } from "../../protocols/postgres/session.ts";
import { mapType } from "../../protocols/postgres/types.ts";

/** Relations whose columns are asked for at once: a database may have a hundred thousand. */
const batchSize = 500;

export async function* discover(session: Session, schemas?: readonly string[]): AsyncIterable<StreamInfo> {
  const relations = await listRelations(session, schemas);
  for (let start = 0; start < relations.length; start += batchSize) {
    const batch = relations.slice(start, start + batchSize);
    const facts = await loadFacts(
      session,
      batch.map((relation) => relation.oid),
    );
    const types = new Set([...facts.values()].flatMap(({ columns }) => columns.map((column) => column.type)));
    const catalog = await loadTypes(session, [...types]);
    for (const relation of batch) {
      const { columns, key } = facts.get(relation.oid)!;
      yield {
        name: streamName(relation),
        columns: columns.map((column) => toColumn(column, catalog)),
        key,
        cursors: cursorCandidates(facts.get(relation.oid)!, catalog),
        ...(relation.rows === undefined ? {} : { rows: relation.rows }),
        ...(relation.bytes === undefined ? {} : { bytes: relation.bytes }),
        kind: relation.kind === "view" || relation.kind === "materialized-view" ? "view" : "table",
      };
    }
  }
}

export function toColumn(column: Omit<RelationColumn, "serial">, catalog: TypeCatalog): Column {
  return {
    name: column.name,
    type: mapType(catalog, column).type,
    ...(column.required ? { required: true } : {}),
    ...(column.doc === undefined ? {} : { doc: column.doc }),
  };
}

const changeName = /(updated|modified|changed|last_?(update|change|modif)|mtime|_rev$)/i;
const creationName = /(created|inserted|added|event|logged|recorded|ts$|time)/i;

/** Columns to read by, the likeliest first: when a row changed, a number that only grows, when it was made. */
function cursorCandidates({ columns, key }: RelationFacts, catalog: TypeCatalog): string[] {
  const ranked: { name: string; rank: number }[] = [];
  for (const column of columns) {
    const type = catalog.get(column.type)?.name ?? "";
    if (!isCursorType(type)) continue;
    const isTime = type === "timestamp" || type === "timestamptz";
    const isNumber = type === "int8" || type === "int4" || type === "int2";
    const inOrder = column.serial || (key.length === 1 && key[0] === column.name);
    if (isTime && changeName.test(column.name)) ranked.push({ name: column.name, rank: 0 });
    else if (isNumber && column.serial) ranked.push({ name: column.name, rank: 1 });
    else if (isTime) ranked.push({ name: column.name, rank: creationName.test(column.name) ? 2 : 3 });
    else if (isNumber && (inOrder || changeName.test(column.name))) ranked.push({ name: column.name, rank: 4 });
    else if (type === "date") ranked.push({ name: column.name, rank: 5 });
  }
  return ranked.toSorted((left, right) => left.rank - right.rank).map(({ name }) => name);
}

/** Throws `not-found` for a schema that the server does not have. */
export async function checkSchemas(session: Session, schemas: readonly string[] | undefined): Promise<void> {
  if (schemas === undefined) return;
  const rows = await session.query("SELECT nspname AS name FROM pg_catalog.pg_namespace ORDER BY 1");
  const known = rows.map((row) => row.name!);
  for (const schema of schemas) {
    if (known.includes(schema)) continue;
    throw new MillraceError("not-found", `there is no schema \`${schema}\``, { hint: suggestion(schema, known) });
  }
}

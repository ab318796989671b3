import { MillraceError, suggestion } from "../../core/index.ts";
import { formatStreamName, parseStreamName, postgresNames, quoteName, quotePath } from "../sql/names.ts";
import type { Session } from "./session.ts";

export type RelationKind = "table" | "partitioned" | "view" | "materialized-view" | "foreign";

export interface Relation {
  oid: number;
  schema: string;
  name: string;
  kind: RelationKind;
  /** The role may read all columns. */
  readable: boolean;
  /** Rows by the server's statistics; undefined when it has none. */
  rows: number | undefined;
}

const kinds: Record<string, RelationKind> = {
  r: "table",
  p: "partitioned",
  v: "view",
  m: "materialized-view",
  f: "foreign",
};

/** Tables, views and the like of a session's own temporary schema and of the system are not streams. */
const notSystem = `n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'`;

export function streamName(relation: Pick<Relation, "schema" | "name">): string {
  return formatStreamName([relation.schema, relation.name]);
}

export function relationSql(relation: Pick<Relation, "schema" | "name">): string {
  return quotePath(postgresNames, [relation.schema, relation.name]);
}

/** All names, for `discover` and for suggestions. Partitions are left out: they are read through their table. */
export async function listNames(
  session: Session,
  schemas?: readonly string[],
): Promise<{ schema: string; name: string }[]> {
  const rows = await session.query(
    `SELECT n.nspname AS schema, c.relname AS name
     FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND ${notSystem}
       AND ($1::text[] IS NULL OR n.nspname = ANY ($1))
     ORDER BY 1, 2`,
    [schemas ?? null],
  );
  return rows.map((row) => ({ schema: row.schema!, name: row.name! }));
}

/** The relation that a stream's name means; a name without schema is looked up along `search_path`. Throws `not-found`. */
export async function findRelation(session: Session, stream: string): Promise<Relation> {
  const parts = parseStreamName(stream);
  if (parts.length === 3) {
    const [current] = await session.query("SELECT current_database() AS name");
    if (current?.name === parts[0]) parts.shift();
  }
  if (parts.length > 2) {
    throw new MillraceError("config", `\`${stream}\` has ${parts.length} parts; a table has a schema and a name`, {
      where: { stream },
      hint: 'put double quotes around a part that holds dots: `public."a.b"`',
    });
  }
  const condition = parts.length === 2 ? "n.nspname = $1 AND c.relname = $2" : "c.oid = to_regclass($1)";
  const quoted = parts.map((part) => quoteName(postgresNames, part));
  const rows = await session.query(
    `SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.reltuples AS rows,
            has_table_privilege(c.oid, 'SELECT') AS readable
     FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE ${condition}`,
    parts.length === 2 ? parts : quoted,
  );
  const [row] = rows;
  const kind = row === undefined ? undefined : kinds[row.kind!];
  if (row === undefined) {
    const [place] = await session.query("SELECT current_database() AS name");
    const known = (await listNames(session)).map(streamName);
    throw new MillraceError("not-found", `there is no table \`${stream}\` in the database \`${place!.name}\``, {
      where: { stream },
      hint: suggestion(parts.length === 1 ? `public.${formatStreamName(parts)}` : stream, known),
    });
  }
  if (kind === undefined) {
    throw new MillraceError("config", `\`${stream}\` is neither a table nor a view`, {
      where: { stream },
      hint: "`millrace discover` lists what can be read",
    });
  }
  const tuples = Number(row.rows);
  return {
    oid: Number(row.oid),
    schema: row.schema!,
    name: row.name!,
    kind,
    readable: row.readable === "t",
    // -1: never analysed. An old server says 0 for that, too.
    rows: tuples > 0 ? tuples : undefined,
  };
}

export interface RelationColumn {
  name: string;
  type: number;
  modifier: number;
  dimensions: number;
  required: boolean;
  doc: string | undefined;
  /** Numbered by the server in the order of insertion: serial or identity. */
  serial: boolean;
  /** The type as SQL names it. */
  cast: string | undefined;
  /** Computed from other columns of the row. */
  generated: boolean;
}

export interface RelationFacts {
  columns: RelationColumn[];
  /** Columns of the primary key, in order. */
  key: string[];
}

/** Columns and primary keys of many relations in two statements, by oid. */
export async function loadFacts(session: Session, oids: readonly number[]): Promise<Map<number, RelationFacts>> {
  const facts = new Map<number, RelationFacts>(oids.map((oid) => [oid, { columns: [], key: [] }]));
  const columns = await session.query(
    `SELECT a.attrelid AS relation, a.attname AS name, a.atttypid AS type, a.atttypmod AS modifier, a.attndims AS dimensions,
            a.attnotnull AS required, col_description(a.attrelid, a.attnum) AS doc,
            a.attidentity <> '' OR coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false) AS serial,
            a.attgenerated <> '' AS generated, format_type(a.atttypid, a.atttypmod) AS cast
     FROM pg_catalog.pg_attribute AS a
     LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum`,
    [oids],
  );
  for (const row of columns) {
    facts.get(Number(row.relation))!.columns.push({
      name: row.name!,
      type: Number(row.type),
      modifier: Number(row.modifier),
      dimensions: Number(row.dimensions),
      required: row.required === "t",
      doc: row.doc ?? undefined,
      serial: row.serial === "t",
      cast: row.cast ?? undefined,
      generated: row.generated === "t",
    });
  }
  const keys = await session.query(
    `SELECT i.indrelid AS relation, a.attname AS name
     FROM pg_catalog.pg_index AS i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
     JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
     WHERE i.indisprimary AND i.indrelid = ANY ($1::oid[]) AND k.place <= i.indnkeyatts ORDER BY i.indrelid, k.place`,
    [oids],
  );
  for (const row of keys) facts.get(Number(row.relation))!.key.push(row.name!);
  return facts;
}

export interface Estimates {
  oid: number;
  kind: RelationKind;
  schema: string;
  name: string;
  rows: number | undefined;
  bytes: number | undefined;
}

/** Every stream with the server's own estimates; no table is touched. A partitioned table has the sums of its partitions. */
export async function listRelations(session: Session, schemas?: readonly string[]): Promise<Estimates[]> {
  const rows = await session.query(
    `SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
            CASE WHEN c.relkind = 'p' THEN leaves.rows ELSE nullif(c.reltuples, -1)::bigint END AS rows,
            CASE WHEN c.relkind = 'p' THEN leaves.pages ELSE c.relpages END * current_setting('block_size')::bigint AS bytes
     FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     LEFT JOIN LATERAL (
       SELECT sum(nullif(leaf.reltuples, -1))::bigint AS rows, sum(leaf.relpages::bigint) AS pages
       FROM pg_partition_tree(c.oid) AS tree JOIN pg_catalog.pg_class AS leaf ON leaf.oid = tree.relid WHERE tree.isleaf
     ) AS leaves ON c.relkind = 'p'
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND ${notSystem}
       AND ($1::text[] IS NULL OR n.nspname = ANY ($1))
     ORDER BY 2, 3`,
    [schemas ?? null],
  );
  return rows.map((row) => {
    const kind = kinds[row.kind!]!;
    const counted = kind !== "view" && row.rows !== null;
    return {
      oid: Number(row.oid),
      kind,
      schema: row.schema!,
      name: row.name!,
      rows: counted ? Number(row.rows) : undefined,
      bytes: counted ? Number(row.bytes) : undefined,
    };
  });
}

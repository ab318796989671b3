import { setTimeout as sleep } from "node:timers/promises";
import { isMillraceError, MillraceError, throwIfAborted, type Column } from "../../core/index.ts";
import type { Session } from "../../protocols/postgres/session.ts";
import { postgresNames, quoteName } from "../../protocols/sql/names.ts";
import { inSchema, type Place } from "./ledger.ts";
import { columnSql } from "./types.ts";

export const nameSql = (name: string): string => quoteName(postgresNames, name);
export const namesSql = (names: readonly string[]): string => names.map(nameSql).join(", ");
export const columnNames = (columns: readonly Column[]): string[] => columns.map(({ name }) => name);

/** Longest time that one try to get hold of the table keeps those waiting who come after it, milliseconds. */
const lockTryMs = 1_000;

export async function tableExists(session: Session, place: Place): Promise<boolean> {
  const [row] = await session.query("SELECT to_regclass($1) IS NOT NULL AS there", [place.table]);
  return row!.there === "t";
}

/** A new, empty table for rows of these columns. It is gone when the transaction does not commit. */
export async function createStaging(
  session: Session,
  place: Place,
  name: string,
  columns: readonly Column[],
): Promise<string> {
  const staging = inSchema(place, name);
  const list = columns.map(({ name: column, type }) => `${nameSql(column)} ${columnSql(type)}`);
  await session.query(`CREATE TABLE ${staging} (${list.join(", ")})`);
  return staging;
}

/** Throws `value` when the key is null somewhere, or of two rows the same. */
export async function addKey(session: Session, table: string, key: readonly string[]): Promise<void> {
  if (key.length > 0) await session.query(`ALTER TABLE ${table} ADD PRIMARY KEY (${namesSql(key)})`);
}

/**
 * Gets hold of the table for changing what it is. Whoever asks for it in this way makes all readers wait that come later, so each
 * try is short, and between them they go on. Throws `timeout` when it cannot be had within the connection's `lockTimeoutMs`.
 */
export async function holdTable(
  session: Session,
  place: Place,
  patienceMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const end = performance.now() + patienceMs;
  await session.query("SAVEPOINT before_lock");
  await session.query(`SET LOCAL lock_timeout = ${Math.min(lockTryMs, patienceMs)}`);
  for (;;) {
    try {
      await session.query(`LOCK TABLE ${place.table} IN ACCESS EXCLUSIVE MODE`, [], signal);
      await session.query(`SET LOCAL lock_timeout = ${patienceMs}`);
      return;
    } catch (error) {
      throwIfAborted(signal);
      if (!isMillraceError(error) || error.code !== "timeout" || !session.alive) throw error;
      await session.query("ROLLBACK TO SAVEPOINT before_lock");
      if (performance.now() >= end) {
        throw new MillraceError("timeout", `\`${place.target}\` is read or changed by somebody for too long`, {
          cause: error,
          temporary: true,
          hint: "see `pg_locks` and `pg_blocking_pids()` for who it is, or raise `lockTimeoutMs`",
        });
      }
      await sleep(lockTryMs / 5);
    }
  }
}

/** Puts the new table in the place of the old one, with its owner, grants and comments. The old one must be held. */
export async function swapIn(session: Session, place: Place, staging: string, name: string): Promise<void> {
  await copyRights(session, place, staging);
  await copyComments(session, place, staging);
  await session.query(`DROP TABLE ${place.table}`);
  await rename(session, place, staging, name);
}

/** Gives the table its name, and the index of its key one that tells whose it is. */
export async function rename(session: Session, place: Place, staging: string, name: string): Promise<void> {
  await session.query(`ALTER TABLE ${staging} RENAME TO ${nameSql(place.target)}`);
  const wanted = `${place.target}_pkey`;
  if (Buffer.byteLength(wanted) > postgresNames.limit) return;
  const [row] = await session.query("SELECT to_regclass($1) IS NOT NULL AS mine, to_regclass($2) IS NULL AS free", [
    inSchema(place, `${name}_pkey`),
    inSchema(place, wanted),
  ]);
  if (row!.mine === "t" && row!.free === "t") {
    await session.query(`ALTER INDEX ${inSchema(place, `${name}_pkey`)} RENAME TO ${nameSql(wanted)}`);
  }
}

async function copyRights(session: Session, place: Place, staging: string): Promise<void> {
  const rows = await session.query(
    `SELECT 'ALTER TABLE ' || $2 || ' OWNER TO ' || quote_ident(pg_get_userbyid(o.relowner)) AS statement
     FROM pg_class o JOIN pg_class n ON n.oid = $2::regclass WHERE o.oid = $1::regclass AND o.relowner <> n.relowner
     UNION ALL
     SELECT 'REVOKE ALL ON ' || $2 || ' FROM ' || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
     FROM (SELECT DISTINCT a.grantee FROM pg_class c, aclexplode(c.relacl) a
           WHERE c.oid = $2::regclass AND a.grantee <> c.relowner) AS given_by_default
     UNION ALL
     SELECT 'GRANT ' || a.privilege_type || ' ON ' || $2 || ' TO ' || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
            || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
     FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = $1::regclass AND a.grantee <> c.relowner`,
    [place.table, staging],
  );
  for (const { statement } of rows) await session.query(statement!);
}

async function copyComments(session: Session, place: Place, staging: string): Promise<void> {
  const rows = await session.query(
    `SELECT 'COMMENT ON TABLE ' || $2 || ' IS ' || quote_literal(obj_description($1::regclass, 'pg_class')) AS statement
     UNION ALL
     SELECT 'COMMENT ON COLUMN ' || $2 || '.' || quote_ident(a.attname) || ' IS ' || quote_literal(col_description(a.attrelid, a.attnum))
     FROM pg_attribute a JOIN pg_attribute n ON n.attrelid = $2::regclass AND n.attname = a.attname
     WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped`,
    [place.table, staging],
  );
  for (const { statement } of rows) if (statement !== null && statement !== undefined) await session.query(statement);
}

/**
 * Whether others have built on the table: indexes, constraints, triggers, policies, grants on columns, partitions, publications, or
 * views and functions. All of it would go with the table, so then its rows are exchanged instead.
 */
export async function isBuiltOn(session: Session, place: Place): Promise<boolean> {
  const [row] = await session.query(
    `SELECT c.relkind <> 'r' OR c.relrowsecurity OR c.relhasrules OR c.relhassubclass OR c.relispartition
       OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND NOT i.indisprimary)
       OR EXISTS (SELECT FROM pg_constraint k WHERE k.confrelid = c.oid OR (k.conrelid = c.oid AND k.contype NOT IN ('p', 'n')))
       OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid)
       OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                  AND (a.attacl IS NOT NULL OR a.atthasdef))
       OR EXISTS (SELECT FROM pg_publication_rel p WHERE p.prrelid = c.oid)
       OR EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid)
       OR EXISTS (SELECT FROM pg_depend d WHERE d.deptype = 'n' AND (
            (d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid)
            OR (d.refclassid = 'pg_type'::regclass AND d.refobjid = c.reltype))) AS built
     FROM pg_class c WHERE c.oid = $1::regclass`,
    [place.table],
  );
  return row!.built === "t";
}

/** Columns of a table as the server has them. */
export async function columnsOf(session: Session, table: string): Promise<Map<string, string>> {
  const rows = await session.query(
    `SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [table],
  );
  return new Map(rows.map((row) => [row.name!, row.type!]));
}

/** The columns of its key, in order. */
export async function keyOf(session: Session, table: string): Promise<{ name: string; columns: string[] } | undefined> {
  const [row] = await session.query(
    `SELECT k.conname AS name, (SELECT json_agg(a.attname ORDER BY p.place) FROM unnest(k.conkey) WITH ORDINALITY AS p(number, place)
       JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = p.number) AS columns
     FROM pg_constraint k WHERE k.conrelid = $1::regclass AND k.contype = 'p'`,
    [table],
  );
  return row === undefined ? undefined : { name: row.name!, columns: JSON.parse(row.columns!) as string[] };
}

import { isMillraceError, MillraceError } from "../../core/index.ts";
import { postgresNames, quoteName } from "../../protocols/sql/names.ts";
import { relationSql } from "../../protocols/postgres/relations.ts";
import type { Session } from "../../protocols/postgres/session.ts";
import { changing } from "./server.ts";
import type { ChangeTable } from "./table.ts";

/**
 * Makes sure that the publication gives all changes of the table. `make`: it may be made now, because the slot comes after it; later a
 * publication that is not there any more is a gap.
 */
export async function requirePublication(
  session: Session,
  name: string,
  table: ChangeTable,
  { make, own, version }: { make: boolean; own: boolean; version: number },
): Promise<void> {
  const { stream } = table;
  const relation = table.subject.relation!;
  const quoted = quoteName(postgresNames, name);
  const rooted = version < 130_000 ? "" : " WITH (publish_via_partition_root = true)";
  const creation = `CREATE PUBLICATION ${quoted} FOR TABLE ${relationSql(relation)}${rooted}`;
  const [found] = await session.query(
    `SELECT to_jsonb(p) AS publication, p.puballtables AS everything,
            (SELECT to_jsonb(r) FROM pg_catalog.pg_publication_rel AS r WHERE r.prpubid = p.oid AND r.prrelid = $2::oid) AS member,
            EXISTS (SELECT FROM pg_catalog.pg_publication_tables AS t
                    WHERE t.pubname = p.pubname AND t.schemaname = $3 AND t.tablename = $4) AS published
     FROM pg_catalog.pg_publication AS p WHERE p.pubname = $1`,
    [name, relation.oid, relation.schema, relation.name],
  );
  if (found === undefined) {
    if (!make || !own) {
      throw new MillraceError("not-found", `there is no publication \`${name}\``, {
        where: { stream },
        hint: `${creation}${make ? "" : "; then run once with `--full`, because changes meanwhile are not known"}`,
      });
    }
    try {
      await changing(session, () => session.query(creation));
      return;
    } catch (error) {
      if (!isMillraceError(error) || error.code !== "permission") throw error;
      throw new MillraceError("permission", `the role may not make a publication of \`${stream}\``, {
        cause: error,
        where: { stream },
        hint: `the owner of the table runs: ${creation}`,
      });
    }
  }
  const facts = JSON.parse(found.publication!) as Record<string, boolean>;
  const member = (found.member === null ? {} : JSON.parse(found.member!)) as Record<string, unknown>;
  const refuse = (what: string, hint: string): MillraceError =>
    new MillraceError("config", `the publication \`${name}\` ${what}`, { where: { stream }, hint });
  if (found.published !== "t") {
    throw refuse(
      `does not hold \`${stream}\``,
      relation.kind === "partitioned"
        ? `ALTER PUBLICATION ${quoted} ADD TABLE ${relationSql(relation)}; ALTER PUBLICATION ${quoted} SET (publish_via_partition_root = true)`
        : `ALTER PUBLICATION ${quoted} ADD TABLE ${relationSql(relation)}`,
    );
  }
  const missing = ["insert", "update", "delete", "truncate"].filter((what) => facts[`pub${what}`] === false);
  if (missing.length > 0) {
    throw refuse(
      `leaves out ${missing.join(", ")}`,
      `ALTER PUBLICATION ${quoted} SET (publish = 'insert, update, delete, truncate')`,
    );
  }
  if ((member["prqual"] ?? null) !== null || (member["prattrs"] ?? null) !== null) {
    throw refuse(
      `gives only some rows or columns of \`${stream}\``,
      "name another `publication`, without WHERE and list",
    );
  }
}

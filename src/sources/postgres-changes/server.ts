import { MillraceError } from "../../core/index.ts";
import type { Session } from "../../protocols/postgres/session.ts";
import type { Settings } from "../../protocols/postgres/settings.ts";
import { parseLsn } from "./position.ts";

export interface Server {
  /** Its number and timeline: positions mean something only together with them. */
  system: string;
  timeline: number;
  /** All before it is on the server's disk. */
  flushed: bigint;
  version: number;
}

/** What the server is and whether it can give changes at all. Throws `config`, `permission` with the statement that mends it. */
export async function requireServer(session: Session, settings: Settings): Promise<Server> {
  const [row] = await session.query(
    `SELECT current_setting('wal_level') AS level, pg_is_in_recovery() AS standby, current_setting('server_version_num') AS version,
            (SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS replicates,
            EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'rds_replication' AND pg_has_role(oid, 'MEMBER')) AS rds,
            (SELECT system_identifier FROM pg_control_system()) AS system`,
  );
  if (row!.standby === "t") {
    throw new MillraceError("config", "the server is a standby, which keeps no changes for readers", {
      hint: "connect to the primary",
    });
  }
  if (row!.level !== "logical") {
    throw new MillraceError("config", `the server keeps too little for changes: \`wal_level\` is \`${row!.level}\``, {
      hint: "ALTER SYSTEM SET wal_level = logical, then restart the server (Amazon RDS: `rds.logical_replication = 1`)",
    });
  }
  if (row!.replicates !== "t" && row!.rds !== "t") {
    throw new MillraceError("permission", `\`${settings.user}\` may not read the server's changes`, {
      hint: `ALTER ROLE "${settings.user}" REPLICATION (Amazon RDS: GRANT rds_replication TO "${settings.user}")`,
    });
  }
  const [place] = await session.query(
    "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) AS timeline, pg_current_wal_flush_lsn() AS flushed",
  );
  return {
    system: row!.system!,
    timeline: Number.parseInt(place!.timeline!, 16),
    flushed: parseLsn(place!.flushed!),
    version: Number(row!.version),
  };
}

/** Runs statements that change something, in one transaction of a session that is read-only otherwise. */
export async function changing<Result>(session: Session, work: () => Promise<Result>): Promise<Result> {
  await session.query("BEGIN READ WRITE");
  try {
    const result = await work();
    await session.query("COMMIT");
    return result;
  } catch (error) {
    if (session.alive) await session.query("ROLLBACK");
    throw error;
  }
}

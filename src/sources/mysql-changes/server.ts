import { MillraceError } from "../../core/index.ts";
import type { Session } from "../../protocols/mysql/session.ts";
import { comparePlaces, type LogPosition } from "./position.ts";

export interface LogServer {
  isMariaDb: boolean;
  /** Transactions have names that other servers of the topology know. */
  hasGtids: boolean;
  now: LogPosition;
}

const wanted = { binlog_format: "ROW", binlog_row_image: "FULL", binlog_row_metadata: "FULL" };

/** Throws `config` with the statement that mends it where the server's log does not hold what is needed, `permission` where it may not be read. */
export async function requireServer(session: Session, signal?: AbortSignal): Promise<LogServer> {
  const rows = await session.query(
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'log_bin', 'binlog_format', 'binlog_row_image', 'binlog_row_metadata', 'gtid_mode')",
    signal,
  );
  const variables = new Map(rows.map((row) => [(row["Variable_name"] ?? "").toLowerCase(), row["Value"] ?? ""]));
  if (variables.get("log_bin") !== "ON") {
    throw new MillraceError("config", "the server keeps no log of changes", {
      hint: "start it with `--log-bin`, and `server_id` other than 0",
    });
  }
  for (const [name, value] of Object.entries(wanted)) {
    const found = variables.get(name);
    if (found?.toUpperCase() === value) continue;
    throw new MillraceError("config", `the server's log has \`${name}\` ${found ?? "not at all"}, and not ${value}`, {
      hint: `SET GLOBAL ${name} = '${value}'; and the same in its configuration. Sessions that are open keep what they had`,
    });
  }
  const isMariaDb = /mariadb/i.test(variables.get("version") ?? "");
  return {
    isMariaDb,
    hasGtids: isMariaDb || variables.get("gtid_mode")?.toUpperCase() === "ON",
    now: await logEnd(session, isMariaDb, signal),
  };
}

/** Where the log ends. Throws `permission`. */
export async function logEnd(session: Session, isMariaDb: boolean, signal?: AbortSignal): Promise<LogPosition> {
  let row: Record<string, string | null> | undefined;
  try {
    // MySQL 8.4 has no other statement any more, MariaDB and older ones do not have this one.
    [row] = isMariaDb
      ? await session.query("SHOW MASTER STATUS", signal)
      : await session.query("SHOW BINARY LOG STATUS", signal).catch(() => session.query("SHOW MASTER STATUS", signal));
  } catch (cause) {
    const { user } = session.settings;
    throw new MillraceError("permission", `\`${user}\` may not ask where the server's log ends`, {
      cause,
      hint: `GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '${user}'@'%'; on MariaDB: GRANT REPLICATION SLAVE, BINLOG MONITOR …`,
    });
  }
  if (row === undefined) throw new MillraceError("config", "the server keeps no log of changes");
  const [file, offset] = [row["File"]!, Number(row["Position"])];
  if (!isMariaDb) return { file, offset, gtid: (row["Executed_Gtid_Set"] ?? "").replaceAll(/\s/g, "") };
  const [found] = await session.query(
    `SELECT BINLOG_GTID_POS('${file.replaceAll("'", "''")}', ${offset}) AS gtid`,
    signal,
  );
  return { file, offset, gtid: found?.["gtid"] ?? "" };
}

/** Where a plan from `after` is to end, so that it holds no more than about `maxBytes`: at the end of a file of the log, or of the log. */
export async function boundedEnd(
  session: Session,
  after: LogPosition,
  server: LogServer,
  maxBytes: number | undefined,
  signal?: AbortSignal,
): Promise<{ to: LogPosition; bytes: number; more: boolean }> {
  const { now, isMariaDb } = server;
  if (after.file === now.file) return { to: now, bytes: Math.max(0, now.offset - after.offset), more: false };
  const files = await session.query("SHOW BINARY LOGS", signal);
  let bytes = -after.offset;
  let isBehind = false;
  for (const row of files) {
    const [file, size] = [row["Log_name"]!, Number(row["File_size"])];
    if (file === after.file) isBehind = true;
    if (!isBehind) continue;
    if (file === now.file) return { to: now, bytes: bytes + now.offset, more: false };
    bytes += size;
    if (maxBytes === undefined || bytes < maxBytes) continue;
    const gtid = isMariaDb
      ? ((await session.query(`SELECT BINLOG_GTID_POS('${file}', ${size}) AS gtid`, signal))[0]?.["gtid"] ?? "")
      : "";
    const to = { file, offset: size, gtid };
    return { to, bytes, more: comparePlaces(to, now) < 0 };
  }
  return { to: now, bytes: Math.max(0, bytes), more: false };
}

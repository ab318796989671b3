import { MillraceError } from "../../core/index.ts";
import type { Relation } from "./relations.ts";
import { relationSql } from "./relations.ts";
import type { Session } from "./session.ts";

/** One moment of the database that other connections can join as long as the transaction that exported it is open. */
export interface Snapshot {
  id: string;
  /** When the server was started: its numbers of snapshots begin anew then, so that an old one could mean another moment. */
  server: string;
}

/**
 * Begins the transaction that holds a snapshot. The lock comes first: between a snapshot and a later lock somebody could
 * rewrite the table, and the snapshot would find it empty.
 */
export async function beginSnapshot(
  session: Session,
  relation: Relation | undefined,
  signal?: AbortSignal,
): Promise<Snapshot> {
  await session.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", [], signal);
  const lockable = relation !== undefined && relation.readable && lockableKinds.has(relation.kind);
  if (lockable) await session.query(`LOCK TABLE ${relationSql(relation)} IN ACCESS SHARE MODE`, [], signal);
  const [row] = await session.query(
    "SELECT pg_export_snapshot() AS id, pg_postmaster_start_time()::text AS server",
    [],
    signal,
  );
  return { id: row!.id!, server: row!.server! };
}

const lockableKinds = new Set<Relation["kind"]>(["table", "partitioned", "view"]);

/** Begins a transaction that sees the same moment. Throws `conflict` when nobody holds the snapshot any more. */
export async function joinSnapshot(session: Session, snapshot: Snapshot, signal?: AbortSignal): Promise<void> {
  await session.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", [], signal);
  try {
    await session.query(`SET TRANSACTION SNAPSHOT '${snapshot.id.replaceAll("'", "''")}'`, [], signal);
  } catch (error) {
    // 22023 and 42704: the server knows no such snapshot.
    const code = ((error as MillraceError).cause as { code?: string } | undefined)?.code;
    if (code === "22023" || code === "42704" || code === "0A000") throw snapshotGone(snapshot.id, error);
    throw error;
  }
  const [row] = await session.query("SELECT pg_postmaster_start_time()::text AS server", [], signal);
  if (row!.server !== snapshot.server) throw snapshotGone(snapshot.id);
  await session.query(`SET LOCAL lock_timeout = ${readerLockTimeoutMs}`);
}

/**
 * The holder of the snapshot has locked what is read. Who has to wait now stands behind somebody who wants to alter the table
 * and himself waits for the holder: neither would ever go on.
 */
const readerLockTimeoutMs = 1_000;

/** A lock that a reader did not get, as what it means: the holder has to let go, and the plan is made anew afterwards. */
export function asLockConflict(error: MillraceError): MillraceError {
  const code = (error.cause as { code?: string } | undefined)?.code;
  if (code !== "55P03") return error;
  return new MillraceError("conflict", "somebody waits to alter the table that is being read", {
    cause: error,
    where: error.where,
    hint: "the run gives way and is planned anew",
  });
}

export function snapshotGone(id: string, cause?: unknown): MillraceError {
  return new MillraceError("conflict", `the snapshot \`${id}\` of this plan is gone`, {
    hint: "the run is planned anew; nothing of the old plan was published",
    ...(cause === undefined ? {} : { cause }),
  });
}

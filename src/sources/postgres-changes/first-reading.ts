import { MillraceError, type CursorValue, type Part } from "../../core/index.ts";
import { postgresNames, quotePath } from "../../protocols/sql/names.ts";
import { pageGroups, type PageRange } from "../../protocols/postgres/pages.ts";
import { relationSql } from "../../protocols/postgres/relations.ts";
import { openSession, type Session } from "../../protocols/postgres/session.ts";
import type { Settings } from "../../protocols/postgres/settings.ts";
import type { Snapshot } from "../../protocols/postgres/snapshot.ts";
import { selectList } from "../../protocols/postgres/subject.ts";
import { sortableLsn, parseLsn } from "./position.ts";
import { candidateName, dropSlot, findSlots, slotError } from "./slot.ts";
import type { ChangeTable } from "./table.ts";

/** Bytes of a table that one part reads unless the request says otherwise. */
const defaultPartBytes = 64 * 1024 * 1024;

export interface SnapshotSpec {
  kind: "snapshot";
  version: 1;
  snapshot: Snapshot;
  /** Where the changes begin that the snapshot does not have. */
  lsn: string;
  /** Null where the table cannot be divided. */
  ranges: PageRange[] | null;
  columns: string;
}

/** What keeps the moment of the first reading while it goes on: nothing of it is committed, and it ends with the process. */
export interface Held extends AsyncDisposable {
  readonly snapshot: Snapshot;
  readonly lsn: string;
  readonly alive: boolean;
}

/**
 * Makes a slot, and a snapshot of exactly the moment from which on it keeps changes. The lock comes first: between the two somebody could
 * rewrite the table, and the snapshot would find it empty.
 */
export async function beginFirstReading(
  settings: Settings,
  admin: Session,
  table: ChangeTable,
  slot: string,
  signal?: AbortSignal,
): Promise<Held> {
  await using made = new AsyncDisposableStack();
  const locker = made.use(await openSession(settings, signal));
  await locker.query("BEGIN READ ONLY", [], signal);
  await locker.query(`LOCK TABLE ${relationSql(table.subject.relation!)} IN ACCESS SHARE MODE`, [], signal);
  const name = candidateName(slot);
  // What a run left behind that did not come to its end.
  if ((await findSlots(admin, [name])).has(name)) await dropSlot(admin, name);
  const holder = made.use(await openSession(settings, signal, { replication: true }));
  let row: Record<string, string | null> | undefined;
  try {
    [row] = await holder.query(`CREATE_REPLICATION_SLOT "${name}" LOGICAL pgoutput EXPORT_SNAPSHOT`, [], signal);
  } catch (error) {
    throw slotError(error, name);
  }
  const [server] = await admin.query("SELECT pg_postmaster_start_time()::text AS server");
  const kept = made.move();
  return {
    snapshot: { id: row!.snapshot_name!, server: server!.server! },
    lsn: row!.consistent_point!,
    get alive() {
      return locker.alive && holder.alive;
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Parts that are together the table at the moment of the snapshot; at least one, so that the position is committed. */
export async function firstParts(
  admin: Session,
  held: Held,
  table: ChangeTable,
  partBytes = defaultPartBytes,
  columns = "",
): Promise<Part[]> {
  const groups = await pageGroups(admin, table.subject.relation!, partBytes);
  const spec = (ranges: PageRange[] | null): { [key: string]: CursorValue } => {
    const whole: SnapshotSpec = {
      kind: "snapshot",
      version: 1,
      snapshot: held.snapshot,
      lsn: held.lsn,
      ranges,
      columns,
    };
    return whole as unknown as { [key: string]: CursorValue };
  };
  if (groups === undefined || groups.length === 0) return [{ id: "table-0000", spec: spec(null) }];
  return groups.map((group, index) => ({
    id: `table-${String(index).padStart(4, "0")}`,
    spec: spec(group.ranges),
    ...(group.rows === undefined ? {} : { rows: group.rows }),
    bytes: Math.round(group.bytes),
  }));
}

/** The statement that reads a part, with the columns that changes have. */
export function firstSelect(table: ChangeTable, spec: SnapshotSpec): string {
  const meta: Record<string, string> = {
    _op: "'snapshot'",
    _lsn: `'${sortableLsn(parseLsn(spec.lsn))}'`,
    _index: "1",
    _xid: "NULL",
    _committed_at: "NULL",
    _deleted: "false",
  };
  const chosen = table.meta.map(({ name }) => meta[name]!);
  const list = [...(table.columns.length === 0 ? [] : [selectList(table.columns)]), ...chosen].join(", ");
  if (spec.ranges === null) return `SELECT ${list} FROM ${table.subject.from}`;
  const selects = spec.ranges.map(({ schema, table: name, from, to }) => {
    const pages = [
      ...(from > 0 ? [`ctid >= '(${from},0)'::tid`] : []),
      ...(to === null ? [] : [`ctid < '(${to},0)'::tid`]),
    ];
    const where = pages.length === 0 ? "" : ` WHERE ${pages.join(" AND ")}`;
    return `SELECT ${list} FROM ${quotePath(postgresNames, [schema, name])} AS subject${where}`;
  });
  if (selects.length === 0) throw new MillraceError("internal", "a part without pages");
  return selects.join(" UNION ALL ");
}

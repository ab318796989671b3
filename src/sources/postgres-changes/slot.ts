import { createHash } from "node:crypto";
import { isMillraceError, MillraceError, type ReadRequest } from "../../core/index.ts";
import { quoteText } from "../../protocols/postgres/types.ts";
import type { Session } from "../../protocols/postgres/session.ts";
import { cannotGoOn, formatLsn, parseLsn, type ChangePosition } from "./position.ts";

/** A replication slot: the server keeps for it what is not confirmed. */
export interface Slot {
  name: string;
  plugin: string;
  database: string;
  /** The process that reads it. */
  reader: number | undefined;
  /** All before it may go. */
  confirmed: bigint;
  /** Of the server's log: `reserved`, `extended`, `unreserved`, `lost`; undefined before version 13. */
  state: string | undefined;
}

/**
 * One slot for each flow and stream, and the name of its publication. The folder of the configuration is part of it, so that two projects
 * that read one database do not take each other's changes.
 */
export function slotName(connection: string, folder: string, request: ReadRequest): string {
  const { flow, stream } = request;
  const hash = createHash("sha256").update(JSON.stringify([folder, connection, flow ?? "", stream]));
  const said = (flow ?? stream!).toLowerCase().replaceAll(/[^a-z0-9]+/g, "_");
  return `millrace_${said.slice(0, 30)}_${hash.digest("hex").slice(0, 10)}`;
}

/**
 * A slot that was made for a first snapshot has this name until the snapshot is in a dataset: one that a killed run left behind is known
 * by it, and may go.
 */
export const candidateName = (name: string): string => `${name}_new`;

export async function findSlots(session: Session, names: readonly string[]): Promise<Map<string, Slot>> {
  const rows = await session.query(
    `SELECT slot_name AS name, plugin, database, active_pid AS reader, confirmed_flush_lsn AS confirmed,
            to_jsonb(s) ->> 'wal_status' AS state
     FROM pg_catalog.pg_replication_slots AS s WHERE slot_name = ANY ($1::text[])`,
    [names],
  );
  return new Map(
    rows.map((row) => [
      row.name!,
      {
        name: row.name!,
        plugin: row.plugin ?? "",
        database: row.database ?? "",
        reader: row.reader === null ? undefined : Number(row.reader),
        confirmed: row.confirmed === null ? 0n : parseLsn(row.confirmed!),
        state: row.state ?? undefined,
      },
    ]),
  );
}

export async function dropSlot(session: Session, name: string): Promise<void> {
  try {
    await session.query(`SELECT pg_drop_replication_slot(${quoteText(name)})`);
  } catch (error) {
    throw slotError(error, name);
  }
}

/** What the server says of a slot, with what helps. */
export function slotError(error: unknown, name: string): unknown {
  if (!isMillraceError(error)) return error;
  const code = sqlState(error);
  if (code === "55006") {
    return new MillraceError("conflict", `the replication slot \`${name}\` is being read by somebody else`, {
      cause: error,
      where: error.where,
      temporary: true,
      hint: `another run of the flow goes on, or the server has not seen its end: SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '${name}'`,
    });
  }
  if (code === "53400") {
    return new MillraceError("limit", "the server has no place for another replication slot", {
      cause: error,
      where: error.where,
      hint: "raise `max_replication_slots` and restart the server, or drop slots that nobody reads: SELECT slot_name, active, pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active",
    });
  }
  return error;
}

export function sqlState(error: MillraceError): string | undefined {
  return (error.cause as { code?: string } | undefined)?.code;
}

/**
 * The slot that keeps all that came after a position. A slot that was made for the snapshot of the position takes its final name now that the
 * snapshot is in a dataset; an earlier one goes. Throws `conflict` when something after the position may be missing.
 */
export async function slotAt(session: Session, position: ChangePosition, stream: string): Promise<Slot> {
  const { slot: name } = position;
  const [since, at] = [parseLsn(position.since), parseLsn(position.lsn)];
  const slots = await findSlots(session, [name, candidateName(name)]);
  const candidate = slots.get(candidateName(name));
  if (candidate !== undefined) {
    const isCommitted = candidate.confirmed >= since && candidate.confirmed <= at && candidate.state !== "lost";
    if (isCommitted) {
      if (slots.has(name)) await dropSlot(session, name);
      await session.query(
        `SELECT pg_copy_logical_replication_slot(${quoteText(candidate.name)}, ${quoteText(name)}, false, 'pgoutput')`,
      );
    }
    await dropSlot(session, candidate.name);
    if (isCommitted) return (await findSlots(session, [name])).get(name)!;
  }
  const slot = slots.get(name);
  if (slot === undefined) {
    throw cannotGoOn(
      stream,
      `the replication slot \`${name}\` is gone, so changes after ${position.lsn} are not kept any more`,
    );
  }
  if (slot.state === "lost") {
    throw cannotGoOn(
      stream,
      `the server has removed changes after ${formatLsn(slot.confirmed)} that \`${name}\` had not read yet`,
      `raise \`max_slot_wal_keep_size\` or run more often; SELECT pg_drop_replication_slot('${name}')`,
    );
  }
  if (slot.plugin !== "pgoutput") {
    throw cannotGoOn(stream, `the replication slot \`${name}\` is not one of ours: its plugin is \`${slot.plugin}\``);
  }
  if (slot.confirmed > at) {
    throw cannotGoOn(
      stream,
      `the replication slot \`${name}\` keeps changes after ${formatLsn(slot.confirmed)} only, and the dataset is at ${position.lsn}: somebody has read it, or made it anew`,
    );
  }
  return slot;
}

/** What a person should do before the server removes what has not been read. */
export function slotWarnings({ name, state }: Slot): string[] {
  if (state !== "unreserved") return [];
  return [
    `the server is about to remove changes that \`${name}\` has not read: raise \`max_slot_wal_keep_size\` or run more often`,
  ];
}

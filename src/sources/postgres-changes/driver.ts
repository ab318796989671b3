import {
  isMillraceError,
  limitConcurrency,
  MillraceError,
  throwIfAborted,
  type Cursor,
  type Part,
  type Payload,
  type Plan,
  type ReadRequest,
  type Source,
  type SourceContext,
} from "../../core/index.ts";
import { copyCsv } from "../../protocols/postgres/copy-read.ts";
import { openSession, placed, stoppable, type Session } from "../../protocols/postgres/session.ts";
import { settingsOf } from "../../protocols/postgres/settings.ts";
import { asLockConflict, joinSnapshot, snapshotGone } from "../../protocols/postgres/snapshot.ts";
import { encodingsOf, requireReadable } from "../../protocols/postgres/subject.ts";
import { changesOf } from "./changes.ts";
import { checkTables, listTables } from "./discover.ts";
import { beginFirstReading, firstParts, firstSelect, type Held, type SnapshotSpec } from "./first-reading.ts";
import { Log } from "./log.ts";
import type { Options } from "./options.ts";
import { cannotGoOn, formatLsn, parseLsn, positionOf, type ChangePosition } from "./position.ts";
import { changeParts, marks, type ChangeSpec } from "./plan.ts";
import { requirePublication } from "./publication.ts";
import { requireServer } from "./server.ts";
import { findSlots, slotAt, slotName, slotWarnings } from "./slot.ts";
import { findTable, streamColumns, type ChangeTable } from "./table.ts";

/** Connects on first use. Throws `config` for options that do not fit together. */
export async function open(options: Options, context: SourceContext): Promise<Source> {
  const settings = await settingsOf(options, context, "read", "postgres-changes");
  const sessions = new Set<Session>();
  const idle: Session[] = [];
  const logs = new Map<string, Log>();
  /** What holds the latest first readings, by snapshot. */
  const held = new Map<string, Held>();
  const tables = new Map<string, ChangeTable>();
  const limitReaders = limitConcurrency(options.connections);
  let disposed = false;

  const takeSession = async (signal?: AbortSignal): Promise<Session> => {
    if (disposed) throw new MillraceError("usage", "the source is closed already");
    for (let session = idle.pop(); session !== undefined; session = idle.pop()) {
      if (session.alive) return session;
      sessions.delete(session);
      await session[Symbol.asyncDispose]();
    }
    const session = await openSession(settings, signal);
    sessions.add(session);
    return session;
  };
  const giveBack = async (session: Session): Promise<void> => {
    try {
      if (!session.alive) throw new MillraceError("unreachable", "the connection is lost");
      await session.query("ROLLBACK");
      idle.push(session);
    } catch {
      sessions.delete(session);
      await session[Symbol.asyncDispose]();
    }
  };
  const withSession = async <Result>(
    work: (session: Session) => Promise<Result>,
    signal?: AbortSignal,
  ): Promise<Result> => {
    const session = await takeSession(signal);
    try {
      return await stoppable(session, signal, () => work(session));
    } finally {
      await giveBack(session);
    }
  };
  const logOf = (slot: string): Log => {
    let log = logs.get(slot);
    if (log === undefined) logs.set(slot, (log = new Log(settings, slot)));
    return log;
  };
  const describeRequest = (request: ReadRequest): string => request.stream ?? "query";
  const publicationOf = (slot: string): string => options.publication ?? slot;

  return {
    check: (signal) =>
      withSession(async (session) => {
        await requireServer(session, settings);
        await checkTables(session, settings, options.schemas, signal);
      }, signal),

    async *streams(signal) {
      throwIfAborted(signal);
      const session = await takeSession(signal);
      try {
        yield* listTables(session, options.schemas, signal);
      } finally {
        await giveBack(session);
      }
    },

    plan: (request, planOptions) =>
      placed(settings, { stream: describeRequest(request) }, () =>
        withSession((session) => planOf(session, request, planOptions), planOptions.signal),
      ),

    async read(part, request, { signal }) {
      throwIfAborted(signal);
      const where = { stream: describeRequest(request), part: part.id };
      return placed(settings, where, async () => {
        const spec = part.spec as unknown as SnapshotSpec | ChangeSpec;
        return spec.kind === "snapshot"
          ? readTable(part, spec, request, signal)
          : readChanges(part, spec, request, signal);
      });
    },

    async [Symbol.asyncDispose]() {
      disposed = true;
      await Promise.all([...logs.values()].map((log) => log.close()));
      await Promise.all([...held.values()].map((one) => one[Symbol.asyncDispose]()));
      await Promise.all([...sessions].map((session) => session[Symbol.asyncDispose]()));
      for (const all of [logs, held, sessions]) all.clear();
      idle.length = 0;
    },
  };

  async function planOf(
    session: Session,
    request: ReadRequest,
    { after, instead, peek, signal }: { after?: Cursor; instead?: Cursor; peek?: boolean; signal?: AbortSignal },
  ): Promise<Plan> {
    // Where the log ends is asked for before the columns, so that no change comes before its column.
    const server = await requireServer(session, settings);
    if (after !== undefined) await releaseReading(positionOf(after, describeRequest(request)));
    const table = await findTable(session, request);
    await requireReadable(session, table.subject, settings.user);
    const base = { columns: streamColumns(table), key: table.key, ...marks };
    if (peek) return { ...base, parts: [] };
    if (after !== undefined)
      return goOn(session, request, table, server, base, positionOf(after, table.stream), signal);

    const slot = slotName(context.connection, context.folder, request);
    const before = instead === undefined ? undefined : positionOf(instead, table.stream);
    if (before?.slot !== slot && (await findSlots(session, [slot])).has(slot)) {
      throw new MillraceError("conflict", `another dataset reads on with the replication slot \`${slot}\``, {
        where: { stream: table.stream },
        hint: `give the flow another name; or, if that dataset is gone: SELECT pg_drop_replication_slot('${slot}')`,
      });
    }
    const publication = { make: true, own: options.publication === undefined, version: server.version };
    await requirePublication(session, publicationOf(slot), table, publication);
    const holding = await beginFirstReading(settings, session, table, slot, signal);
    held.set(keyOf(holding), holding);
    for (const [id, one] of held) {
      if (held.size <= 4) break;
      held.delete(id);
      await one[Symbol.asyncDispose]();
    }
    // Now that nobody can alter it.
    const locked = await findTable(session, request);
    const { digest } = locked;
    tables.set(tableKey(digest, request), locked);
    const parts = await firstParts(session, holding, locked, request.partBytes, digest);
    const position: ChangePosition = {
      version: 1,
      slot,
      system: server.system,
      timeline: server.timeline,
      table: locked.oid,
      since: holding.lsn,
      lsn: holding.lsn,
    };
    if (before !== undefined) parts.unshift(emptying(holding, digest));
    return { ...base, columns: streamColumns(locked), parts, cursor: position as unknown as Cursor };
  }

  /** A first reading that is committed: nobody has to wait for its lock any more. */
  async function releaseReading({ since }: ChangePosition): Promise<void> {
    for (const [id, one] of held) {
      if (one.lsn !== since) continue;
      held.delete(id);
      await one[Symbol.asyncDispose]();
    }
  }

  /** Confirms what is committed, and looks whether there is more. */
  async function goOn(
    session: Session,
    request: ReadRequest,
    table: ChangeTable,
    server: Awaited<ReturnType<typeof requireServer>>,
    base: Omit<Plan, "parts">,
    position: ChangePosition,
    signal: AbortSignal | undefined,
  ): Promise<Plan> {
    const { stream } = table;
    const from = parseLsn(position.lsn);
    if (position.system !== server.system || position.timeline !== server.timeline || from > server.flushed) {
      throw cannotGoOn(
        stream,
        position.system === server.system
          ? "the server was promoted or restored since the last run, and what it has now may differ from what was read"
          : "this is another server than the one that the dataset was read from",
      );
    }
    if (position.table !== table.oid) {
      throw cannotGoOn(stream, `\`${stream}\` was dropped and made anew since the last run`);
    }
    const log = logOf(position.slot);
    const slot = log.isOpenFor(table)
      ? (await findSlots(session, [position.slot])).get(position.slot)
      : await slotAt(session, position, stream);
    const publication = publicationOf(position.slot);
    await requirePublication(session, publication, table, {
      make: false,
      own: options.publication === undefined,
      version: server.version,
    });
    const { digest } = table;
    tables.set(tableKey(digest, request), table);
    const cursor = position as unknown as Cursor;
    if (server.flushed <= from) return { ...base, parts: [], cursor };
    const first = await log.lookAfter(table, publication, from, server.flushed, signal);
    const { parts, to } = changeParts(position, server.flushed, first, digest, {
      ...(request.partBytes === undefined ? {} : { partBytes: request.partBytes }),
      ...(options.maxBytes === undefined ? {} : { maxBytes: options.maxBytes }),
    });
    return {
      ...base,
      parts,
      cursor: (parts.length === 0 ? position : { ...position, lsn: formatLsn(to) }) as unknown as Cursor,
      warnings: slot === undefined ? [] : slotWarnings(slot),
    };
  }

  /** The table as a part was planned for; `conflict` when it has other columns by now. */
  async function tableOf(
    digest: string,
    request: ReadRequest,
    signal: AbortSignal | undefined,
    snapshot?: SnapshotSpec,
  ): Promise<ChangeTable> {
    const known = tables.get(tableKey(digest, request));
    if (known !== undefined) return known;
    const table = await withSession(async (session) => {
      if (snapshot !== undefined) await joinSnapshot(session, snapshot.snapshot, signal);
      return findTable(session, request);
    }, signal);
    if (table.digest !== digest) {
      throw new MillraceError("conflict", `the columns of \`${table.stream}\` have changed since the run was planned`, {
        hint: "the run is planned anew; nothing of the old plan was published",
      });
    }
    tables.set(tableKey(digest, request), table);
    return table;
  }

  async function readTable(
    part: Part,
    spec: SnapshotSpec,
    request: ReadRequest,
    signal: AbortSignal | undefined,
  ): Promise<Payload> {
    const holding = held.get(`${spec.snapshot.server} ${spec.snapshot.id}`);
    if (holding !== undefined && !holding.alive) throw snapshotGone(spec.snapshot.id);
    const table = await tableOf(spec.columns, request, signal, spec);
    let rows = 0;
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      const release = await takeTurn(signal);
      let session: Session | undefined;
      try {
        session = await takeSession(signal);
        await joinSnapshot(session, spec.snapshot, signal);
        yield* copyCsv({
          settings,
          session,
          select: firstSelect(table, spec),
          signal,
          onRows: (count) => (rows = count),
        });
      } catch (error) {
        if (isMillraceError(error)) throw asLockConflict(error).at({ stream: table.stream, part: part.id });
        throw error;
      } finally {
        if (session !== undefined) await giveBack(session);
        release();
      }
    };
    return { ...payloadOf(table), chunks: chunks(), rows: () => rows };
  }

  async function readChanges(
    part: Part,
    spec: ChangeSpec,
    request: ReadRequest,
    signal: AbortSignal | undefined,
  ): Promise<Payload> {
    const table = await tableOf(spec.columns, request, signal);
    const counted = { rows: 0 };
    const chunks = changesOf({
      log: logOf(spec.slot),
      table,
      publication: publicationOf(spec.slot),
      spec,
      where: { stream: table.stream, part: part.id },
      signal,
      counted,
      withSession,
    });
    return { ...payloadOf(table), chunks, rows: () => counted.rows };
  }

  /** Waits until fewer than `connections` read, and gives what ends the turn. */
  async function takeTurn(signal: AbortSignal | undefined): Promise<() => void> {
    throwIfAborted(signal);
    return new Promise((resolve, reject) => {
      const onAbort = (): void =>
        reject(new MillraceError("aborted", "stopped by the caller", { cause: signal?.reason }));
      signal?.addEventListener("abort", onAbort, { once: true });
      void limitReaders(async () => {
        signal?.removeEventListener("abort", onAbort);
        if (!signal?.aborted) await new Promise<void>((free) => resolve(free));
      });
    });
  }
}

function payloadOf(table: ChangeTable): {
  form: "bytes";
  format: "csv";
  columns: ReturnType<typeof streamColumns>;
  encodings: ReturnType<typeof encodingsOf>;
} {
  return { form: "bytes", format: "csv", columns: streamColumns(table), encodings: encodingsOf(table.columns) };
}

function keyOf({ snapshot }: Held): string {
  return `${snapshot.server} ${snapshot.id}`;
}

function tableKey(digest: string, { flow, stream, columns, options }: ReadRequest): string {
  return JSON.stringify([digest, flow, stream, columns, options]);
}

/** Before a table is read again: what is in the dataset goes, also the rows that the table does not have any more. */
function emptying(held: Held, columns: string): Part {
  const spec: ChangeSpec = { kind: "emptying", version: 1, slot: "", from: held.lsn, to: held.lsn, columns };
  return { id: "emptying", spec: spec as unknown as Part["spec"], rows: 1 };
}

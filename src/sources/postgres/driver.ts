import {
  isMillraceError,
  limitConcurrency,
  MillraceError,
  throwIfAborted,
  type ErrorPlace,
  type Part,
  type ReadRequest,
  type Source,
  type SourceContext,
} from "../../core/index.ts";
import { checkSchemas, discover } from "./discover.ts";
import { measureSubject } from "./measure.ts";
import { planParts } from "./plan.ts";
import { copyCsv } from "../../protocols/postgres/copy-read.ts";
import { listNames, streamName } from "../../protocols/postgres/relations.ts";
import { openSession, placed, stoppable, type Session } from "../../protocols/postgres/session.ts";
import type { Options } from "./options.ts";
import { settingsOf } from "../../protocols/postgres/settings.ts";
import { partSelect, type PartSpec } from "./slice.ts";
import {
  asLockConflict,
  beginSnapshot,
  joinSnapshot,
  snapshotGone,
  type Snapshot,
} from "../../protocols/postgres/snapshot.ts";
import {
  encodingsOf,
  findSubject,
  planColumns,
  requireReadable,
  type Subject,
} from "../../protocols/postgres/subject.ts";

/** Snapshots that are held at the same time, one for each of the latest plans. Each one keeps the server from cleaning up. */
const maximumSnapshots = 4;

/** Connects on first use. Throws `config` for options that do not fit together. */
export async function open(options: Options, context: SourceContext): Promise<Source> {
  const settings = await settingsOf(options, context, "read");
  const { schemas } = options;
  /** Sessions whose open transaction holds a snapshot, by its id, the oldest first. */
  const holders = new Map<string, Session>();
  /** Sessions that may be in use or not; all of them are closed at the end. */
  const sessions = new Set<Session>();
  const idle: Session[] = [];
  const subjects = new Map<string, Subject>();
  const limitReaders = limitConcurrency(options.connections);
  let disposed = false;

  const connect = async (signal?: AbortSignal): Promise<Session> => {
    if (disposed) throw new MillraceError("usage", "the source is closed already");
    const session = await openSession(settings, signal);
    sessions.add(session);
    return session;
  };
  const close = async (session: Session): Promise<void> => {
    sessions.delete(session);
    await session[Symbol.asyncDispose]();
  };
  const takeSession = async (signal?: AbortSignal): Promise<Session> => {
    for (let session = idle.pop(); session !== undefined; session = idle.pop()) {
      if (session.alive) return session;
      await close(session);
    }
    return connect(signal);
  };
  const giveBack = async (session: Session): Promise<void> => {
    try {
      if (!session.alive) throw new MillraceError("unreachable", "the connection is lost");
      await session.query("ROLLBACK");
      idle.push(session);
    } catch {
      await close(session);
    }
  };
  /** One statement or a few that need no snapshot of a plan. */
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
  const describeRequest = (request: ReadRequest): string => request.stream ?? "query";

  return {
    check: (signal) =>
      withSession(async (session) => {
        const names = await listNames(session, schemas);
        await checkSchemas(session, schemas);
        const rows = await session.query(
          // By their numbers: a name of a schema that the role may not enter is an error.
          `SELECT has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE') AS readable
           FROM unnest($1::text[], $2::text[]) AS listed(s, t)
           JOIN pg_namespace n ON n.nspname = s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t`,
          [names.map(({ schema }) => schema), names.map(({ name }) => name)],
          signal,
        );
        if (rows.length === 0 || rows.some((row) => row.readable === "t")) return;
        const shown = names.slice(0, 3).map((name) => `\`${streamName(name)}\``);
        const schema = names[0]!.schema;
        throw new MillraceError(
          "permission",
          `\`${settings.user}\` may read none of the ${names.length} tables in \`${settings.database}\`: ${shown.join(", ")}${names.length > 3 ? ", …" : ""}`,
          {
            where: { connection: settings.connection },
            hint: `GRANT USAGE ON SCHEMA "${schema}" TO "${settings.user}"; GRANT SELECT ON ALL TABLES IN SCHEMA "${schema}" TO "${settings.user}"`,
          },
        );
      }, signal),

    async *streams(signal) {
      throwIfAborted(signal);
      const session = await takeSession(signal);
      try {
        await stoppable(session, signal, () => checkSchemas(session, schemas));
        const found = discover(session, schemas)[Symbol.asyncIterator]();
        for (;;) {
          const next = await stoppable(session, signal, () => found.next());
          if (next.done) return;
          yield next.value;
        }
      } finally {
        await giveBack(session);
      }
    },

    plan: (request, planOptions) =>
      placed(settings, { stream: describeRequest(request) }, async () => {
        const { signal } = planOptions;
        const session = await connect(signal);
        let held = false;
        try {
          const { snapshot, plan } = await stoppable(session, signal, async () => {
            const { relation } = await findSubject(session, request);
            const snapshot = await beginSnapshot(session, relation, signal);
            const subject = await findSubject(session, request);
            await requireReadable(session, subject, settings.user);
            return { snapshot, plan: await planParts(session, snapshot, subject, request, planOptions) };
          });
          if (plan.parts.length === 0) return plan;
          holders.set(keyOf(snapshot), session);
          held = true;
          for (const [id, holder] of holders) {
            if (holders.size <= maximumSnapshots) break;
            holders.delete(id);
            await close(holder);
          }
          return plan;
        } finally {
          if (!held) await close(session);
        }
      }),

    async read(part, request, { signal }) {
      const spec = part.spec as unknown as PartSpec;
      const where = { stream: describeRequest(request), part: part.id };
      throwIfAborted(signal);
      const holder = holders.get(keyOf(spec.snapshot));
      if (holder !== undefined && !holder.alive) throw snapshotGone(spec.snapshot.id).at(where);
      const subject = await subjectIn(spec, request, where, signal);
      let rows = 0;
      return {
        form: "bytes",
        format: "csv",
        columns: planColumns(subject.columns),
        encodings: encodingsOf(subject.columns),
        chunks: readChunks(part, subject, (count) => (rows = count), signal),
        rows: () => rows,
      };
    },

    measure: (request, { columns, upTo, signal }) =>
      placed(settings, { stream: describeRequest(request) }, () =>
        withSession(async (session) => {
          await session.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
          const subject = await findSubject(session, request);
          await requireReadable(session, subject, settings.user);
          return measureSubject(session, subject, {
            columns,
            ...(upTo === undefined ? {} : { upTo }),
            ...(request.cursor === undefined ? {} : { cursor: request.cursor }),
            ...(signal === undefined ? {} : { signal }),
          });
        }, signal),
      ),

    async [Symbol.asyncDispose]() {
      disposed = true;
      await Promise.all([...sessions].map(close));
      holders.clear();
      idle.length = 0;
    },
  };

  /** The subject as the snapshot of a plan has it. All parts of a plan share it. */
  async function subjectIn(
    spec: PartSpec,
    request: ReadRequest,
    where: ErrorPlace,
    signal: AbortSignal | undefined,
  ): Promise<Subject> {
    const name = JSON.stringify([spec.snapshot, request]);
    const known = subjects.get(name);
    if (known !== undefined) return known;
    const subject = await withSession(
      (session) =>
        placed(settings, where, async () => {
          await joinSnapshot(session, spec.snapshot, signal);
          return findSubject(session, request);
        }),
      signal,
    );
    if (subjects.size >= maximumSnapshots) subjects.clear();
    subjects.set(name, subject);
    return subject;
  }

  /** Waits until fewer than `connections` read, and gives what ends the turn. */
  async function takeTurn(signal: AbortSignal | undefined): Promise<() => void> {
    // One that was aborted already does not say so again.
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

  async function* readChunks(
    part: Part,
    subject: Subject,
    onRows: (rows: number) => void,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array> {
    const where = { stream: subject.stream, part: part.id };
    const spec = part.spec as unknown as PartSpec;
    const release = await takeTurn(signal);
    let session: Session | undefined;
    try {
      session = await takeSession(signal);
      await joinSnapshot(session, spec.snapshot, signal);
      yield* copyCsv({ settings, session, select: partSelect(subject, spec), signal, onRows });
    } catch (error) {
      if (isMillraceError(error)) throw asLockConflict(error).at(where);
      throw error;
    } finally {
      if (session !== undefined) await giveBack(session);
      release();
    }
  }
}

function keyOf(snapshot: Snapshot): string {
  return `${snapshot.server} ${snapshot.id}`;
}

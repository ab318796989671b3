import {
  isMillraceError,
  limitConcurrency,
  MillraceError,
  throwIfAborted,
  type LookupReply,
  type Sink,
  type SinkContext,
} from "../../core/index.ts";
import { openSession, placed, type Session } from "../../protocols/postgres/session.ts";
import { settingsOf } from "../../protocols/postgres/settings.ts";
import { beginPublishing, isPublished, placeOf, readPublication, type Publication } from "./ledger.ts";
import { getRows } from "./lookup.ts";
import type { Options } from "./options.ts";
import { publishRows } from "./publish.ts";
import { inSchema } from "./ledger.ts";

/** Connects on first use. Throws `config` for options that do not fit together. */
export async function open(options: Options, context: SinkContext): Promise<Sink> {
  const settings = await settingsOf(options, context, "write");
  const { schema } = options;
  const sessions = new Set<Session>();
  const idle: Session[] = [];
  const known = new Map<string, Publication>();
  const takeTurn = limitConcurrency(options.connections);
  let disposed = false;

  const close = async (session: Session): Promise<void> => {
    sessions.delete(session);
    await session[Symbol.asyncDispose]();
  };
  const connect = async (signal?: AbortSignal): Promise<Session> => {
    if (disposed) throw new MillraceError("usage", "the sink is closed already");
    const session = await openSession(settings, signal);
    sessions.add(session);
    return session;
  };
  /** A session that has been asked whether it still works. */
  const take = async (signal?: AbortSignal): Promise<Session> => {
    for (let session = idle.pop(); session !== undefined; session = idle.pop()) {
      if (session.alive && (await session.query("ROLLBACK").then(isTrue, isFalse))) return session;
      await close(session);
    }
    return connect(signal);
  };
  const giveBack = async (session: Session, clean: boolean): Promise<void> => {
    if (clean && session.alive) idle.push(session);
    else await close(session);
  };
  const withSession = async <Result>(
    work: (session: Session) => Promise<Result>,
    signal?: AbortSignal,
    given?: Session,
  ): Promise<Result> => {
    throwIfAborted(signal);
    const session = given ?? (await take(signal));
    let clean = false;
    try {
      const result = await work(session);
      clean = true;
      return result;
    } catch (error) {
      // The connection is fine, and so is the session once the transaction is undone.
      clean = session.alive && (await session.query("ROLLBACK").then(isTrue, isFalse));
      throw error;
    } finally {
      await giveBack(session, clean);
    }
  };

  return {
    check: (signal) =>
      placed(settings, {}, () =>
        withSession(async (session) => {
          const [found] = await session.query(
            "SELECT has_schema_privilege(oid, 'USAGE, CREATE') AS writable FROM pg_namespace WHERE nspname = $1",
            [schema],
            signal,
          );
          if (found === undefined) {
            throw new MillraceError("not-found", `there is no schema \`${schema}\` in \`${settings.database}\``, {
              hint: `CREATE SCHEMA "${schema}" AUTHORIZATION "${settings.user}", or set \`schema\``,
            });
          }
          await session.query("BEGIN");
          try {
            await session.query(
              `CREATE TABLE ${inSchema(placeOf(schema, "check"), `millrace_check_${process.pid}`)} (a int)`,
              [],
              signal,
            );
          } catch (error) {
            if (!isMillraceError(error) || error.code !== "permission") throw error;
            throw new MillraceError(
              "permission",
              `\`${settings.user}\` may not make tables in the schema \`${schema}\``,
              {
                cause: error,
                hint: `GRANT USAGE, CREATE ON SCHEMA "${schema}" TO "${settings.user}"`,
              },
            );
          } finally {
            if (session.alive) await session.query("ROLLBACK");
          }
        }, signal),
      ),

    publish: (version, request) =>
      placed(settings, { dataset: version.dataset }, async () => {
        const { signal } = request;
        if (request.mode === "merge" && request.key.length === 0) {
          throw new MillraceError("usage", "`merge` needs a `key`", { hint: "name its columns with --key" });
        }
        const place = placeOf(schema, request.target);
        const state = { committing: false };
        try {
          return await withSession(async (session) => {
            // Most repeats end here, without waiting for anybody.
            const there = await readPublication(session, place);
            if (isPublished(there, version, request)) return { status: "unchanged", rows: 0 } as const;
            await beginPublishing(session, place, signal);
            const before = await readPublication(session, place);
            if (isPublished(before, version, request)) {
              await session.query("ROLLBACK");
              return { status: "unchanged", rows: 0 } as const;
            }
            const rows = await publishRows({ settings, session, place, before, version, request });
            throwIfAborted(signal);
            state.committing = true;
            await session.query("COMMIT");
            return { status: "published", rows } as const;
          }, signal);
        } catch (error) {
          if (!state.committing) {
            throwIfAborted(request.signal);
            throw error;
          }
          // The answer to the commit was lost. Whoever has the lock of the target sees what became of it.
          const now = await withSession(async (session) => {
            await beginPublishing(session, place);
            const found = await readPublication(session, place);
            await session.query("ROLLBACK");
            return found;
          }).catch(() => "unknown" as const);
          if (now === "unknown") {
            throw new MillraceError(
              "unknown-outcome",
              `whether \`${request.target}\` holds the version is not known: the connection was lost as it was committed`,
              {
                cause: error,
                temporary: true,
                hint: "publish again: what is there already is not written twice",
              },
            );
          }
          if (isPublished(now, version, request)) return { status: "published", rows: version.rows };
          throw error;
        }
      }),

    get: (request) =>
      placed(settings, {}, () =>
        takeTurn(async () => {
          const work = (session: Session): Promise<LookupReply> =>
            getRows(session, placeOf(schema, request.target), request, known);
          // To ask an idle session whether it works would take as long as the lookup.
          const session = idle.pop();
          try {
            return await withSession(work, request.signal, session);
          } catch (error) {
            if (session === undefined || session.alive || !isMillraceError(error) || !error.temporary) throw error;
            return withSession(work, request.signal);
          }
        }),
      ),

    async [Symbol.asyncDispose]() {
      disposed = true;
      await Promise.all([...sessions].map(close));
      idle.length = 0;
    },
  };
}

const isTrue = (): boolean => true;
const isFalse = (): boolean => false;

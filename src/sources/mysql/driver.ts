import { MillraceError, type Source, type SourceContext } from "../../core/index.ts";
import { openSession } from "../../protocols/mysql/connect.ts";
import { listStreams } from "../../protocols/mysql/discover.ts";
import { mysqlError } from "../../protocols/mysql/errors.ts";
import { measureRelation } from "./measure.ts";
import type { Options } from "../../protocols/mysql/options.ts";
import { planParts, suggestedParts, type PartSpec } from "./plan.ts";
import { readPart } from "./read.ts";
import { findRelation, type Relation } from "../../protocols/mysql/relations.ts";
import type { Session } from "../../protocols/mysql/session.ts";
import { settingsOf } from "../../protocols/mysql/settings.ts";
import { Snapshot, snapshotGone } from "../../protocols/mysql/snapshot.ts";

/** Snapshots that are held at the same time, one for each of the latest plans. Each one keeps the server from cleaning up. */
const maximumSnapshots = 4;

/** What of a plan stays in this process: without it its parts cannot be read. */
interface Held {
  snapshot: Snapshot;
  relation: Relation;
}

/** Connects on first use. Throws `config` for options that do not fit together. */
export async function open(options: Options, context: SourceContext): Promise<Source> {
  const settings = await settingsOf(options, context);
  /** By the id of their snapshot, the oldest first. */
  const plans = new Map<string, Held>();
  let disposed = false;
  const connect = (signal?: AbortSignal): Promise<Session> => {
    if (disposed) throw new MillraceError("usage", "the source is closed already");
    return openSession(settings, signal);
  };
  const placeOf = (request: { stream?: string }): { stream?: string } =>
    request.stream === undefined ? {} : { stream: request.stream };

  async function withSession<T>(
    where: { stream?: string },
    signal: AbortSignal | undefined,
    action: (session: Session) => Promise<T>,
  ): Promise<T> {
    const session = await connect(signal);
    try {
      return await action(session);
    } catch (error) {
      throw mysqlError(error, settings, where);
    } finally {
      await session.close();
    }
  }

  return {
    async check(signal) {
      await withSession({}, signal, (session) => session.query("SELECT 1", signal));
    },

    async *streams(signal) {
      const session = await connect(signal);
      try {
        yield* listStreams(session, signal);
      } finally {
        await session.close();
      }
    },

    async plan(request, { after, signal }) {
      const where = placeOf(request);
      const relation = await withSession(where, signal, (session) => findRelation(session, request, signal));
      const parts = suggestedParts(relation, request);
      const readers = Math.min(settings.connections, parts);
      const snapshot = await Snapshot.take(() => connect(signal), readers, relation.table?.name, signal);
      try {
        const session = await snapshot.acquire(signal);
        const plan = await planParts(session, snapshot.id, relation, request, parts, after, signal);
        snapshot.release(session);
        if (plan.parts.length === 0) {
          await snapshot[Symbol.asyncDispose]();
          return plan;
        }
        plans.set(snapshot.id, { snapshot, relation });
        for (const [id, held] of plans) {
          if (plans.size <= maximumSnapshots) break;
          plans.delete(id);
          await held.snapshot[Symbol.asyncDispose]();
        }
        return plan;
      } catch (error) {
        await snapshot[Symbol.asyncDispose]();
        throw mysqlError(error, settings, where);
      }
    },

    async read(part, request, { signal }) {
      const { snapshot: id } = part.spec as unknown as PartSpec;
      const held = plans.get(id);
      if (held === undefined || held.snapshot.readers === 0) {
        throw mysqlError(snapshotGone(id), settings, { ...placeOf(request), part: part.id });
      }
      return readPart(held.snapshot, held.relation, part, signal);
    },

    async measure(request, { upTo, columns, signal }) {
      return withSession(placeOf(request), signal, async (session) => {
        const relation = await findRelation(session, request, signal);
        return measureRelation(session, relation, request, columns, upTo, signal);
      });
    },

    async [Symbol.asyncDispose]() {
      disposed = true;
      const held = [...plans.values()];
      plans.clear();
      await Promise.all(held.map(({ snapshot }) => snapshot[Symbol.asyncDispose]()));
    },
  };
}

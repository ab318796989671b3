import { randomUUID } from "node:crypto";
import { isMillraceError, MillraceError, throwIfAborted } from "../../core/index.ts";
import { quoteTable, type TableName } from "./names.ts";
import type { Session } from "./session.ts";

/** How long writers of the table may be kept waiting while several readers take the same view of it, seconds. */
const lockSeconds = 2;

/** Why there may be one reader only: no right to lock, a lock that is held by others, no connection left. */
const fallsBack = new Set(["permission", "timeout", "limit"]);

/** Connections whose transactions see the same moment of the database. Each serves one part at a time. */
export class Snapshot implements AsyncDisposable {
  readonly id = randomUUID();
  #sessions: Session[];
  #free: Session[];
  #waiting: { resolve: (session: Session) => void; reject: (error: Error) => void }[] = [];

  private constructor(sessions: Session[]) {
    this.#sessions = sessions;
    this.#free = [...sessions];
  }

  /**
   * `readers` connections with one view of `table`. MySQL cannot share a snapshot, so writers of this one table are locked
   * out for the moment in which the transactions begin. Where the user lacks LOCK TABLES, or a writer does not let go within
   * two seconds, and for everything that is not a table, there is one reader. With `whileLocked`, which is called while nobody writes the
   * table, there is no snapshot without the lock.
   */
  static async take(
    connect: () => Promise<Session>,
    readers: number,
    table: TableName | undefined,
    signal?: AbortSignal,
    whileLocked?: (locker: Session) => Promise<void>,
  ): Promise<Snapshot> {
    const sessions: Session[] = [];
    try {
      if ((readers > 1 || whileLocked !== undefined) && table !== undefined) {
        const locker = await connect();
        try {
          for (let index = 0; index < readers; index++) sessions.push(await connect());
          if (whileLocked === undefined) await locker.query(`SET SESSION lock_wait_timeout = ${lockSeconds}`);
          await locker.query(`LOCK TABLES ${quoteTable(table)} READ`, signal);
          await Promise.all(sessions.map(begin));
          await whileLocked?.(locker);
          return new Snapshot(sessions);
        } catch (error) {
          if (whileLocked !== undefined || !isMillraceError(error) || !fallsBack.has(error.code)) throw error;
          await Promise.all(sessions.splice(1).map((session) => session.close()));
        } finally {
          await locker.close();
        }
      }
      throwIfAborted(signal);
      if (sessions.length === 0) sessions.push(await connect());
      await begin(sessions[0]!);
      return new Snapshot(sessions);
    } catch (error) {
      await Promise.all(sessions.map((session) => session.close()));
      throw error;
    }
  }

  /** How many parts can be read at once. */
  get readers(): number {
    return this.#sessions.length;
  }

  /** Waits for a connection that has nothing to do. Throws `conflict` once none is left. */
  async acquire(signal?: AbortSignal): Promise<Session> {
    throwIfAborted(signal);
    this.#drop();
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#sessions.length === 0) throw snapshotGone(this.id);
    return new Promise((resolve, reject) => {
      const waiting = {
        resolve: (session: Session) => {
          signal?.removeEventListener("abort", onAbort);
          resolve(session);
        },
        reject,
      };
      const onAbort = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== waiting);
        reject(new MillraceError("aborted", "stopped by the caller", { cause: signal?.reason }));
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting.push(waiting);
    });
  }

  release(session: Session): void {
    if (!session.isBroken) {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(session);
      else next.resolve(session);
      return;
    }
    this.#drop();
    if (this.#sessions.length === 0)
      for (const waiting of this.#waiting.splice(0)) waiting.reject(snapshotGone(this.id));
  }

  /** A connection that was lost has lost the view, and cannot get it again. */
  #drop(): void {
    this.#sessions = this.#sessions.filter((session) => !session.isBroken);
    this.#free = this.#free.filter((session) => !session.isBroken);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const sessions = this.#sessions;
    this.#sessions = [];
    this.#free = [];
    for (const waiting of this.#waiting.splice(0)) waiting.reject(snapshotGone(this.id));
    await Promise.all(sessions.map((session) => session.close()));
  }
}

async function begin(session: Session): Promise<void> {
  await session.query("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
}

/** What a part says when it comes from another process, or from a connection that was lost since. */
export function snapshotGone(id: string): MillraceError {
  return new MillraceError("conflict", `the snapshot \`${id}\` of this plan is gone`, {
    hint: "the run is planned anew; nothing of the old plan was published",
  });
}

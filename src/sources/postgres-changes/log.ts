import { setTimeout as sleep } from "node:timers/promises";
import { isMillraceError, throwIfAborted } from "../../core/index.ts";
import { postgresError } from "../../protocols/postgres/errors.ts";
import { openSession } from "../../protocols/postgres/session.ts";
import type { Settings } from "../../protocols/postgres/settings.ts";
import { LogReader, startText } from "./log-reader.ts";
import { slotError, sqlState } from "./slot.ts";
import type { ChangeTable } from "./table.ts";

/** How long somebody else may read the slot: a runner that was killed is not seen at once. */
const patienceMs = 10_000;

/** One slot, of which there is one reader at most: it stays open from the look of a plan to the reading of its parts, and to the next plan. */
export class Log {
  readonly #settings: Settings;
  readonly #slot: string;
  #reader: LogReader | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(settings: Settings, slot: string) {
    this.#settings = settings;
    this.#slot = slot;
  }

  isOpenFor(table: ChangeTable): boolean {
    return this.#reader?.alive === true && isSame(this.#reader.table, table);
  }

  /**
   * Says that all before `from` is committed, and looks for a change between it and `to`: where its transaction was committed, or undefined.
   */
  async lookAfter(
    table: ChangeTable,
    publication: string,
    from: bigint,
    to: bigint,
    signal?: AbortSignal,
  ): Promise<bigint | undefined> {
    const { reader, done } = await this.take(table, publication, from, signal);
    try {
      reader.confirm(from);
      const found = await reader.look(to, signal);
      await done();
      return found;
    } catch (error) {
      throw await done(error);
    }
  }

  /**
   * The reader at `from`, after all who came before have called `done`. A reader that failed is closed, and what failed comes back as an
   * error that says what to do.
   */
  async take(
    table: ChangeTable,
    publication: string,
    from: bigint,
    signal: AbortSignal | undefined,
  ): Promise<{ reader: LogReader; done: (problem?: unknown) => Promise<unknown> }> {
    const before = this.#turn;
    let release: () => void = () => undefined;
    this.#turn = new Promise<void>((resolve) => (release = resolve));
    await before;
    const done = async (problem?: unknown): Promise<unknown> => {
      try {
        if (problem === undefined) return undefined;
        await this.close();
        return slotError(isMillraceError(problem) ? problem : postgresError(problem, this.#settings), this.#slot);
      } finally {
        release();
      }
    };
    try {
      throwIfAborted(signal);
      return { reader: await this.#readerAt(table, publication, from, signal), done };
    } catch (error) {
      throw await done(error);
    }
  }

  async close(): Promise<void> {
    const reader = this.#reader;
    this.#reader = undefined;
    await reader?.close();
  }

  async #readerAt(
    table: ChangeTable,
    publication: string,
    from: bigint,
    signal: AbortSignal | undefined,
  ): Promise<LogReader> {
    if (this.isOpenFor(table) && this.#reader!.standsAt(from)) return this.#reader!;
    await this.close();
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const session = await openSession(this.#settings, signal, { replication: true });
      const text = startText(this.#slot, publication, from);
      const reader = new LogReader(session, table, text, from, this.#settings.readTimeoutMs);
      try {
        await reader.started();
        this.#reader = reader;
        return reader;
      } catch (cause) {
        await reader.close();
        throwIfAborted(signal);
        const error = isMillraceError(cause) ? cause : postgresError(cause, this.#settings);
        if (sqlState(error) !== "55006" || performance.now() > deadline) throw slotError(error, this.#slot);
        await sleep(50, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
        throwIfAborted(signal);
      }
    }
  }
}

function isSame(left: ChangeTable, right: ChangeTable): boolean {
  return left === right || (left.oid === right.oid && left.digest === right.digest);
}

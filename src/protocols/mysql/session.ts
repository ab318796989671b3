import type { Connection, FieldPacket, RowDataPacket } from "mysql2";
import { MillraceError } from "../../core/index.ts";
import { addressOf, mysqlError } from "./errors.ts";
import { serverColumn } from "./fields.ts";
import type { Settings } from "./settings.ts";
import type { CellForm, ServerColumn } from "./types.ts";
import { CsvResult, type Wire } from "./wire.ts";

/** Values as the server prints them. */
export type TextRow = Record<string, string | null>;

/** How long a killed statement may take to end before its connection is cut, milliseconds. */
const killMs = 2_000;

/** One connection, set up for reading: UTC, utf8mb4, read only, repeatable read. Does one thing at a time. */
export class Session {
  readonly settings: Settings;
  readonly #connection: Connection;
  readonly #kill: (threadId: number) => Promise<void>;
  #isBroken = false;
  #result: CsvResult | undefined;
  /** Ends the statement that is waited for; the driver says nothing when it is cut by us. */
  #giveUp: ((error: MillraceError) => void) | undefined;

  constructor(connection: Connection, settings: Settings, kill: (threadId: number) => Promise<void>) {
    this.#connection = connection;
    this.#kill = kill;
    this.settings = settings;
    connection.on("error", () => (this.#isBroken = true));
    connection.on("end", () => (this.#isBroken = true));
  }

  /** The connection is gone, and with it whatever it held: snapshot, locks. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** A small result. Ends at the server when the signal fires. */
  async query(sql: string, signal?: AbortSignal): Promise<TextRow[]> {
    if (signal?.aborted) throw stopped(signal);
    let killing: Promise<void> | undefined;
    let late: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      const cut = new Promise<void>((resolve) => (late = setTimeout(resolve, killMs))).then(() => this.destroy());
      killing = Promise.race([this.#kill(this.#connection.threadId).catch(() => this.destroy()), cut]);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await this.#send(sql);
    } catch (error) {
      if (signal?.aborted) throw stopped(signal);
      throw mysqlError(error, this.settings);
    } finally {
      signal?.removeEventListener("abort", onAbort);
      // A kill that comes too late would hit the next statement.
      await killing;
      clearTimeout(late);
    }
  }

  /** The columns that a SELECT gives, as the server describes them. It is prepared and not executed. */
  async describe(select: string): Promise<ServerColumn[]> {
    try {
      return await this.#answer((resolve, reject) => {
        this.#connection.prepare(select, (error, statement) => {
          if ((error as Error | null) !== null) return reject(error);
          // The typings do not know the columns of a statement.
          const { columns } = statement as unknown as { columns: FieldPacket[] };
          statement.close();
          resolve(columns.map(serverColumn));
        });
      });
    } catch (error) {
      throw mysqlError(error, this.settings);
    }
  }

  #send(sql: string): Promise<TextRow[]> {
    return this.#answer((resolve, reject) => {
      const typeCast = (field: { string(): string | null }): string | null => field.string();
      this.#connection.query<RowDataPacket[]>({ sql, typeCast }, (error, rows) => {
        // The typings promise an error; a result of none is null.
        if ((error as Error | null) !== null) reject(error);
        else resolve(Array.isArray(rows) ? (rows as TextRow[]) : []);
      });
    });
  }

  /** What the server answers; without an answer in time the connection is cut. */
  async #answer<T>(ask: (resolve: (value: T) => void, reject: (error: unknown) => void) => void): Promise<T> {
    let silence: NodeJS.Timeout | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#giveUp = reject;
        silence = setTimeout(() => {
          reject(this.#silent());
          this.destroy();
        }, this.settings.readTimeoutMs);
        ask(resolve, reject);
      });
    } finally {
      clearTimeout(silence);
      this.#giveUp = undefined;
    }
  }

  /**
   * A result of any size as chunks of CSV, pulled. Whoever stops early, or fires the signal, stops the server too; the
   * session can be used again afterwards unless it `isBroken`. `onEnd` is given the rows of a complete result.
   */
  async *read(
    sql: string,
    forms: readonly CellForm[],
    onEnd: (rows: number) => void,
    signal?: AbortSignal,
  ): AsyncGenerator<Uint8Array, void> {
    if (signal?.aborted) throw stopped(signal);
    const result = new CsvResult(this.#connection as unknown as Wire, sql, forms);
    this.#result = result;
    let cancelled: Promise<void> | undefined;
    const cancel = (): Promise<void> => (cancelled ??= this.#cancel(result));
    const onAbort = (): void => {
      result.fail(stopped(signal!));
      void cancel();
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      for (;;) {
        const chunk = await this.#next(result);
        if (chunk === undefined) break;
        yield chunk;
      }
      onEnd(result.rows);
    } catch (error) {
      throw mysqlError(error, this.settings);
    } finally {
      signal?.removeEventListener("abort", onAbort);
      if (!result.ended || cancelled !== undefined) await cancel();
    }
  }

  /** The next chunk; the time that the consumer takes does not count as silence of the server. */
  async #next(result: CsvResult): Promise<Uint8Array | undefined> {
    let heard = result.packets;
    const listen = (): NodeJS.Timeout =>
      setTimeout(() => {
        if (result.packets === heard) {
          result.fail(this.#silent());
          this.destroy();
        } else {
          heard = result.packets;
          timer = listen();
        }
      }, this.settings.readTimeoutMs);
    let timer = listen();
    try {
      return await result.next();
    } finally {
      clearTimeout(timer);
    }
  }

  #silent(): MillraceError {
    const { readTimeoutMs } = this.settings;
    return new MillraceError("timeout", `${addressOf(this.settings)} has sent nothing for ${readTimeoutMs / 1000} s`, {
      temporary: true,
      hint: "see what it is doing: SHOW FULL PROCESSLIST; or raise `readTimeoutMs`",
    });
  }

  /** Ends the statement at the server and waits until it has ended here; when that takes too long, the connection is cut. */
  async #cancel(result: CsvResult): Promise<void> {
    const deadline = setTimeout(() => this.destroy(), killMs);
    try {
      const ended = result.discard();
      const killed = this.#kill(this.#connection.threadId).catch(() => this.destroy());
      await ended;
      // A kill that came too late hits the next statement: let it hit this one.
      if (!this.#isBroken) {
        await killed;
        await this.#send("DO 0").catch(() => undefined);
      }
    } finally {
      clearTimeout(deadline);
    }
  }

  /** Says goodbye to the server. */
  async close(): Promise<void> {
    if (this.#isBroken) return this.destroy();
    await new Promise<void>((resolve) => {
      const deadline = setTimeout(resolve, killMs);
      this.#connection.end(() => {
        clearTimeout(deadline);
        resolve();
      });
    });
    this.destroy();
  }

  /** Cuts the connection. Whoever is reading from it is told so. */
  destroy(): void {
    this.#isBroken = true;
    this.#connection.destroy();
    (this.#connection as unknown as Wire).stream.destroy();
    const cut = new MillraceError("unreachable", "the connection was cut", { temporary: true });
    this.#result?.lose(cut);
    this.#giveUp?.(cut);
  }
}

function stopped(signal: AbortSignal): MillraceError {
  return new MillraceError("aborted", "stopped by the caller", { cause: signal.reason });
}

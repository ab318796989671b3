import type { Connection, FieldPacket, RowDataPacket } from "mysql2";
import { MillraceError } from "../../core/index.ts";
import { translate, type Target } from "./errors.ts";
import type { CellForm, ServerColumn } from "./types.ts";
import { CsvResult, type Wire } from "./wire.ts";

/** Values as the server prints them. */
export type TextRow = Record<string, string | null>;

/** How long a killed statement may take to end before its connection is cut, milliseconds. */
const killMs = 2_000;

/** One connection, set up for reading: UTC, utf8mb4, read only, repeatable read. Does one thing at a time. */
export class Session {
  readonly target: Target;
  readonly #connection: Connection;
  readonly #kill: (threadId: number) => Promise<void>;
  #isBroken = false;

  constructor(connection: Connection, target: Target, kill: (threadId: number) => Promise<void>) {
    this.#connection = connection;
    this.#kill = kill;
    this.target = target;
    connection.on("error", () => (this.#isBroken = true));
    connection.on("end", () => (this.#isBroken = true));
  }

  /** The connection is gone, and with it whatever it held: snapshot, locks. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** A small result. Ends at the server when the signal fires. */
  async query(sql: string, signal?: AbortSignal): Promise<TextRow[]> {
    return (await this.#run(sql, signal)).rows;
  }

  /** The columns that a SELECT gives. Moves no rows. */
  async describe(select: string, signal?: AbortSignal): Promise<ServerColumn[]> {
    const { fields } = await this.#run(`${select}\nLIMIT 0`, signal);
    return fields.map(serverColumn);
  }

  async #run(sql: string, signal?: AbortSignal): Promise<{ rows: TextRow[]; fields: FieldPacket[] }> {
    if (signal?.aborted) throw stopped(signal);
    let killing: Promise<void> | undefined;
    const onAbort = (): void => {
      killing = this.#kill(this.#connection.threadId).catch(() => this.destroy());
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await new Promise((resolve, reject) => {
        const typeCast = (field: { string(): string | null }): string | null => field.string();
        this.#connection.query<RowDataPacket[]>({ sql, typeCast }, (error, rows, fields) => {
          // The typings promise an error; a result of none is null.
          if ((error as Error | null) !== null) reject(error as Error);
          else
            resolve({
              rows: Array.isArray(rows) ? (rows as TextRow[]) : [],
              fields: (fields as FieldPacket[] | undefined) ?? [],
            });
        });
      });
    } catch (error) {
      if (signal?.aborted) throw stopped(signal);
      throw translate(error, this.target);
    } finally {
      signal?.removeEventListener("abort", onAbort);
      await killing;
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
    let cancelled: Promise<void> | undefined;
    const cancel = (): Promise<void> => (cancelled ??= this.#cancel(result));
    const onAbort = (): void => {
      result.fail(stopped(signal!));
      void cancel();
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      for (let chunk = await result.next(); chunk !== undefined; chunk = await result.next()) yield chunk;
      onEnd(result.rows);
    } catch (error) {
      throw translate(error, this.target);
    } finally {
      signal?.removeEventListener("abort", onAbort);
      if (!result.ended || cancelled !== undefined) await cancel();
    }
  }

  async #cancel(result: CsvResult): Promise<void> {
    const deadline = setTimeout(() => this.destroy(), killMs);
    try {
      const drained = result.discard();
      if (!result.ended) await this.#kill(this.#connection.threadId).catch(() => this.destroy());
      await drained;
      // A kill that came too late hits the next statement: let it hit this one.
      if (!this.#isBroken) await this.query("DO 0").catch(() => undefined);
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

  destroy(): void {
    this.#isBroken = true;
    this.#connection.destroy();
  }
}

function stopped(signal: AbortSignal): MillraceError {
  return new MillraceError("aborted", "stopped by the caller", { cause: signal.reason });
}

/** Types of the protocol: https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html */
const protocolTypes: Record<number, string> = {
  0: "decimal",
  1: "tinyint",
  2: "smallint",
  3: "int",
  4: "float",
  5: "double",
  6: "null",
  7: "timestamp",
  8: "bigint",
  9: "mediumint",
  10: "date",
  11: "time",
  12: "datetime",
  13: "year",
  14: "date",
  15: "varchar",
  16: "bit",
  242: "vector",
  245: "json",
  246: "decimal",
  247: "enum",
  248: "set",
  249: "tinyblob",
  250: "mediumblob",
  251: "longblob",
  252: "blob",
  253: "varchar",
  254: "char",
  255: "geometry",
};
const flagUnsigned = 32;
const flagZerofill = 64;
const flagEnum = 256;
const flagSet = 2048;
const binaryCharacterSet = 63;
/** What the header of a result says where a number of decimals was not declared. */
const notFixed = 31;

function serverColumn(field: FieldPacket): ServerColumn {
  const {
    name,
    characterSet,
    columnLength = 0,
    decimals = 0,
    extendedTypeName,
    type: code = 253,
  } = field as FieldPacket & {
    characterSet: number;
    columnLength: number;
    extendedTypeName?: string;
  };
  const flags = Number(field.flags);
  const unsigned = (flags & flagUnsigned) !== 0;
  const binary = characterSet === binaryCharacterSet;
  let type = extendedTypeName ?? protocolTypes[code] ?? "varchar";
  if (flags & flagEnum) type = "enum";
  if (flags & flagSet) type = "set";
  // The protocol calls text of any length a blob; only its character set tells.
  if (!binary && type.endsWith("blob")) type = "text";
  const column: ServerColumn = {
    name,
    type,
    unsigned,
    zerofill: (flags & flagZerofill) !== 0,
    binary,
    required: false,
  };
  if (type === "decimal") {
    column.precision = columnLength - (decimals > 0 ? 1 : 0) - (unsigned ? 0 : 1);
    column.scale = decimals;
  } else if (type === "bit" || type === "tinyint") column.precision = columnLength;
  else if ((type === "float" || type === "double") && decimals < notFixed) column.scale = decimals;
  return column;
}

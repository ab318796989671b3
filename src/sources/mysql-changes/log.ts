import ZongJi, { type BinlogEvent, type ZongJiOptions } from "@vlasky/zongji";
import type { ConnectionOptions } from "mysql2";
import { MillraceError, systemCode, throwIfAborted } from "../../core/index.ts";
import { connectionOptions } from "../../protocols/mysql/connect.ts";
import { mysqlError } from "../../protocols/mysql/errors.ts";
import type { TableName } from "../../protocols/mysql/names.ts";
import type { Settings } from "../../protocols/mysql/settings.ts";
import { cannotGoOn, comparePlaces, type LogPosition } from "./position.ts";

export type ChangedRow = Record<string, unknown>;

/** What the log says of one table. */
export interface LogEntry {
  kind: "insert" | "update" | "delete" | "truncate";
  /** `before` of updates and deletions, `after` of updates and insertions. */
  rows: { before?: ChangedRow; after?: ChangedRow }[];
  /** Where its transaction begins: file and offset, and its name. */
  place: LogPosition;
  /** Of its first row within the transaction. */
  index: number;
  /** Seconds since the epoch, by the clock of the server. */
  time: number;
}

/** Entries that may wait for who reads them. */
const waitingEntries = 64;
const lookMs = 20;
/** The server's: what it says when it does not have the place any more. */
const cannotReadLog = 1236;

interface RowsEvent extends BinlogEvent {
  tableId: number;
  rows: ChangedRow[];
}
interface QueryEvent extends BinlogEvent {
  query: string;
  schema: string;
}
/** What is used of the library beyond its typings. */
interface Reader {
  connection: { pause(): void; resume(): void } | null;
  options: ZongJiOptions;
}

const statements = /^\s*(?:\/\*.*?\*\/\s*)*(insert|update|delete|replace|load)\b/is;
const truncation = /^\s*(?:\/\*.*?\*\/\s*)*truncate\s+(?:table\s+)?(.+?)\s*;?\s*$/is;

/**
 * Changes of a table from one place of the server's log to another, whole transactions in the order in which they were committed. Throws `not-found`
 * where the log does not go back that far, `unsupported` where a session has written statements in place of rows.
 */
export async function* entriesOf(
  settings: Settings,
  table: TableName,
  range: { from: LogPosition; to: LogPosition; serverId: number },
  signal: AbortSignal | undefined,
): AsyncGenerator<LogEntry> {
  throwIfAborted(signal);
  const { from, to } = range;
  const name = `${table.database}.${table.table}`;
  const zongji = new ZongJi(await loginOptions(settings, signal));
  const reader = zongji as unknown as Reader;
  const waiting: LogEntry[] = [];
  let failure: unknown;
  let wake = (): void => undefined;
  // Changed by callbacks.
  const state = { isOver: false, isPaused: false };
  let heard = performance.now();
  let place: LogPosition = from;
  let index = 0;

  const here = (): LogPosition => ({
    file: reader.options.filename ?? from.file,
    offset: reader.options.position ?? 0,
    gtid: "",
  });
  const fail = (error: unknown): void => {
    failure ??= error;
    wake();
  };
  const finish = (): void => {
    state.isOver = true;
    wake();
  };
  const add = (entry: Omit<LogEntry, "place" | "index">): void => {
    waiting.push({ ...entry, place, index });
    index += Math.max(1, entry.rows.length);
    if (waiting.length >= waitingEntries && !state.isPaused) {
      state.isPaused = true;
      reader.connection?.pause();
    }
    wake();
  };
  const onEvent = (event: BinlogEvent): void => {
    if (state.isOver || failure !== undefined) return;
    heard = performance.now();
    const time = Math.floor(Number(event.timestamp) / 1000);
    switch (event.getEventName()) {
      case "gtid":
      case "anonymousgtid":
      case "mariadbgtid": {
        const begins = here();
        // The transaction is not of this range; nothing behind it is.
        if (comparePlaces(begins, to) >= 0) return finish();
        place = { ...begins, gtid: gtidOf(event) };
        index = 0;
        return;
      }
      case "writerows":
        return add({ kind: "insert", time, rows: (event as RowsEvent).rows.map((after) => ({ after })) });
      case "deleterows":
        return add({ kind: "delete", time, rows: (event as RowsEvent).rows.map((before) => ({ before })) });
      case "updaterows":
        return add({
          kind: "update",
          time,
          rows: (event as RowsEvent).rows as { before: ChangedRow; after: ChangedRow }[],
        });
      case "query": {
        const { query, schema } = event as QueryEvent;
        const truncated = truncation.exec(query)?.[1];
        if (truncated !== undefined && isTable(truncated, schema, table))
          return add({ kind: "truncate", time, rows: [] });
        if (statements.test(query) && query.toLowerCase().includes(table.table.toLowerCase())) {
          fail(
            new MillraceError(
              "unsupported",
              `a session wrote a statement into the server's log in place of rows of \`${name}\``,
              {
                where: { stream: name },
                hint: "sessions must not set `binlog_format`; read the table again with `--full`",
              },
            ),
          );
        }
      }
    }
  };

  zongji.on("binlog", onEvent);
  zongji.on("error", (error: Error & { errno?: number }) => {
    if (state.isOver) return;
    if (error.errno === cannotReadLog) fail(cannotGoOn(name, `the server says: ${error.message}`));
    else fail(mysqlError(error, settings, { stream: name }));
  });
  const look = setInterval(() => {
    // Events that nobody wants move the place on as well.
    if (reader.options.filename !== undefined && comparePlaces(here(), to) >= 0) finish();
    else if (!state.isPaused && performance.now() - heard > settings.readTimeoutMs) {
      fail(new MillraceError("unreachable", "the server sends nothing of its log", { temporary: true }));
    }
  }, lookMs);
  const onAbort = (): void => fail(new MillraceError("aborted", "stopped by the caller", { cause: signal?.reason }));
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    zongji.start({
      serverId: range.serverId,
      ...(from.gtid === "" ? { filename: from.file, position: from.offset } : { gtidSet: from.gtid }),
      includeEvents: [
        "gtid",
        "anonymousgtid",
        "mariadbgtid",
        "tablemap",
        "writerows",
        "updaterows",
        "deleterows",
        "query",
        "xid",
        "rotate",
      ],
      includeSchema: { [table.database]: [table.table] },
    });
    for (;;) {
      const entry = waiting.shift();
      if (entry !== undefined) {
        yield entry;
        if (state.isPaused && waiting.length < waitingEntries / 2) {
          state.isPaused = false;
          heard = performance.now();
          reader.connection?.resume();
        }
        continue;
      }
      if (failure !== undefined) throw failure;
      if (state.isOver) return;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    state.isOver = true;
    clearInterval(look);
    signal?.removeEventListener("abort", onAbort);
    await new Promise<void>((resolve) => {
      zongji.once("stopped", resolve);
      zongji.stop();
    });
  }
}

function gtidOf(event: BinlogEvent): string {
  const { gtid } = event as BinlogEvent & { gtid?: unknown };
  return typeof gtid === "string" ? gtid : "";
}

/** Whether a name in a statement is that of the table. */
function isTable(text: string, schema: string, { database, table }: TableName): boolean {
  const [first, second] = [...text.matchAll(/`((?:[^`]|``)*)`|([^`.\s]+)/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll("``", "`") ?? plain!,
  );
  return second === undefined ? schema === database && first === table : first === database && second === table;
}

/** As the session itself connects, with values that nothing is lost of. */
async function loginOptions(settings: Settings, signal: AbortSignal | undefined): Promise<ConnectionOptions> {
  const exact = {
    supportBigNumbers: true,
    bigNumberStrings: true,
    dateStrings: true,
    timezone: "Z",
    jsonStrings: true,
  };
  const options = (tls: boolean): ConnectionOptions => ({ ...connectionOptions(settings, tls), ...exact });
  const tls = settings.ssl !== "disable" && !settings.host.startsWith("/");
  if (!tls || settings.ssl !== "prefer") return options(tls);
  const { createConnection } = (await import("mysql2")).default;
  const probe = createConnection(options(true));
  try {
    await new Promise<void>((resolve, reject) => {
      probe.once("connect", () => resolve());
      probe.once("error", reject);
    });
    throwIfAborted(signal);
    return options(true);
  } catch (error) {
    if (systemCode(error) !== "HANDSHAKE_NO_SSL_SUPPORT") throw mysqlError(error, settings);
    return options(false);
  } finally {
    probe.on("error", () => undefined);
    probe.destroy();
  }
}

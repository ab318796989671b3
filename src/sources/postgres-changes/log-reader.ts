import { MillraceError, throwIfAborted } from "../../core/index.ts";
import { ReplicationStream } from "../../protocols/postgres/replication.ts";
import type { Session } from "../../protocols/postgres/session.ts";
import type { CsvRows } from "./csv-rows.ts";
import { formatLsn, sortableLsn } from "./position.ts";
import { fitRelation, readRelation, unchangedValue, type LogRelation } from "./relation.ts";
import { metaColumns, type ChangeTable } from "./table.ts";
import { Tuple } from "./tuple.ts";
import { isOpen, treatmentOf, type Treatment } from "./values.ts";

const letter = (text: string): number => text.charCodeAt(0);
const [data, keepalive] = [letter("w"), letter("k")];
const [begin, commit, relation, truncate] = ["B", "C", "R", "T"].map(letter) as [number, number, number, number];
const [insertion, update, deletion] = ["I", "U", "D"].map(letter) as [number, number, number];
const [oldKey, oldRow] = [letter("K"), letter("O")];
/** Before the message: kind (1), where it begins (8), where the log ends (8), moment (8). */
const envelope = 25;
/** Moments of the server count from 2000-01-01, microseconds. */
const serverEpoch = 946_684_800_000_000n;

/**
 * The changes of one table, in the order of commits, off one replication connection that stays open as long as it is read on. It stands
 * at a place in the log: all transactions whose commit record begins before it have been taken.
 */
export class LogReader {
  readonly table: ChangeTable;
  /** All transactions whose commit record begins before it have been taken. */
  #at: bigint;
  /** Between it and `#at` there is no change of the table. */
  #idleFrom: bigint;
  readonly #stream: ReplicationStream;
  readonly #session: Session;
  readonly #silenceMs: number;
  readonly #treatments: Treatment[];
  #relation: LogRelation | undefined;
  /** The server has looked at its log up to here. */
  #seen = 0n;
  #inside = false;
  #lsn = "";
  #commit = 0n;
  #index = 0;
  /** What follows the columns of the table in every row of a transaction. */
  #tail = "";
  readonly #new = new Tuple();
  readonly #old = new Tuple();
  rows = 0;

  constructor(session: Session, table: ChangeTable, text: string, at: bigint, silenceMs: number) {
    this.table = table;
    this.#silenceMs = silenceMs;
    this.#at = at;
    this.#idleFrom = at;
    this.#session = session;
    this.#treatments = table.columns.map(treatmentOf);
    this.#stream = new ReplicationStream(session, text);
  }

  get alive(): boolean {
    return this.#session.alive;
  }

  /** Resolves once the server sends. */
  started(): Promise<void> {
    return this.#stream.started();
  }

  /** Whether the changes from a place on are the next ones. */
  standsAt(lsn: bigint): boolean {
    return this.#idleFrom <= lsn && lsn <= this.#at;
  }

  confirm(lsn: bigint): void {
    this.#stream.confirm(lsn);
  }

  /**
   * Where the transaction of the next change before `to` was committed; the change is left for `rowsTo`. Undefined when there is none: the
   * reader stands at `to`.
   */
  async look(to: bigint, signal?: AbortSignal): Promise<bigint | undefined> {
    return (await this.#advance(to, undefined, 0, signal)) === "change" ? this.#commit : undefined;
  }

  /** Writes rows until there are `bytes` of them, or none is left before `to`: then the reader stands at `to`. */
  async rowsTo(to: bigint, rows: CsvRows, bytes: number, signal?: AbortSignal): Promise<"more" | "end"> {
    if ((await this.#advance(to, rows, bytes, signal)) !== "end") return "more";
    this.#idleFrom = this.#at;
    return "end";
  }

  async close(): Promise<void> {
    this.#stream.close();
    await this.#session[Symbol.asyncDispose]();
  }

  async #advance(
    to: bigint,
    rows: CsvRows | undefined,
    bytes: number,
    signal: AbortSignal | undefined,
  ): Promise<"change" | "full" | "end"> {
    throwIfAborted(signal);
    const stop = (): void =>
      this.#stream.fail(new MillraceError("aborted", "stopped by the caller", { cause: signal?.reason }));
    signal?.addEventListener("abort", stop, { once: true });
    try {
      for (;;) {
        const message = this.#stream.head();
        if (message === undefined) {
          if (!this.#inside && this.#seen >= to) return this.#arrive(to);
          await this.#more();
          continue;
        }
        const { buffer, start, end } = message;
        if (buffer[start] === keepalive) {
          this.#see(buffer.readBigUInt64BE(start + 1));
          if (buffer[start + 17] === 1) this.#stream.answer();
        } else if (buffer[start] === data) {
          const kind = buffer[start + envelope]!;
          const at = start + envelope;
          if (kind === begin && buffer.readBigUInt64BE(at + 1) >= to) return this.#arrive(to);
          if (kind === insertion || kind === update || kind === deletion || kind === truncate) {
            if (this.#concerns(buffer, at, kind)) {
              // A look for a later end has begun a transaction that is beyond this one.
              if (this.#commit >= to) return this.#arrive(to);
              if (rows === undefined) return "change";
              this.#write(rows, buffer, at, kind, end);
              if (rows.length >= bytes || rows.open.length >= 10_000) {
                this.#stream.take();
                return "full";
              }
            }
          } else this.#note(kind, buffer, at);
        }
        this.#stream.take();
      }
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  async #more(): Promise<void> {
    const silence = setTimeout(() => this.#stream.fail(tooQuiet(this.#silenceMs)), this.#silenceMs);
    try {
      await this.#stream.more();
    } finally {
      clearTimeout(silence);
    }
  }

  #arrive(to: bigint): "end" {
    if (to > this.#at) this.#at = to;
    return "end";
  }

  #see(lsn: bigint): void {
    if (lsn > this.#seen) this.#seen = lsn;
  }

  /** Messages that are no rows. */
  #note(kind: number, buffer: Buffer, at: number): void {
    if (kind === begin) {
      // final position (8), moment (8), transaction (4)
      const lsn = buffer.readBigUInt64BE(at + 1);
      const moment = buffer.readBigInt64BE(at + 9) + serverEpoch;
      this.#inside = true;
      this.#index = 0;
      this.#commit = lsn;
      this.#lsn = sortableLsn(lsn);
      this.#tail = `${buffer.readUInt32BE(at + 17)},${momentText(moment)}`;
    } else if (kind === commit) {
      // flags (1), position (8), end of the transaction (8)
      this.#inside = false;
      this.#see(buffer.readBigUInt64BE(at + 10));
    } else if (kind === relation) {
      const found = readRelation(buffer, at);
      if (found.oid === this.table.oid) this.#relation = fitRelation(found, this.table);
    }
  }

  #concerns(buffer: Buffer, at: number, kind: number): boolean {
    if (kind !== truncate) return buffer.readUInt32BE(at + 1) === this.table.oid;
    // tables (4), options (1), their numbers (4 each)
    const tables = buffer.readInt32BE(at + 1);
    for (let index = 0; index < tables; index++) {
      if (buffer.readUInt32BE(at + 6 + 4 * index) === this.table.oid) return true;
    }
    return false;
  }

  #write(rows: CsvRows, buffer: Buffer, at: number, kind: number, end: number): void {
    if (kind === truncate) {
      for (let column = 1; column < this.table.columns.length; column++) rows.comma();
      this.#finish(rows, "truncate", true);
      return;
    }
    const relation = this.#relation;
    if (relation === undefined) {
      throw new MillraceError("internal", `a row of \`${this.table.stream}\` came before its columns`);
    }
    let next = at + 5;
    const mark = buffer[next]!;
    const hasOld = mark === oldKey || mark === oldRow;
    if (hasOld) next = this.#old.read(buffer, next + 1);
    if (kind === deletion) {
      this.#row(rows, relation, this.#old, undefined);
      this.#finish(rows, "delete", true);
    } else {
      next = this.#new.read(buffer, next + 1);
      const moved = hasOld && !relation.keyPlaces.every((place) => this.#new.same(place, this.#old));
      if (moved) {
        this.#row(rows, relation, this.#old, undefined);
        this.#finish(rows, "delete", true);
      }
      this.#row(rows, relation, this.#new, mark === oldRow ? this.#old : undefined);
      this.#finish(rows, kind === insertion || moved ? "insert" : "update", false);
    }
    if (next !== end) throw new MillraceError("internal", "a message of the server has another length than its row");
  }

  /** The columns of the table. A value that was not sent again is that of the row as it was, where the log has it. */
  #row(rows: CsvRows, relation: LogRelation, tuple: Tuple, before: Tuple | undefined): void {
    const { places } = relation;
    for (let column = 0; column < places.length; column++) {
      const place = places[column]!;
      if (column > 0) rows.comma();
      if (place >= 0 && !tuple.isNull(place)) {
        let from = tuple;
        if (tuple.isUnchanged(place)) {
          if (before === undefined || before.isUnchanged(place)) {
            throw unchangedValue(this.table, column, this.#lsn);
          }
          from = before;
        }
        if (!from.isNull(place)) this.#value(rows, column, from.buffer, from.starts[place]!, from.ends[place]!);
      }
    }
  }

  #value(rows: CsvRows, column: number, buffer: Buffer, start: number, end: number): void {
    if (isOpen(this.#treatments[column]!, buffer, start, end)) rows.later(column, buffer.toString("utf8", start, end));
    else rows.cell(buffer, start, end);
  }

  #finish(rows: CsvRows, operation: string, deleted: boolean): void {
    this.rows++;
    rows.plain(metaText(this.table, operation, this.#lsn, ++this.#index, this.#tail, deleted));
  }
}

/** What follows the columns of the table in a row. `transaction`: its number and its moment. */
export function metaText(
  { columns, meta }: ChangeTable,
  operation: string,
  lsn: string,
  index: number,
  transaction: string,
  deleted: boolean,
): string {
  const all = `${operation},${lsn},${index},${transaction},${deleted ? "t" : "f"}`;
  if (meta.length === metaColumns.length) return `${columns.length === 0 ? "" : ","}${all}\n`;
  const cells = all.split(",");
  const chosen = metaColumns.flatMap((column, place) => (meta.includes(column) ? [cells[place]!] : []));
  return `${[...(columns.length === 0 ? [] : [""]), ...chosen].join(",")}\n`;
}

/** `START_REPLICATION` of the changes after a position. */
export function startText(slot: string, publication: string, from: bigint): string {
  const name = `"${publication.replaceAll('"', '""')}"`.replaceAll("'", "''");
  return `START_REPLICATION SLOT "${slot}" LOGICAL ${formatLsn(from)} (proto_version '1', publication_names '${name}')`;
}

function tooQuiet(milliseconds: number): MillraceError {
  return new MillraceError("timeout", `the server has sent nothing for ${milliseconds / 1000} s`, {
    temporary: true,
    hint: "look into `pg_stat_replication` for what it waits for, or raise `readTimeoutMs`",
  });
}

/** Microseconds since 1970 as text that keeps them all. */
function momentText(moment: bigint): string {
  const text = new Date(Number(moment / 1000n)).toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, 23)}${String(moment % 1000n).padStart(3, "0")}+00`;
}

import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

export interface IdsOfRow {
  number: number;
  /** Microseconds since the epoch. */
  received: number;
  sender: string;
  ids: (string | undefined)[];
}

const rowsAtOnce = 5_000;

/**
 * Which records were there before, kept beside an inbox. A record is a duplicate when another one of its sender with its id stands at an earlier
 * place (row, index) of the inbox and is not older than the window: rows alone decide, so that the index can be built again, by any process, up to
 * any row, and gives the same answer. A row is taken in once, in order; which of its records are duplicates is kept as long as the row is.
 */
export interface IdIndex {
  /** The last row that was taken in. */
  upTo(): number;
  /** Takes in rows after `upTo`, in their order, some thousand in a transaction. `ids`: of the records of a row, undefined for one without. */
  take(rows: Iterable<IdsOfRow>, last: number): void;
  /** Places of duplicates among these rows, as `row:index`. */
  duplicates(from: number, to: number): Set<string>;
  /** Rows before `first` are gone, and so is what is known of them. */
  forget(first: number): void;
  close(): void;
}

export function openIds(folder: string, windowMs: number): IdIndex {
  mkdirSync(folder, { recursive: true });
  const database = new DatabaseSync(join(folder, "ids.db"), { timeout: 30_000 });
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS ids (id BLOB PRIMARY KEY, received INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS duplicates (number INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (number, place)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS position (only INTEGER PRIMARY KEY CHECK (only = 0), up_to INTEGER NOT NULL, received INTEGER NOT NULL) STRICT;
    INSERT OR IGNORE INTO position VALUES (0, 0, 0)`);
  const windowMicros = windowMs * 1000;
  const find = database.prepare("SELECT received FROM ids WHERE id = ?");
  const remember = database.prepare("INSERT OR REPLACE INTO ids VALUES (?, ?)");
  const mark = database.prepare("INSERT OR IGNORE INTO duplicates VALUES (?, ?)");
  const position = database.prepare("SELECT up_to, received FROM position");
  const move = database.prepare("UPDATE position SET up_to = ?, received = max(received, ?)");
  const upTo = (): number => Number(position.get()!["up_to"]);

  const takeRow = ({ number, received, sender, ids }: IdsOfRow): void => {
    for (const [index, id] of ids.entries()) {
      if (id === undefined) continue;
      const hash = createHash("sha256").update(`${sender}\0${id}`).digest();
      const before = find.get(hash)?.["received"];
      if (before !== undefined && received - Number(before) <= windowMicros) mark.run(number, index);
      else remember.run(hash, received);
    }
  };

  return {
    upTo,
    take(rows, last) {
      const iterator = rows[Symbol.iterator]();
      for (let isOver = false; !isOver;) {
        database.exec("BEGIN IMMEDIATE");
        try {
          // Another process may have been here since.
          const known = upTo();
          let [newest, reached] = [0, known];
          for (let count = 0; count < rowsAtOnce; count++) {
            const { value: row, done } = iterator.next();
            if (done === true) {
              isOver = true;
              break;
            }
            if (row.number <= known) continue;
            takeRow(row);
            newest = Math.max(newest, row.received);
            reached = row.number;
          }
          if (isOver) reached = Math.max(reached, last);
          if (reached > known) move.run(reached, newest);
          database.exec("COMMIT");
        } catch (error) {
          if (database.isTransaction) database.exec("ROLLBACK");
          throw error;
        }
      }
    },
    duplicates(from, to) {
      const found = database.prepare("SELECT number, place FROM duplicates WHERE number BETWEEN ? AND ?").all(from, to);
      return new Set(found.map((row) => `${String(row["number"])}:${String(row["place"])}`));
    },
    forget(first) {
      const horizon = Number(position.get()!["received"]) - windowMicros;
      database.exec("BEGIN IMMEDIATE");
      database.prepare("DELETE FROM duplicates WHERE number < ?").run(first);
      database.prepare("DELETE FROM ids WHERE received < ?").run(horizon);
      database.exec("COMMIT");
    },
    close: () => database.close(),
  };
}

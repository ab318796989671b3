import { closeSync, fsyncSync, globSync, openSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { crc32 } from "node:zlib";
import { MillraceError } from "../core/index.ts";
import type { InboxDamage, InboxEntry, InboxRow } from "./types.ts";

/**
 * One file of an inbox: a database of SQLite in WAL mode, named by the number of its first row. Rows have a checksum of their own, because
 * SQLite notices damage to its log, but not to its pages.
 */
export interface SegmentFile {
  path: string;
  first: number;
}

const format = "1";
const rowsAtOnce = 2_000;

export function segmentsIn(folder: string): SegmentFile[] {
  return globSync("*.sqlite", { cwd: folder })
    .filter((name) => /^\d{16}\.sqlite$/.test(name))
    .map((name) => ({ path: join(folder, name), first: Number(name.slice(0, 16)) }))
    .toSorted((left, right) => left.first - right.first);
}

/** With its log, bytes on the disk. */
export function sizeOfSegment(path: string): number {
  return [path, `${path}-wal`].reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);
}

export function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 10_000 });
  // FULL: the log is on the disk before a commit returns.
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  return database;
}

/** `before`: the last row of the file before it that was acknowledged. What that one has beyond it never was. */
export function createSegment(folder: string, first: number, before: number): string {
  const path = join(folder, `${String(first).padStart(16, "0")}.sqlite`);
  // It has its name once it is whole: a process may be killed at any moment.
  const unfinished = `${path}.new`;
  for (const tail of ["", "-wal", "-shm"]) rmSync(unfinished + tail, { force: true });
  const database = new DatabaseSync(unfinished, { timeout: 10_000 });
  try {
    // Larger pages hold more of a row, and smaller logs follow.
    database.exec("PRAGMA page_size = 8192");
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    database.exec(`
      BEGIN IMMEDIATE;
      CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
      CREATE TABLE rows (number INTEGER PRIMARY KEY, received INTEGER NOT NULL, topic TEXT NOT NULL, meta TEXT NOT NULL, body BLOB NOT NULL,
        checksum INTEGER NOT NULL) STRICT;
      INSERT INTO about VALUES ('format', '${format}'), ('before', '${before}');
      COMMIT;
      PRAGMA wal_checkpoint(TRUNCATE)`);
  } finally {
    database.close();
  }
  renameSync(unfinished, path);
  syncFolder(folder);
  return path;
}

export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

export function checksumOf({ topic, meta, body }: InboxEntry, number: number): number {
  return crc32(body, crc32(`${number} ${topic} ${meta}`));
}

/** Prepared statements of one open file. */
export class Segment {
  readonly path: string;
  readonly first: number;
  readonly #database: DatabaseSync;
  readonly #page: StatementSync;
  readonly #one: StatementSync;
  readonly #last: StatementSync;
  /** The last row of the file before this one that counts. */
  readonly before: number;

  constructor({ path, first }: SegmentFile) {
    this.path = path;
    this.first = first;
    this.#database = openDatabase(path);
    try {
      const about = (key: string): string =>
        String(this.#database.prepare("SELECT value FROM about WHERE key = ?").get(key)?.["value"]);
      if (about("format") !== format) {
        throw new MillraceError("unsupported", `the inbox file \`${path}\` has the format ${about("format")}`, {
          hint: "use the version of Millrace that wrote it, or a newer one",
        });
      }
      this.before = Number(about("before"));
      this.#page = this.#database.prepare(
        `SELECT number, received, topic, meta, body, checksum FROM rows WHERE number BETWEEN ? AND ? ORDER BY number LIMIT ${rowsAtOnce}`,
      );
      this.#one = this.#database.prepare(
        "SELECT number, received, topic, meta, body, checksum FROM rows WHERE number = ?",
      );
      this.#last = this.#database.prepare("SELECT max(number) AS last FROM rows");
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  /** Number of its newest row; `before` when it is empty. */
  last(): number {
    return Number(this.#last.get()?.["last"] ?? this.before);
  }

  /** Rows that are missing or damaged are told of in their place. */
  *rows(from: number, to: number): Generator<(InboxRow | InboxDamage)[]> {
    let next = Math.max(from, this.first);
    const end = Math.min(to, this.last());
    while (next <= end) {
      const found = this.#pageOf(next, end);
      const answer: (InboxRow | InboxDamage)[] = [];
      for (const row of found) {
        if (row.number > next) answer.push(this.#missing(next, row.number - 1));
        answer.push(row);
        next = ("problem" in row ? row.upTo : row.number) + 1;
      }
      if (found.length === 0) {
        answer.push(this.#missing(next, end));
        next = end + 1;
      }
      yield answer;
    }
  }

  #pageOf(from: number, to: number): (InboxRow | InboxDamage)[] {
    try {
      return this.#page.all(from, to).map((row) => this.#checked(row));
    } catch {
      // A page of the file is damaged: each row by itself, so that its neighbours are not lost with it.
      const upTo = Math.min(to, from + rowsAtOnce - 1);
      const rows: (InboxRow | InboxDamage)[] = [];
      for (let number = from; number <= upTo; number++) {
        try {
          const row = this.#one.get(number);
          if (row !== undefined) rows.push(this.#checked(row));
        } catch {
          rows.push(this.#missing(number, number));
        }
      }
      return rows;
    }
  }

  #missing(number: number, upTo: number): InboxDamage {
    return { number, upTo, problem: `the inbox file \`${this.path}\` is damaged there` };
  }

  #checked(row: Record<string, unknown>): InboxRow | InboxDamage {
    const number = Number(row["number"]);
    const entry = {
      number,
      received: Number(row["received"]),
      topic: String(row["topic"]),
      meta: String(row["meta"]),
      body: row["body"] as Uint8Array,
    };
    if (checksumOf(entry, number) === Number(row["checksum"])) return entry;
    return { number, upTo: number, problem: `the row does not have its checksum in \`${this.path}\`` };
  }

  close(): void {
    this.#database.close();
  }
}

import { existsSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { createSegment, Segment, segmentsIn } from "./segment.ts";

/**
 * Which rows may go. The truth of how far a flow has come is in its dataset; what stands here follows it, after each commit, and is only asked
 * when room is made.
 */
function positions(folder: string): DatabaseSync {
  const database = new DatabaseSync(join(folder, "readers.db"), { timeout: 10_000 });
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS positions (reader TEXT PRIMARY KEY, up_to INTEGER NOT NULL, is_required INTEGER NOT NULL) STRICT`);
  return database;
}

/** Rows up to the returned number are in a version of all `readers`. */
export function recordCommitted(folder: string, reader: string, upTo: number, readers: readonly string[]): number {
  const database = positions(folder);
  try {
    database.exec("BEGIN IMMEDIATE; UPDATE positions SET is_required = 0");
    const require = database.prepare(
      "INSERT INTO positions VALUES (?, 0, 1) ON CONFLICT (reader) DO UPDATE SET is_required = 1",
    );
    for (const name of new Set([...readers, reader])) require.run(name);
    database.prepare("UPDATE positions SET up_to = ? WHERE reader = ?").run(upTo, reader);
    database.exec("COMMIT");
    return leastOf(database);
  } finally {
    database.close();
  }
}

export function committedUpTo(folder: string): number {
  if (!existsSync(join(folder, "readers.db"))) return 0;
  const database = positions(folder);
  try {
    return leastOf(database);
  } finally {
    database.close();
  }
}

const leastOf = (database: DatabaseSync): number =>
  Number(database.prepare("SELECT min(up_to) AS least FROM positions WHERE is_required = 1").get()?.["least"] ?? 0);

/** Removes whole files, all rows of which are committed. The newest stays: somebody writes to it. */
export function removeCommitted(folder: string, upTo: number, keepMs: number): void {
  const files = segmentsIn(folder);
  for (const [index, { path }] of files.slice(0, -1).entries()) {
    if (lastOfClosed(files[index + 1]!) > upTo || isYoung(path, keepMs)) return;
    removeSegment(path);
  }
}

/** For the process that has the right to write: the newest file as well. */
export function retireNewest(folder: string, upTo: number, keepMs: number): void {
  const newest = segmentsIn(folder).at(-1);
  if (newest === undefined || isYoung(newest.path, keepMs)) return;
  const segment = new Segment(newest);
  const last = segment.last();
  segment.close();
  if (last < newest.first || last > upTo) return;
  createSegment(folder, last + 1, last);
  removeCommitted(folder, upTo, keepMs);
}

function lastOfClosed(next: { path: string; first: number }): number {
  const segment = new Segment(next);
  try {
    return segment.before;
  } finally {
    segment.close();
  }
}

function isYoung(path: string, keepMs: number): boolean {
  const changed = [path, `${path}-wal`].map((file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0);
  return Date.now() - Math.max(...changed) < keepMs;
}

export function removeSegment(path: string): void {
  for (const file of [path, `${path}-wal`, `${path}-shm`]) rmSync(file, { force: true });
}

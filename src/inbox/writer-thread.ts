import { mkdirSync, renameSync } from "node:fs";
import { basename, join } from "node:path";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";
import { isMillraceError, messageOf } from "../core/index.ts";
import { committedUpTo, removeCommitted } from "./committed.ts";
import { lockedByOther, takeLock } from "./lock.ts";
import { setTornAside } from "./log.ts";
import {
  checksumOf,
  createSegment,
  openDatabase,
  Segment,
  segmentsIn,
  sizeOfSegment,
  syncFolder,
  type SegmentFile,
} from "./segment.ts";
import type { FromThread, ToThread, WriterSettings } from "./writer.ts";

/**
 * The thread that writes an inbox: SQLite and `fsync` block, and receivers must go on meanwhile. One group of entries is one transaction; its rows
 * are acknowledged once the commit has returned.
 */
const { folder, maxBytes, segmentBytes, segmentMs } = workerData as WriterSettings;
const port = parentPort!;
const say = (message: FromThread): void => port.postMessage(message);

/** A file that could not be opened: what numbers it had is not known, so that later ones keep clear of them. */
const clearance = 2 ** 32;

/** What a row takes besides its body, and a small transaction at most: a few pages. */
const rowBytes = 256;
const pageBytes = 64 * 1024;

interface Current {
  database: DatabaseSync;
  insert: StatementSync;
  path: string;
  first: number;
  born: number;
}

/** Held for as long as the thread lives: what nobody refers to is collected, and the lock with it. */
let lock: ReturnType<typeof takeLock>;
let current: Current | undefined;
/** The newest row that was acknowledged. */
let acknowledged = 0;
/** The number of the row that comes next. */
let next = 1;
let closedBytes = 0;

function start(): void {
  mkdirSync(folder, { recursive: true });
  lock = takeLock(folder, 2_000);
  if (lock === undefined) throw lockedByOther(folder);
  const quarantine = join(folder, "quarantine");
  const findings: string[] = [];
  const files = segmentsIn(folder);
  for (const { path } of files) {
    const found = setTornAside(path, quarantine);
    if (found !== undefined) findings.push(found);
  }
  const newest = files.at(-1);
  if (newest === undefined) begin({ path: createSegment(folder, 1, 0), first: 1 });
  else {
    try {
      const segment = new Segment(newest);
      acknowledged = segment.last();
      segment.close();
      next = Math.max(newest.first, acknowledged + 1);
      begin(newest);
    } catch (error) {
      if (isMillraceError(error)) throw error;
      mkdirSync(quarantine, { recursive: true });
      const kept = join(quarantine, basename(newest.path));
      for (const tail of ["", "-wal"]) {
        try {
          renameSync(newest.path + tail, kept + tail);
        } catch {
          // There is no log.
        }
      }
      syncFolder(folder);
      findings.push(
        `the inbox file \`${basename(newest.path)}\` cannot be opened (${messageOf(error)}); it is kept as \`${kept}\``,
      );
      // Its first row, at least, was there: who reads is told that it is missing.
      acknowledged = newest.first;
      next = newest.first + clearance;
      begin({ path: createSegment(folder, next, acknowledged), first: next });
    }
  }
  say({ ready: true, findings });
}

function begin(file: SegmentFile): void {
  const database = openDatabase(file.path);
  // The log is folded back in large steps: what is written twice is written in order.
  database.exec("PRAGMA wal_autocheckpoint = 4000");
  current = {
    database,
    insert: database.prepare("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)"),
    path: file.path,
    first: file.first,
    born: Date.now(),
  };
  closedBytes = sizeOfOthers();
}

function sizeOfOthers(): number {
  return segmentsIn(folder).reduce((sum, { path }) => sum + (path === current!.path ? 0 : sizeOfSegment(path)), 0);
}

/** The next file. */
function roll(): void {
  const before = current;
  current = undefined;
  try {
    before?.database.close();
  } catch {
    // It failed before.
  }
  begin({ path: createSegment(folder, next, acknowledged), first: next });
}

function append({ id, received, topics, metas, lengths, bytes }: Extract<ToThread, { id: number }>): void {
  const count = topics.length;
  try {
    if (current === undefined) roll();
    const size = sizeOfSegment(current!.path);
    // The rows go into the log first, and from there into the file.
    const needed = 2 * (bytes.byteLength + count * rowBytes) + pageBytes;
    if (closedBytes + size + needed > maxBytes) {
      removeCommitted(folder, committedUpTo(folder), 0);
      if (acknowledged >= current!.first && size > segmentBytes / 16) {
        roll();
        removeCommitted(folder, committedUpTo(folder), 0);
      }
      closedBytes = sizeOfOthers();
      if (closedBytes + sizeOfSegment(current!.path) + needed > maxBytes) {
        say({ id, error: { code: "full", message: `the inbox \`${folder}\` holds the ${maxBytes} bytes it may` } });
        return;
      }
    } else if (size > segmentBytes || isOld()) roll();
  } catch (error) {
    say({ id, error: { code: "full", message: `the inbox \`${folder}\` cannot be written: ${messageOf(error)}` } });
    return;
  }
  const { database, insert } = current!;
  const first = next;
  let begun = false;
  try {
    database.exec("BEGIN IMMEDIATE");
    begun = true;
    let [number, at] = [first, 0];
    for (let index = 0; index < count; index++) {
      const body = new Uint8Array(bytes, at, lengths[index]!);
      const entry = { topic: topics[index]!, meta: metas[index]!, body };
      insert.run(number, received, entry.topic, entry.meta, body, checksumOf(entry, number));
      at += lengths[index]!;
      number++;
    }
    database.exec("COMMIT");
    next = number;
    acknowledged = number - 1;
    say({ id, first });
  } catch (error) {
    const isFull = (error as { errcode?: number }).errcode === 13;
    try {
      if (begun && database.isTransaction) database.exec("ROLLBACK");
    } catch {
      // The file is given up below.
    }
    const message = `the inbox \`${folder}\` cannot be written: ${messageOf(error)}`;
    say({ id, error: { code: isFull ? "full" : "unknown-outcome", message } });
    // After an `fsync` that failed nobody knows what is on the disk: nothing more is put behind it.
    if (!isFull) {
      try {
        database.close();
      } catch {
        // It is left alone.
      }
      current = undefined;
      // Nor which of these rows: their numbers are not given again.
      next += count;
    }
  }
}

const isOld = (): boolean => Date.now() - current!.born > segmentMs && acknowledged >= current!.first;

port.on("message", (message: ToThread) => {
  if (message === "close") {
    current?.database.close();
    lock?.release();
    port.close();
    process.exit(0);
  }
  append(message);
});

// Rows of a quiet inbox must come into a file that can be removed, too.
setInterval(
  () => {
    try {
      if (current !== undefined && isOld()) roll();
    } catch {
      // The next rows tell.
    }
  },
  Math.max(1_000, segmentMs / 10),
).unref();

try {
  start();
} catch (error) {
  const known = isMillraceError(error);
  say({
    error: {
      code: known ? error.code : "full",
      message: known ? error.message : `the inbox \`${folder}\` cannot be opened for writing: ${messageOf(error)}`,
      ...(known && error.hint !== undefined ? { hint: error.hint } : {}),
    },
  });
}

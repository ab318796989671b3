import { copyFileSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";

/**
 * What SQLite will take from a log and what it will pass over without a word.
 *
 * The file (https://www.sqlite.org/fileformat2.html#walformat): a header of 32 bytes (magic, version, page size, sequence, two salts, checksum),
 * then frames: 24 bytes (page number, pages of the database after a commit or 0, the two salts, checksum) and a page. Checksums go on from frame
 * to frame. Frames with other salts are left from before, and mean nothing.
 */
export interface LogFacts {
  /** Transactions that are whole. */
  commits: number;
  /** Bytes of this log after its last whole transaction. */
  torn: number;
  /** Transactions that are marked as complete after the first damage: SQLite passes them over, though they may have been acknowledged. */
  cutOff: number;
}

const headerBytes = 32;
const frameHeaderBytes = 24;

export function readLog(bytes: Buffer): LogFacts {
  const nothing = { commits: 0, torn: 0, cutOff: 0 };
  if (bytes.length < headerBytes) return { ...nothing, torn: bytes.length };
  const magic = bytes.readUInt32BE(0);
  if (magic !== 0x377f0682 && magic !== 0x377f0683) return { ...nothing, torn: bytes.length };
  const read = (magic & 1) === 1 ? readUInt32BE : readUInt32LE;
  const pageBytes = bytes.readUInt32BE(8);
  let sums = checksum(bytes, 0, 24, [0, 0], read);
  if (sums[0] !== bytes.readUInt32BE(24) || sums[1] !== bytes.readUInt32BE(28))
    return { ...nothing, torn: bytes.length };

  const frameBytes = frameHeaderBytes + pageBytes;
  let commits = 0;
  let cutOff = 0;
  let whole = headerBytes;
  let end = headerBytes;
  let isSound = true;
  for (let at = headerBytes; at + frameHeaderBytes <= bytes.length; at += frameBytes) {
    if (bytes.compare(bytes, 16, 24, at + 8, at + 16) !== 0) {
      // Left from before, or damaged: what follows tells, for nothing of this log comes behind what is left.
      isSound = false;
      continue;
    }
    end = Math.min(at + frameBytes, bytes.length);
    const isCommit = bytes.readUInt32BE(at + 4) !== 0;
    if (isSound && at + frameBytes <= bytes.length) {
      sums = checksum(bytes, at, 8, sums, read);
      sums = checksum(bytes, at + frameHeaderBytes, pageBytes, sums, read);
      isSound = sums[0] === bytes.readUInt32BE(at + 16) && sums[1] === bytes.readUInt32BE(at + 20);
      if (isSound && isCommit) {
        commits++;
        whole = at + frameBytes;
      }
    } else isSound = false;
    if (!isSound && isCommit) cutOff++;
  }
  return { commits, torn: end - whole, cutOff };
}

const readUInt32BE = (bytes: Buffer, at: number): number => bytes.readUInt32BE(at);
const readUInt32LE = (bytes: Buffer, at: number): number => bytes.readUInt32LE(at);

function checksum(
  bytes: Buffer,
  from: number,
  length: number,
  [first, second]: readonly [number, number],
  read: (bytes: Buffer, at: number) => number,
): readonly [number, number] {
  for (let at = from; at < from + length; at += 8) {
    first = (first + read(bytes, at) + second) >>> 0;
    second = (second + read(bytes, at + 4) + first) >>> 0;
  }
  return [first, second];
}

/** Before SQLite recovers a log: what it would pass over is copied to `quarantine`. Returns a sentence, when there is something to tell. */
export function setTornAside(segment: string, quarantine: string): string | undefined {
  const path = `${segment}-wal`;
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0) return undefined;
  const { torn, cutOff } = readLog(readFileSync(path));
  if (torn === 0) return undefined;
  mkdirSync(quarantine, { recursive: true });
  const copy = join(quarantine, `${basename(path)}-${Date.now()}`);
  copyFileSync(path, copy);
  return cutOff > 1
    ? `the log \`${basename(path)}\` is damaged, and ${cutOff} transactions after the damage cannot be read; it is kept as \`${copy}\``
    : `the log \`${basename(path)}\` ended in ${torn} bytes of a transaction that was not acknowledged; they are kept in \`${copy}\``;
}

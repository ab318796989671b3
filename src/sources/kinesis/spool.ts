import { createReadStream } from "node:fs";
import { mkdir, open, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { StreamRecord } from "./reader.ts";

/** Records of one shard that follow each other. */
export interface Range {
  shard: string;
  /** Sequence numbers of its first and last record. */
  first: string;
  last: string;
  /** Records of the stream; those that are packed into one are one. */
  records: number;
  bytes: number;
}

const headerBytes = 16;
const readBytes = 1024 * 1024;

/**
 * What a plan has read on its way to the end of a stream, on this machine, so that the same process need not ask for it again. A file
 * holds one range: of each record the lengths of sequence number, partition key and data, the time, and these.
 */
export class Spool {
  readonly #folder: string;
  readonly #files = new Map<string, string>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  async begin(): Promise<{ path: string; file: FileHandle }> {
    await mkdir(this.#folder, { recursive: true });
    const path = join(this.#folder, crypto.randomUUID());
    return { path, file: await open(path, "wx") };
  }

  keep(range: Range, path: string): void {
    this.#files.set(keyOf(range), path);
  }

  /** Records of a range, some at a time; undefined when another process read it. */
  records(range: Range): AsyncIterable<StreamRecord[]> | undefined {
    const path = this.#files.get(keyOf(range));
    return path === undefined ? undefined : framesIn(path);
  }

  /** Nothing of what was planned is read any more. */
  async clear(): Promise<void> {
    const paths = [...this.#files.values()];
    this.#files.clear();
    for (const path of paths) await rm(path, { force: true });
  }
}

const keyOf = ({ shard, first, last }: Range): string => `${shard} ${first} ${last}`;

function frameOf({ sequence, partitionKey, arrived, data }: StreamRecord): Uint8Array[] {
  const [number, key] = [Buffer.from(sequence), Buffer.from(partitionKey)];
  const header = Buffer.allocUnsafe(headerBytes);
  header.writeUInt16LE(number.length, 0);
  header.writeUInt16LE(key.length, 2);
  header.writeUInt32LE(data.length, 4);
  header.writeDoubleLE(arrived, 8);
  return [header, number, key, data];
}

/** Cuts what comes of a shard into ranges of about so many bytes, and keeps it. */
export class RangesOfShard {
  readonly #spool: Spool;
  readonly #shard: string;
  readonly #rangeBytes: number;
  readonly #ranges: Range[];
  #open: { range: Range; path: string; file: FileHandle } | undefined;

  /** Ranges are added to `ranges` as they are finished. */
  constructor(spool: Spool, shard: string, rangeBytes: number, ranges: Range[]) {
    this.#spool = spool;
    this.#shard = shard;
    this.#rangeBytes = rangeBytes;
    this.#ranges = ranges;
  }

  async write(records: readonly StreamRecord[]): Promise<void> {
    let frames: Uint8Array[] = [];
    for (const record of records) {
      this.#open ??= { range: rangeFrom(this.#shard, record), ...(await this.#spool.begin()) };
      const { range, file } = this.#open;
      range.last = record.sequence;
      range.records++;
      range.bytes += record.data.length;
      frames.push(...frameOf(record));
      if (range.bytes < this.#rangeBytes) continue;
      await file.writeFile(Buffer.concat(frames));
      frames = [];
      await this.end();
    }
    if (frames.length > 0) await this.#open!.file.writeFile(Buffer.concat(frames));
  }

  async end(): Promise<void> {
    if (this.#open === undefined) return;
    const { range, path, file } = this.#open;
    this.#open = undefined;
    await file.close();
    this.#spool.keep(range, path);
    this.#ranges.push(range);
  }
}

const rangeFrom = (shard: string, { sequence }: StreamRecord): Range => ({
  shard,
  first: sequence,
  last: sequence,
  records: 0,
  bytes: 0,
});

async function* framesIn(path: string): AsyncGenerator<StreamRecord[]> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(path, { highWaterMark: readBytes }) as AsyncIterable<Buffer>) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const records: StreamRecord[] = [];
    let at = 0;
    while (at + headerBytes <= bytes.length) {
      const number = at + headerBytes;
      const key = number + bytes.readUInt16LE(at);
      const data = key + bytes.readUInt16LE(at + 2);
      const end = data + bytes.readUInt32LE(at + 4);
      if (end > bytes.length) break;
      records.push({
        sequence: bytes.toString("latin1", number, key),
        partitionKey: bytes.toString("utf8", key, data),
        arrived: bytes.readDoubleLE(at + 8),
        data: bytes.subarray(data, end),
      });
      at = end;
    }
    rest = bytes.subarray(at);
    if (records.length > 0) yield records;
  }
  if (rest.length > 0) throw new Error(`the file ${path} of what was read ends in the middle of a record`);
}

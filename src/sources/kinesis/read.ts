import { MillraceError, throwIfAborted, type Column, type RejectedRecord } from "../../core/index.ts";
import type { MessageBatch } from "../messages/types.ts";
import { unpacked } from "./aggregate.ts";
import { compareSequences, type StreamName } from "./position.ts";
import { recordsOfAnswer, type ShardReader, type StreamRecord } from "./reader.ts";
import type { Gap } from "./shards.ts";
import type { Range, Spool } from "./spool.ts";

/** What a part of a run is. */
export interface PartSpec {
  stream: StreamName;
  ranges: Range[];
  /** What could not be read before them. */
  gaps: Gap[];
  columns: Column[];
  /** Names of those that are read. */
  wanted: string[];
}

/** Where a value comes from. The first two and the third together name it for ever. */
export const metaColumns: readonly Column[] = [
  { name: "_shard", type: "string", doc: "The shard that the record came by." },
  { name: "_sequence", type: "string", doc: "Its sequence number." },
  {
    name: "_subsequence",
    type: "int",
    doc: "Which of the records it is that the producer has packed into one, from 0.",
  },
  { name: "_partition_key", type: "string", doc: "Its partition key." },
  { name: "_timestamp", type: "timestamptz", doc: "When it arrived, about, by the clock of the service." },
];

/** Bytes of values that are passed on together. */
const batchBytes = 1024 * 1024;

/** Records of a range: as they lie here, or asked for again. Throws `conflict` when they are not all there any more. */
export async function* recordsOf(
  range: Range,
  spool: Spool,
  readerAt: (range: Range) => ShardReader,
  onMissing: (range: Range, missing: number) => void,
  signal: AbortSignal | undefined,
): AsyncGenerator<StreamRecord[]> {
  const here = spool.records(range);
  if (here !== undefined) {
    yield* here;
    return;
  }
  const reader = readerAt(range);
  let count = 0;
  try {
    for (let isOver = false; !isOver;) {
      const page = await reader.next(Math.min(recordsOfAnswer, Math.max(1, range.records - count)), signal);
      const records = page.records.filter(({ sequence }) => compareSequences(sequence, range.last) <= 0);
      count += records.length;
      isOver =
        records.length < page.records.length ||
        records.at(-1)?.sequence === range.last ||
        page.ended !== undefined ||
        (page.records.length === 0 && page.behindMs === 0);
      if (records.length > 0) yield records;
    }
  } finally {
    reader.close();
  }
  if (count > range.records) {
    throw new MillraceError(
      "corrupt",
      `the shard \`${range.shard}\` now has ${count} records where it had ${range.records}`,
    );
  }
  if (count < range.records) onMissing(range, range.records - count);
}

/** Messages in records, those that were packed together one by one; what cannot be unpacked is told of in `rejected`. */
export async function* messagesIn(
  stream: StreamName,
  shard: string,
  pages: AsyncIterable<StreamRecord[]>,
  rejected: RejectedRecord[],
  signal: AbortSignal | undefined,
): AsyncGenerator<MessageBatch> {
  let batch = emptyBatch(stream);
  let bytes = 0;
  for await (const records of pages) {
    throwIfAborted(signal);
    for (const record of records) {
      bytes += record.data.length;
      try {
        addTo(batch, shard, record);
      } catch (error) {
        rejected.push({
          reason: (error as Error).message,
          origin: originOf(stream, shard, record.sequence),
          record: Buffer.from(record.data).toString("base64"),
        });
      }
      if (bytes < batchBytes) continue;
      yield batch;
      [batch, bytes] = [emptyBatch(stream), 0];
    }
  }
  if (batch.values.length > 0) yield batch;
}

export const originOf = (stream: StreamName, shard: string, sequence: string): string =>
  `${stream}/${shard}/${sequence}`;

interface Batch extends MessageBatch {
  meta: string[];
  values: Uint8Array[];
}

/** Its origins are what its columns say. */
function emptyBatch(stream: StreamName): Batch {
  const meta: string[] = [];
  const origin = (index: number): string => {
    const { _shard, _sequence, _subsequence } = JSON.parse(`{${meta[index]!}}`) as Record<string, string>;
    return `${originOf(stream, _shard!, _sequence!)}/${_subsequence}`;
  };
  return { meta, values: [], origin };
}

function addTo({ meta, values }: Batch, shard: string, record: StreamRecord): void {
  const { sequence, arrived, data, partitionKey } = record;
  const time = new Date(arrived).toISOString();
  const packed = unpacked(data) ?? [{ partitionKey, data }];
  for (const [index, own] of packed.entries()) {
    meta.push(
      `"_shard":"${shard}","_sequence":"${sequence}","_subsequence":${index},"_partition_key":${JSON.stringify(own.partitionKey)},"_timestamp":"${time}"`,
    );
    values.push(own.data);
  }
}

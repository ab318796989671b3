import type { ChildShard, GetRecordsOutput, _Record } from "@aws-sdk/client-kinesis";
import { MillraceError } from "../../core/index.ts";
import type { Pace } from "../../protocols/aws/pace.ts";
import { calling, errorName } from "../../protocols/aws/problems.ts";
import type { Position, StreamName } from "./position.ts";
import type { Service, Shard } from "./service.ts";

/** A record of the stream, which may hold many of the producer's. */
export interface StreamRecord {
  sequence: string;
  partitionKey: string;
  /** Milliseconds since the epoch, by the clock of the service. */
  arrived: number;
  data: Uint8Array;
}

/** What one answer has of a shard, in its order. */
export interface Page {
  records: StreamRecord[];
  /** When it was asked for, by the clock of the service. */
  asked: number;
  /** How far the place after it is from the end of the shard, milliseconds. */
  behindMs: number;
  /** Shards that were made of this one: it has ended. */
  ended?: Shard[];
}

/** Goes through a shard from one place on. */
export interface ShardReader {
  /** At most about `limit` records, perhaps none. Waits as long as the limits of the shard ask for. */
  next(limit: number, signal?: AbortSignal): Promise<Page>;
  close(): void;
}

/** So many at most are in one answer. */
export const recordsOfAnswer = 10_000;

export const recordOf = ({
  SequenceNumber,
  PartitionKey,
  ApproximateArrivalTimestamp,
  Data,
}: _Record): StreamRecord => ({
  sequence: SequenceNumber!,
  partitionKey: PartitionKey!,
  arrived: ApproximateArrivalTimestamp?.getTime() ?? 0,
  data: Data!,
});

export const childOf = ({ ShardId, ParentShards }: ChildShard): Shard => ({
  id: ShardId!,
  parents: ParentShards ?? [],
  closed: false,
});

/** Asks a shard again and again. */
export function pollShard(
  service: Service,
  stream: StreamName,
  shard: string,
  from: Position,
  pace: Pace,
): ShardReader {
  let position = from;
  let iterator: string | undefined;

  /** An iterator is good for five minutes: one that has expired is made anew, at the same place. */
  const ask = async (limit: number, signal: AbortSignal | undefined): Promise<GetRecordsOutput> => {
    await pace.turn(signal);
    iterator ??= await service.iterator(stream, shard, position, signal);
    try {
      return await service.records(stream, iterator, limit, signal);
    } catch (error) {
      if (errorName(error) !== "ExpiredIteratorException") throw error;
      iterator = undefined;
      throw new MillraceError("timeout", `the iterator of the shard \`${shard}\` expired`, {
        cause: error,
        temporary: true,
        hint: "look for another process that keeps this one from its work",
      });
    }
  };

  return {
    async next(limit, signal) {
      const asked = service.now();
      const words = service.words(`the shard \`${shard}\` of the stream \`${stream}\``);
      const answer = await calling(words, signal, () => ask(Math.min(limit, recordsOfAnswer), signal));
      const records = (answer.Records ?? []).map(recordOf);
      pace.took(records.reduce((sum, { data }) => sum + data.length, 0));
      const last = records.at(-1);
      if (last !== undefined) position = { at: "after", sequence: last.sequence };
      iterator = answer.NextShardIterator ?? undefined;
      return {
        records,
        asked,
        behindMs: answer.MillisBehindLatest ?? 0,
        ...(iterator === undefined ? { ended: (answer.ChildShards ?? []).map(childOf) } : {}),
      };
    },
    close: () => undefined,
  };
}

import {
  GetRecordsCommand,
  GetShardIteratorCommand,
  KinesisClient,
  ListShardsCommand,
  ListStreamsCommand,
  DescribeStreamSummaryCommand,
  type GetRecordsOutput,
} from "@aws-sdk/client-kinesis";
import { NodeHttp2Handler } from "@smithy/node-http-handler";
import { isMillraceError, throwIfAborted } from "../../core/index.ts";
import { clientOptions, clockOf, sending } from "../../protocols/aws/client.ts";
import { calling, type ServiceWords } from "../../protocols/aws/problems.ts";
import type { KinesisOptions } from "./index.ts";
import { placeOf, type Position, type StreamName } from "./position.ts";

/** What is known of a stream. Times are milliseconds since the epoch, by the clock of the service. */
export interface StreamFacts {
  arn: string;
  created: number;
  retentionMs: number;
}

export interface Shard {
  id: string;
  /** Shards that this one was made of, and that are read before it. */
  parents: string[];
  /** True when nothing more is written to it. */
  closed: boolean;
}

/** What the calls of Kinesis are to this source: patient, and with errors that say what is wrong. */
export interface Service {
  describe(stream: StreamName, signal?: AbortSignal): Promise<StreamFacts>;
  /** Names of all streams of the account in the region. */
  streams(signal?: AbortSignal): AsyncIterable<string>;
  /** Reaches the service with credentials that it knows. */
  greet(signal?: AbortSignal): Promise<void>;
  shards(stream: StreamName, signal?: AbortSignal): Promise<Shard[]>;
  iterator(stream: StreamName, shard: string, position: Position, signal?: AbortSignal): Promise<string>;
  /** Errors are those of the SDK: who asks knows which of them can be mended. */
  records(stream: StreamName, iterator: string, limit: number, signal?: AbortSignal): Promise<GetRecordsOutput>;
  /** Now, by the clock of the service; milliseconds since the epoch. */
  now(): number;
  words(what: string): ServiceWords;
  /** For subscriptions, which AWS gives over HTTP/2 only. */
  pushing(): KinesisClient;
  close(): void;
}

const permissions =
  "kinesis:DescribeStreamSummary, kinesis:ListShards, kinesis:GetShardIterator and kinesis:GetRecords; with `consumer` also kinesis:DescribeStreamConsumer, kinesis:RegisterStreamConsumer and kinesis:SubscribeToShard";

/** The service is asked in these words: by name, or by ARN. */
export const named = (stream: StreamName): { StreamName?: string; StreamARN?: string } =>
  stream.startsWith("arn:") ? { StreamARN: stream } : { StreamName: stream };

export async function openService(options: KinesisOptions, folder: string, connection: string): Promise<Service> {
  const { common, requestHandler, ca } = await clientOptions(options, folder, connection);
  const client = new KinesisClient({ ...common, requestHandler });
  const now = clockOf(client);
  let pushing: KinesisClient | undefined;
  const words = (what: string): ServiceWords => ({
    service: "Kinesis",
    what,
    permissions,
    where: { connection },
    absent: "`aws kinesis list-streams` shows what there is; look at `region` too",
  });
  const ofStream = (stream: StreamName): ServiceWords => words(`the stream \`${stream}\``);

  return {
    words,
    now,
    async greet(signal) {
      await calling(words("the list of streams"), signal, async () =>
        client.send(new ListStreamsCommand({ Limit: 1 }), sending(signal)),
      ).catch((error: unknown) => {
        // Who may not list them is known all the same, and may read some.
        if (!isMillraceError(error) || error.code !== "permission") throw error;
      });
    },
    async *streams(signal) {
      let token: string | undefined;
      do {
        const page = await calling(words("the list of streams"), signal, async () =>
          client.send(new ListStreamsCommand(token === undefined ? {} : { NextToken: token }), sending(signal)),
        );
        yield* page.StreamNames ?? [];
        token = page.HasMoreStreams === true ? page.NextToken : undefined;
      } while (token !== undefined);
    },
    describe: (stream, signal) =>
      calling(ofStream(stream), signal, async () => {
        const answer = await client.send(new DescribeStreamSummaryCommand(named(stream)), sending(signal));
        const { StreamARN, StreamCreationTimestamp, RetentionPeriodHours } = answer.StreamDescriptionSummary!;
        return {
          arn: StreamARN!,
          created: StreamCreationTimestamp!.getTime(),
          retentionMs: RetentionPeriodHours! * 3_600_000,
        };
      }),
    async shards(stream, signal) {
      const shards: Shard[] = [];
      let token: string | undefined;
      do {
        // A token stands for the stream it came of.
        const input = token === undefined ? named(stream) : { NextToken: token };
        const page = await calling(ofStream(stream), signal, async () =>
          client.send(new ListShardsCommand(input), sending(signal)),
        );
        for (const { ShardId, ParentShardId, AdjacentParentShardId, SequenceNumberRange } of page.Shards ?? []) {
          shards.push({
            id: ShardId!,
            parents: [ParentShardId, AdjacentParentShardId].filter((id) => typeof id === "string"),
            closed: SequenceNumberRange?.EndingSequenceNumber !== undefined,
          });
        }
        token = page.NextToken;
      } while (token !== undefined);
      return shards;
    },
    iterator: (stream, shard, position, signal) =>
      calling(words(`the shard \`${shard}\` of the stream \`${stream}\``), signal, async () => {
        const answer = await client.send(
          new GetShardIteratorCommand({ ...named(stream), ShardId: shard, ...askedFor(position) }),
          sending(signal),
        );
        return answer.ShardIterator!;
      }),
    async records(stream, iterator, limit, signal) {
      throwIfAborted(signal);
      const arn = stream.startsWith("arn:") ? { StreamARN: stream } : {};
      return client.send(new GetRecordsCommand({ ...arn, ShardIterator: iterator, Limit: limit }), sending(signal));
    },
    pushing() {
      // Likenesses of AWS that speak without TLS know nothing of HTTP/2.
      pushing ??= new KinesisClient({
        ...common,
        requestHandler:
          options.endpoint?.startsWith("http:") === true
            ? requestHandler
            : new NodeHttp2Handler({ requestTimeout: 400_000, ...(ca && { nodeHttp2ConnectOptions: { ca } }) }),
      });
      return pushing;
    },
    close() {
      client.destroy();
      pushing?.destroy();
    },
  };
}

function askedFor(position: Position): {
  ShardIteratorType: ReturnType<typeof placeOf>["type"];
  Timestamp?: Date;
  StartingSequenceNumber?: string;
} {
  const { type, time, sequence } = placeOf(position);
  return {
    ShardIteratorType: type,
    ...(time && { Timestamp: time }),
    ...(sequence && { StartingSequenceNumber: sequence }),
  };
}

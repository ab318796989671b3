import { existsSync } from "node:fs";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  CreateStreamCommand,
  DescribeStreamSummaryCommand,
  KinesisClient,
  ListShardsCommand,
  MergeShardsCommand,
  PutRecordsCommand,
  SplitShardCommand,
  type PutRecordsRequestEntry,
  type Shard,
} from "@aws-sdk/client-kinesis";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { freePort } from "./install.ts";
import { startListening } from "./s3-server.ts";

/** A server of Kinesis Data Streams with resharding and enhanced fan-out, and what its tests do with it. */
export interface Kinesis extends AsyncDisposable {
  port: number;
  endpoint: string;
  client: KinesisClient;
  /** Options of the source that lead to it. */
  options: Record<string, unknown>;
  create(stream: string, shards?: number): Promise<void>;
  /** Puts records, all of them, in their order for one partition key. */
  put(stream: string, records: readonly PutRecordsRequestEntry[]): Promise<void>;
  shards(stream: string): Promise<Shard[]>;
  /** Splits a shard in the middle of its hash keys. */
  split(stream: string, shard: string): Promise<void>;
  merge(stream: string, shard: string, neighbour: string): Promise<void>;
  /** Resolves once what was put is on the disk. */
  kept(): Promise<void>;
  /** SIGKILL; `start` brings it back with what was kept. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

const quick = Object.fromEntries(
  ["CREATE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "REGISTER_STREAM_CONSUMER", "UPDATE_SHARD_COUNT"].map((what) => [
    `${what}_DURATION`,
    "5ms",
  ]),
);

const require = createRequire(import.meta.url);

/** `keep`: what it has survives a kill. */
export async function startKinesis({ keep = false }: { keep?: boolean } = {}): Promise<Kinesis> {
  const program = require.resolve("kinesis-local/main.js");
  const folder = await mkdtemp(join(tmpdir(), "millrace-kinesis-"));
  const [port, tlsPort] = [await freePort(), await freePort()];
  const file = join(folder, "data", "kinesis-data.json");
  const safe = join(folder, "kept.json");
  const endpoint = `http://127.0.0.1:${port}`;
  const client = new KinesisClient({
    endpoint,
    region: "us-east-1",
    credentials: { accessKeyId: "kinesis-owner", secretAccessKey: "kinesis-c4nary-secret" },
    // Over HTTP/1, which is all that it speaks without TLS.
    requestHandler: new NodeHttpHandler(),
  });
  let stop: () => Promise<void>;
  const start = async (): Promise<void> => {
    // A kill may have cut what it was writing.
    if (existsSync(safe)) await copyFile(safe, file);
    stop = await startListening("kinesis-local", port, process.execPath, [program], {
      ...process.env,
      ...quick,
      KINESIS_MOCK_CERT_PATH: join(dirname(program), "server.json"),
      KINESIS_MOCK_PLAIN_PORT: String(port),
      KINESIS_MOCK_TLS_PORT: String(tlsPort),
      LOG_LEVEL: "ERROR",
      SHOULD_PERSIST_DATA: String(keep),
      PERSIST_PATH: join(folder, "data"),
      PERSIST_INTERVAL: "100ms",
    });
  };
  await start();
  const active = async (stream: string): Promise<void> => {
    for (;;) {
      const { StreamDescriptionSummary } = await client.send(new DescribeStreamSummaryCommand({ StreamName: stream }));
      if (StreamDescriptionSummary?.StreamStatus === "ACTIVE") return;
      await sleep(5);
    }
  };
  let last: { stream: string; sequence: string } | undefined;
  const kinesis: Kinesis = {
    port,
    endpoint,
    client,
    options: {
      source: "kinesis",
      endpoint,
      credentials: { access_key_id: "kinesis-owner", secret_access_key: "kinesis-c4nary-secret" },
      calls_per_s: 200,
      bytes_per_s: 100_000_000,
    },
    async create(stream, shards = 1) {
      await client.send(new CreateStreamCommand({ StreamName: stream, ShardCount: shards }));
      await active(stream);
    },
    async put(stream, records) {
      for (let from = 0; from < records.length; from += 500) {
        const answer = await client.send(
          new PutRecordsCommand({ StreamName: stream, Records: records.slice(from, from + 500) }),
        );
        if (answer.FailedRecordCount !== 0) throw new Error("the server refused records");
        last = { stream, sequence: answer.Records!.at(-1)!.SequenceNumber! };
      }
    },
    async shards(stream) {
      return (await client.send(new ListShardsCommand({ StreamName: stream }))).Shards!;
    },
    async split(stream, shard) {
      const { HashKeyRange } = (await kinesis.shards(stream)).find(({ ShardId }) => ShardId === shard)!;
      const middle = (BigInt(HashKeyRange!.StartingHashKey!) + BigInt(HashKeyRange!.EndingHashKey!)) / 2n;
      await client.send(
        new SplitShardCommand({ StreamName: stream, ShardToSplit: shard, NewStartingHashKey: String(middle) }),
      );
      await active(stream);
    },
    async merge(stream, shard, neighbour) {
      await client.send(
        new MergeShardsCommand({ StreamName: stream, ShardToMerge: shard, AdjacentShardToMerge: neighbour }),
      );
      await active(stream);
    },
    async kept() {
      if (last === undefined) return;
      for (;;) {
        const text = await readFile(file, "utf8").catch(() => "");
        if (text.includes(last.sequence) && isWhole(text)) return writeFile(safe, text);
        await sleep(20);
      }
    },
    kill: () => stop(),
    start,
    async [Symbol.asyncDispose]() {
      client.destroy();
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return kinesis;
}

function isWhole(text: string): boolean {
  try {
    return JSON.parse(text) !== undefined;
  } catch {
    return false;
  }
}

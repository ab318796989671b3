import {
  CloudWatchLogsClient,
  CreateLogGroupCommand,
  CreateLogStreamCommand,
  PutLogEventsCommand,
} from "@aws-sdk/client-cloudwatch-logs";
import { startMoto } from "./moto.ts";
import type { S3Server } from "./s3-server.ts";

/** A server of CloudWatch Logs, and of the S3 that it exports to. */
export interface Logs extends AsyncDisposable {
  endpoint: string;
  s3: S3Server;
  client: CloudWatchLogsClient;
  /** Options of the source that lead to it. */
  options: Record<string, unknown>;
  create(group: string, ...streams: string[]): Promise<void>;
  /** Puts messages; `at` is when they happened, milliseconds since the epoch. */
  put(group: string, stream: string, messages: readonly string[], at?: number): Promise<void>;
}

export async function startLogs(): Promise<Logs> {
  const s3 = await startMoto();
  const { endpoint, accessKey, secretKey } = s3;
  const client = new CloudWatchLogsClient({
    endpoint,
    region: "us-east-1",
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
  });
  return {
    endpoint,
    s3,
    client,
    options: {
      source: "cloudwatch-logs",
      endpoint,
      credentials: { access_key_id: accessKey, secret_access_key: secretKey },
      calls_per_s: 1000,
    },
    async create(group, ...streams) {
      await client.send(new CreateLogGroupCommand({ logGroupName: group }));
      for (const stream of streams) {
        await client.send(new CreateLogStreamCommand({ logGroupName: group, logStreamName: stream }));
      }
    },
    async put(group, stream, messages, at = Date.now()) {
      for (let from = 0; from < messages.length; from += 1_000) {
        const logEvents = messages.slice(from, from + 1_000).map((message) => ({ timestamp: at, message }));
        await client.send(new PutLogEventsCommand({ logGroupName: group, logStreamName: stream, logEvents }));
      }
    },
    async [Symbol.asyncDispose]() {
      client.destroy();
      await s3[Symbol.asyncDispose]();
    },
  };
}

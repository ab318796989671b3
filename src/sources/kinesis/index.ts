import * as z from "zod";
import { defineSource } from "../../core/index.ts";
import { accountShape } from "../../protocols/aws/options.ts";
import { messageShape } from "../messages/index.ts";

export const kinesisOptions = z.strictObject({
  region: z
    .string()
    .min(1)
    .optional()
    .describe("Region of the streams. Default: AWS_REGION or the profile; us-east-1 with `endpoint`."),
  endpoint: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("Address of another server with the API of Kinesis Data Streams. Default: AWS."),
  ca: z
    .string()
    .min(1)
    .optional()
    .describe("File of certificates, PEM, of authorities that are trusted besides those that everybody knows."),
  ...accountShape,
  ...messageShape,
  start: z
    .union([z.enum(["earliest", "latest"]), z.iso.datetime({ offset: true })])
    .default("earliest")
    .describe(
      "Where the first run begins: with all that the stream keeps, with what comes from now on (`latest`), or at a time, `2026-11-24T00:00:00Z`. Default `earliest`.",
    ),
  consumer: z
    .string()
    .regex(/^([\w.-]{1,128}|arn:[\w-]+:kinesis:.+)$/)
    .optional()
    .describe(
      "Name or ARN of a consumer: records are pushed by enhanced fan-out, with a throughput of its own, which AWS charges for. One that is not there is registered. Default: records are asked for.",
    ),
  on_gap: z
    .enum(["fail", "continue"])
    .default("fail")
    .describe(
      "When the stream has forgotten records before they were read, which it does once its retention has passed: `fail`, or `continue` with what is there and leave a note among the rejected records. Default `fail`.",
    ),
  max_records: z
    .number()
    .int()
    .positive()
    .optional()
    .describe(
      "A run takes at most so many records of the stream; the next one goes on from there. Default: all there are.",
    ),
  max_bytes: z
    .number()
    .int()
    .positive()
    .default(4 * 1024 ** 3)
    .describe(
      "A run takes about so many bytes at most, which lie on the local disk while it goes on; the next one goes on from there. Default 4 GiB.",
    ),
  calls_per_s: z
    .number()
    .positive()
    .max(1000)
    .default(5)
    .describe("How often a second a shard is asked: AWS allows five, to all who read it together. Default 5."),
  bytes_per_s: z
    .number()
    .int()
    .positive()
    .default(2 * 1024 ** 2)
    .describe("How much a second is asked of a shard: AWS allows 2 MiB, to all who read it together. Default 2 MiB."),
});
export type KinesisOptions = z.output<typeof kinesisOptions>;

export default defineSource({
  name: "kinesis",
  title: "Amazon Kinesis Data Streams",
  summary:
    "The records of a stream, each once, also over resharding: those of a shard before those of the shards made of it. Packed records of the Kinesis Producer Library are unpacked.",
  options: kinesisOptions,
  needs: [
    "the permissions kinesis:DescribeStreamSummary, ListShards, GetShardIterator and GetRecords; for the list of streams ListStreams, and with `consumer` DescribeStreamConsumer, RegisterStreamConsumer and SubscribeToShard",
    "never run against the live service: tested with kinesis-local; `npm run smoke -- kinesis <stream>` tries it with your credentials",
  ],
  capabilities: {
    discover: true,
    incremental: true,
    query: false,
    replayable: true,
    snapshot: false,
    deletes: false,
    measure: false,
  },
  examples: [
    {
      title: "What came since the last run",
      yaml: "connections:\n  aws: { source: kinesis, region: eu-west-1 }\nflows:\n  clicks:\n    from: { connection: aws, stream: clicks }\n",
    },
  ],
  load: async () => import("./driver.ts"),
});

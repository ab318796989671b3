import * as z from "zod";
import { defineSource } from "../../core/index.ts";
import { accountShape } from "../../protocols/aws/options.ts";
import { messageShape } from "../messages/index.ts";

const backfill = z.strictObject({
  bucket: z.string().min(3).describe("Bucket that CloudWatch Logs may write to, in the region of the groups."),
  prefix: z
    .string()
    .regex(/^[\w.-]+(\/[\w.-]+)*$/)
    .default("millrace-logs")
    .describe("Folder of the exports in the bucket. Default `millrace-logs`."),
  endpoint: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("Address of the bucket, when it is not at AWS. Default: AWS, or `endpoint` of the connection."),
  settled_h: z
    .number()
    .min(0)
    .default(12)
    .describe(
      "What is older than so many hours is taken from the export: AWS says that it may take twelve until all is in it. Default 12.",
    ),
});

export const cloudwatchLogsOptions = z.strictObject({
  region: z
    .string()
    .min(1)
    .optional()
    .describe("Region of the log groups. Default: AWS_REGION or the profile; us-east-1 with `endpoint`."),
  endpoint: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("Address of another server with the API of CloudWatch Logs. Default: AWS."),
  ca: z
    .string()
    .min(1)
    .optional()
    .describe("File of certificates, PEM, of authorities that are trusted besides those that everybody knows."),
  ...accountShape,
  value: z
    .enum(["text", "json"])
    .default("text")
    .describe(
      "What a message is: `text` in the column `message`, or `json`, whose members become columns; one that is no JSON object is text all the same. Default `text`.",
    ),
  columns: messageShape.columns,
  filter: z
    .string()
    .min(1)
    .max(1024)
    .optional()
    .describe('Only events that fit this filter pattern of CloudWatch Logs: `?ERROR ?WARN`, `{ $.level = "error" }`.'),
  streams: z.string().min(1).optional().describe("Only log streams whose names begin in this way."),
  start: z
    .union([z.enum(["earliest", "latest"]), z.iso.datetime({ offset: true })])
    .default("earliest")
    .describe(
      "Where the first run begins: with all that a group keeps, with what happens from now on (`latest`), or at a time, `2026-11-24T00:00:00Z`. Default `earliest`.",
    ),
  late_s: z
    .number()
    .min(0)
    .max(86_400)
    .default(300)
    .describe(
      "Events may arrive so much later than they happened, seconds: that time is read again by each run, and what was read before is left out by its id. Default 300.",
    ),
  on_gap: z
    .enum(["fail", "continue"])
    .default("fail")
    .describe(
      "When a group has forgotten events before they were read, because its retention has passed: `fail`, or `continue` with what is there and leave a note among the rejected records. Default `fail`.",
    ),
  backfill: backfill
    .optional()
    .describe(
      "The first run takes what is old from an export to S3 rather than event by event: for many gigabytes. Exports have no ids and no times of arrival.",
    ),
  calls_per_s: z
    .number()
    .positive()
    .max(1000)
    .default(5)
    .describe("How often a second events are asked for: AWS allows five in most regions, to all who ask. Default 5."),
});
export type CloudwatchLogsOptions = z.output<typeof cloudwatchLogsOptions>;

export default defineSource({
  name: "cloudwatch-logs",
  title: "Amazon CloudWatch Logs",
  summary:
    "The events of log groups, each once, also those that come late: by name, prefix or pattern of the group and by filter pattern, with exports to S3 for what is old.",
  options: cloudwatchLogsOptions,
  needs: [
    "the permissions logs:DescribeLogGroups and logs:FilterLogEvents; with `--watch` logs:StartLiveTail, with `backfill` logs:CreateExportTask, logs:DescribeExportTasks and s3:GetObject and s3:ListBucket of the bucket",
    "never run against the live service: tested with moto; `npm run smoke -- cloudwatch-logs <group>` tries it with your credentials",
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
      title: "Structured logs of all functions of a service",
      yaml: 'connections:\n  logs: { source: cloudwatch-logs, region: eu-west-1, value: json }\nflows:\n  errors:\n    from: { connection: logs, stream: "/aws/lambda/shop-*" }\n',
    },
  ],
  load: async () => import("./driver.ts"),
});

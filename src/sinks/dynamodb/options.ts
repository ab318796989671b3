import * as z from "zod";
import { accountShape } from "../../protocols/aws/options.ts";

export const options = z.strictObject({
  table: z
    .string()
    .regex(/^[\w.-]{3,255}$/)
    .describe("Table with the partition key `pk` and the sort key `sk`, both text. It may hold many targets."),
  region: z
    .string()
    .min(1)
    .optional()
    .describe("Region of the table. Default: AWS_REGION or the profile; us-east-1 with `endpoint`."),
  endpoint: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("Address of another server with the API of DynamoDB. Default: AWS."),
  ...accountShape,
  connections: z.int().min(1).max(256).default(16).describe("Requests at the same time. Default 16."),
  keep_s: z
    .int()
    .min(1)
    .default(300)
    .describe(
      "How long the version before stays for readers that are in the middle of it, seconds; the next publish after that removes it. Default 300.",
    ),
});

export type Options = z.output<typeof options>;

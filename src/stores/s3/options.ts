import * as z from "zod";
import { accountShape } from "../../protocols/aws/options.ts";

const encryption = z.strictObject({
  type: z.enum(["AES256", "aws:kms"]).describe("Keys of S3 or of KMS."),
  key: z.string().min(1).optional().describe("KMS key: id, ARN or alias. Default: the key of the bucket or of S3."),
});

export const options = z
  .strictObject({
    bucket: z
      .string()
      .regex(/^(?:arn:[\w:/*-]+|[A-Za-z0-9][\w.-]{1,253})$/)
      .describe("Name of the bucket, or ARN of an access point."),
    prefix: z
      .string()
      .transform((prefix) => prefix.replaceAll(/^\/+|\/+$/g, ""))
      .refine((prefix) => prefix === "" || prefix.split("/").every((part) => !["", ".", ".."].includes(part)), {
        error: "must not have empty parts, `.` or `..`",
      })
      .default("")
      .describe("Folder inside of the bucket that holds the datasets. Default: the whole bucket."),
    region: z
      .string()
      .min(1)
      .optional()
      .describe("Region of the bucket. Default: AWS_REGION or the profile; us-east-1 with `endpoint`."),
    endpoint: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe("Address of an S3-compatible server. Default: AWS."),
    path_style: z
      .boolean()
      .optional()
      .describe("Bucket in the path instead of in the host name. Default: true with `endpoint`, else false."),
    ...accountShape,
    anonymous: z.boolean().default(false).describe("Signs nothing: for reading public buckets."),
    requester_pays: z.boolean().default(false).describe("The account of the credentials pays for requests."),
    encryption: encryption.optional().describe("Encryption of new objects. Default: what the bucket says."),
    checksums: z
      .enum(["crc32", "md5"])
      .default("crc32")
      .describe("What proves to the server that it got what was sent; md5 for servers that do not know CRC-32."),
    ca: z
      .string()
      .min(1)
      .optional()
      .describe("PEM file with the authority of the server's certificate. Relative to the configuration's folder."),
    connections: z.int().min(1).max(1024).default(32).describe("Connections at the same time."),
    timeout: z
      .number()
      .positive()
      .max(3600)
      .default(60)
      .describe("Seconds without a byte after which a request is given up and tried again."),
  })
  .superRefine((value, context) => {
    const problem = (path: string, message: string): void =>
      context.addIssue({ code: "custom", path: [path], message, input: value });
    if (value.anonymous && (value.credentials ?? value.role) !== undefined) {
      problem("anonymous", "goes with neither `credentials` nor `role`");
    }
    if (value.encryption?.type === "AES256" && value.encryption.key !== undefined) {
      problem("encryption", "`key` is for `aws:kms` only");
    }
  });

export type S3Options = z.output<typeof options>;

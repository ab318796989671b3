import * as z from "zod";
import { defineEnricher } from "../../core/index.ts";
import { awsShape } from "../shared/aws.ts";

const language = z.string().regex(/^[a-z]{2,3}-[A-Z]{2}$/, "is a language and a country: `en-US`");

export const transcribeOptions = z.strictObject({
  language: language.optional().describe("Language of all recordings: `en-US`. Default: the service finds it out."),
  languages: z
    .array(language)
    .min(2)
    .max(10)
    .optional()
    .describe("Where the service finds the language out: those that it may be."),
  speakers: z
    .number()
    .int()
    .min(2)
    .max(30)
    .optional()
    .describe("Tell apart so many speakers at most. Default: it does not."),
  channels: z.boolean().default(false).describe("Each channel is a speaker, as in recordings of calls. Default false."),
  redact: z
    .boolean()
    .default(false)
    .describe("Leave out what identifies people, as far as the service finds it. Default false."),
  vocabulary: z.string().min(1).optional().describe("Name of a vocabulary of words, which the service has."),
  calls: z
    .strictObject({
      role: z.string().min(1).describe("ARN of a role by which the service reads and writes the bucket."),
      agent_channel: z
        .union([z.literal(0), z.literal(1)])
        .default(0)
        .describe("Channel of the agent. Default 0."),
    })
    .optional()
    .describe("Call analytics: recordings of two channels, with the sentiment of each turn."),
  ...awsShape,
  bucket: awsShape.bucket.describe("Where recordings are put for the service, and where it puts its transcripts."),
  prefix: z.string().default("transcript_").describe("Before the names of the columns. Default `transcript_`."),
  price_minute: z
    .number()
    .min(0)
    .default(0.024)
    .describe("USD, charged by the second and for at least 15. Default 0.024, the list price in us-east-1 in 2026."),
  poll_s: z.number().positive().default(5).describe("Between two questions for a job, seconds. Default 5."),
  timeout_s: z
    .number()
    .positive()
    .default(4 * 3600)
    .describe("How long a job may take, seconds; the next run waits on. Default 14,400."),
  connections: z.int().min(1).max(100).default(16).describe("Recordings at the same time. Default 16."),
});
export type TranscribeOptions = z.output<typeof transcribeOptions>;

export default defineEnricher({
  name: "transcribe",
  title: "Amazon Transcribe",
  summary:
    "What is said in recordings: text, language, who speaks when, without what identifies people; call analytics.",
  options: transcribeOptions,
  needs: [
    "an account of AWS with transcribe:StartTranscriptionJob, GetTranscriptionJob and DeleteTranscriptionJob (for `calls` those of call analytics), and s3:PutObject and s3:GetObject on the bucket",
  ],
  capabilities: { input: "assets", deterministic: false, paid: true, maximumBatch: 64 },
  examples: [
    {
      title: "Who says what in meetings, for at most twenty dollars a run",
      yaml: "flows:\n  meetings:\n    from: { path: meetings/**/*.mp3, format: audio }\n    enrich:\n      - { enricher: transcribe, speakers: 6, region: eu-west-1, bucket: { name: my-bucket }, max_cost: 20 }",
    },
    {
      title: "Calls without names and numbers",
      yaml: "flows:\n  calls:\n    from: { path: calls/*.wav, format: audio }\n    enrich:\n      - { enricher: transcribe, language: en-US, channels: true, redact: true, bucket: { name: my-bucket } }",
    },
  ],
  load: () => import("./driver.ts"),
});

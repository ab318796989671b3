import * as z from "zod";
import { defineEnricher } from "../../core/index.ts";
import { awsShape } from "../shared/aws.ts";

export const features = ["labels", "text", "moderation", "faces"] as const;
export type Feature = (typeof features)[number];

export const rekognitionOptions = z.strictObject({
  features: z
    .array(z.enum(features))
    .min(1)
    .default(["labels"])
    .describe("What is looked for: `labels`, `text`, `moderation`, `faces`; each is paid for. Default `[labels]`."),
  min_confidence: z
    .number()
    .min(0)
    .max(100)
    .default(55)
    .describe("Labels and moderation labels that it is less sure of are left out, 0 to 100. Default 55."),
  max_labels: z.number().int().min(1).max(1000).default(100).describe("Labels of one picture. Default 100."),
  ...awsShape,
  bucket: awsShape.bucket
    .optional()
    .describe("Where videos, and images of more than 5 MB, are put for the service. Without it they are rejected."),
  prefix: z.string().default("rekognition_").describe("Before the names of the columns. Default `rekognition_`."),
  price_image: z
    .number()
    .min(0)
    .default(0.001)
    .describe(
      "Of one feature of one image, USD. Default 0.001, the list price of the first million in us-east-1 in 2026.",
    ),
  price_minute: z
    .number()
    .min(0)
    .default(0.1)
    .describe("Of one feature of one minute of video, USD. Default 0.10, the list price in us-east-1 in 2026."),
  poll_s: z
    .number()
    .positive()
    .default(10)
    .describe("Between two questions for a job of a video, seconds. Default 10."),
  timeout_s: z
    .number()
    .positive()
    .default(6 * 3600)
    .describe("How long a job of a video may take, seconds; the next run waits on. Default 21,600."),
  connections: z.int().min(1).max(50).default(8).describe("Assets at the same time. Default 8."),
});
export type RekognitionOptions = z.output<typeof rekognitionOptions>;

export default defineEnricher({
  name: "rekognition",
  title: "Amazon Rekognition",
  summary: "Labels, text, moderation labels and faces in images and videos.",
  options: rekognitionOptions,
  needs: [
    "an account of AWS with rekognition:DetectLabels and the like; for videos rekognition:StartLabelDetection, GetLabelDetection and the like, s3:PutObject and s3:GetObject on the bucket",
  ],
  capabilities: { input: "assets", deterministic: false, paid: true, maximumBatch: 32 },
  examples: [
    {
      title: "What is in photographs, for at most ten dollars a run",
      yaml: "flows:\n  photos:\n    from: { path: photos/**/*.jpg, format: images }\n    enrich:\n      - { enricher: rekognition, features: [labels, moderation], region: eu-west-1, max_cost: 10 }",
    },
    {
      title: "Labels of videos, with their times",
      yaml: "flows:\n  films:\n    from: { path: films/*.mp4, format: video, options: { rows: video } }\n    enrich:\n      - { enricher: rekognition, region: eu-west-1, bucket: { name: my-bucket } }",
    },
  ],
  load: () => import("./driver.ts"),
});

import * as z from "zod";
import { assetsOptions } from "../../core/asset-options.ts";
import { defineSource } from "../../core/index.ts";
import { accountShape } from "../../protocols/aws/options.ts";

export const kinesisVideoOptions = z.strictObject({
  stream: z
    .string()
    .regex(/^([\w.-]{1,256}|arn:[\w-]+:kinesisvideo:.+)$/)
    .describe("Name or ARN of the stream."),
  region: z
    .string()
    .min(1)
    .optional()
    .describe("Region of the stream. Default: AWS_REGION or the profile; us-east-1 with `endpoint`."),
  endpoint: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("Address of another server with the API of Kinesis Video Streams. Default: AWS."),
  ...accountShape,
  since: z.iso
    .datetime({ offset: true })
    .optional()
    .describe("The first run begins here: `2026-11-24T00:00:00Z`. Default: all that the stream retains."),
  segment_s: z
    .number()
    .min(1)
    .max(3600)
    .default(60)
    .describe(
      "Fragments that follow each other are put together to about so many seconds; each is one asset. Default 60.",
    ),
  parse_timeout_s: z
    .number()
    .positive()
    .default(60)
    .describe("How long the decoder may work on a recording without giving anything, seconds. Default 60."),
  parse_memory_mb: z.number().int().positive().default(1024).describe("Memory of the decoder. Default 1,024 MiB."),
  options: z
    .record(z.string(), z.unknown())
    .optional()
    .describe(
      "Options of the format `video`, such as `every_s: 1` or `rows: scene`: see `millrace describe format video`.",
    ),
  assets: assetsOptions.prefault({}).describe("What becomes of the recordings once they are read."),
});
export type KinesisVideoOptions = z.output<typeof kinesisVideoOptions>;

export default defineSource({
  name: "kinesis-video",
  title: "Amazon Kinesis Video Streams",
  summary: "The video that a stream retains, read once each by the numbers of its fragments, as frames.",
  options: kinesisVideoOptions,
  needs: [
    "ffmpeg 5.1 or newer (`apt-get install ffmpeg`)",
    "a stream with a retention of more than 0 hours, and the permissions kinesisvideo:GetDataEndpoint, ListFragments and GetMediaForFragmentList",
  ],
  capabilities: {
    discover: false,
    incremental: true,
    query: false,
    replayable: true,
    snapshot: false,
    deletes: false,
    measure: false,
  },
  examples: [
    {
      title: "A frame a second of what came since the last run",
      yaml: "connections:\n  dock:\n    source: kinesis-video\n    stream: loading-dock\n    region: eu-west-1\n    options: { every_s: 1 }\nflows:\n  cctv:\n    from: { connection: dock, stream: archive }\n",
    },
  ],
  load: async () => import("./driver.ts"),
});

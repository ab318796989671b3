import * as z from "zod";
import { defineFormat } from "../../core/index.ts";

export const audioOptions = z.strictObject({
  rows: z
    .enum(["file", "segment"])
    .default("file")
    .describe("One row a recording, or one for each `segment_s` of it. Default `file`."),
  segment_s: z.number().min(0.1).max(3600).default(30).describe("Length of a segment, seconds. Default 30."),
  measures: z
    .boolean()
    .default(true)
    .describe(
      "Listen to all of it, for loudness, silence and the like. Without, and without `samples`, only its headers are read. Default true.",
    ),
  samples: z
    .boolean()
    .default(false)
    .describe(
      "Put the sound into the column `samples`: WAV, one channel of 16 bits at `rate`; up to 7 MiB a row, so that long recordings need `rows: segment`. Default false.",
    ),
  rate: z
    .number()
    .int()
    .min(4_000)
    .max(192_000)
    .default(16_000)
    .describe("Samples a second of the column `samples`. Default 16,000, as models of speech take them."),
  silence_db: z
    .number()
    .min(-120)
    .max(0)
    .default(-50)
    .describe("What is quieter than this is silence, decibels below full scale. Default -50."),
});
export type AudioOptions = z.output<typeof audioOptions>;

export default defineFormat({
  name: "audio",
  title: "Audio",
  summary:
    "WAV, MP3, FLAC, OGG, M4A, AAC, AMR and the sound of videos: duration, loudness, silence, clipping, and the sound itself as a model takes it.",
  options: audioOptions,
  extensions: ["wav", "mp3", "flac", "ogg", "opus", "m4a", "aac", "amr", "aiff"],
  mediaTypes: [
    "audio/wav",
    "audio/mpeg",
    "audio/flac",
    "audio/ogg",
    "audio/mp4",
    "audio/aac",
    "audio/amr",
    "audio/aiff",
  ],
  needs: ["ffmpeg 5.1 or newer (`apt-get install ffmpeg`)"],
  capabilities: { read: true, write: false, rejects: true, assets: true },
  examples: [
    {
      title: "Calls, and what is wrong with them",
      yaml: "flows:\n  calls:\n    from: { path: calls/**/*, format: audio }\n    checks:\n      - { check: range, column: duration_s, min: 1, on_fail: reject }\n      - { check: range, column: silence, max: 0.9, on_fail: reject }\n      - { check: range, column: clipping, max: 0.001, on_fail: warn }",
    },
    {
      title: "Pieces of 30 seconds at 16 kHz, for a model of speech",
      yaml: "flows:\n  speech:\n    from: { path: s3://bucket/calls/**/*, format: audio, options: { rows: segment, samples: true } }",
    },
  ],
  load: () => import("./driver.ts"),
});

import * as z from "zod";
import { defineFormat } from "../../core/index.ts";

export const videoOptions = z.strictObject({
  rows: z
    .enum(["video", "frame", "key", "scene"])
    .default("frame")
    .describe(
      "One row a video with its first frame, one for a frame every `every_s`, one for each key frame, or one for the first frame of each scene. Default `frame`.",
    ),
  every_s: z
    .number()
    .min(0.001)
    .max(3600)
    .default(1)
    .describe("`rows: frame`: the first frame of every so many seconds. Default 1."),
  scene_change: z
    .number()
    .min(0.01)
    .max(1)
    .default(0.3)
    .describe("`rows: scene`: a frame that differs so much from the one before begins a scene, 0 to 1. Default 0.3."),
  size: z
    .number()
    .int()
    .min(0)
    .max(8192)
    .default(640)
    .describe("Longest side of the frames that are kept, pixels; 0 as they are. They are not enlarged. Default 640."),
  quality: z.number().int().min(2).max(31).default(3).describe("Of the JPEG of a frame, 2 (best) to 31. Default 3."),
  frames: z
    .boolean()
    .default(true)
    .describe("Decode frames. Without, a video is one row with what its headers say. Default true."),
  max_pixels: z
    .number()
    .int()
    .positive()
    .default(8192 * 4320)
    .describe("A video whose frames have more pixels is refused. Default 35,389,440."),
});
export type VideoOptions = z.output<typeof videoOptions>;

export default defineFormat({
  name: "video",
  title: "Video",
  summary:
    "MP4, MOV, MKV, WebM, MPEG-TS, AVI and FLV: streams, and frames at a rate, at key frames or at changes of scene, each as an image with its measures.",
  options: videoOptions,
  extensions: ["mp4", "mov", "m4v", "mkv", "webm", "ts", "avi", "flv", "3gp"],
  mediaTypes: [
    "video/mp4",
    "video/quicktime",
    "video/x-matroska",
    "video/webm",
    "video/mp2t",
    "video/x-msvideo",
    "video/x-flv",
    "video/3gpp",
  ],
  needs: ["ffmpeg 5.1 or newer (`apt-get install ffmpeg`)"],
  capabilities: { read: true, write: false, rejects: true, assets: true },
  examples: [
    {
      title: "A frame a second",
      yaml: "flows:\n  cctv:\n    from: { path: recordings/**/*, format: video, options: { every_s: 1, size: 640 } }\n    checks:\n      - { check: range, column: brightness, min: 0.05, on_fail: reject }",
    },
    {
      title: "Scenes of films, whose bytes stay where they are",
      yaml: "flows:\n  scenes:\n    from: { path: s3://bucket/films/*.mp4, format: video, options: { rows: scene }, assets: { keep: false } }",
    },
  ],
  load: () => import("./driver.ts"),
});

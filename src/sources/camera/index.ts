import * as z from "zod";
import { assetsOptions } from "../../core/asset-options.ts";
import { defineSource } from "../../core/index.ts";

export const cameraOptions = z.strictObject({
  url: z
    .string()
    .regex(/^(rtsps?|https?):\/\//, "is the address of a stream: `rtsp://…`, `rtsps://…`, or `https://…/live.m3u8`")
    .meta({ secret: true })
    .describe(
      "Of the stream: `rtsp://user:password@camera/stream`, or of a playlist of HLS: `https://example.com/live.m3u8`.",
    ),
  duration_s: z
    .number()
    .min(1)
    .max(86_400)
    .default(600)
    .describe("How long one run records, seconds. A playlist that has an end is read up to it. Default 600."),
  segment_s: z
    .number()
    .min(1)
    .max(3600)
    .default(60)
    .describe("Recordings are cut at the first key frame after so many seconds; each is one asset. Default 60."),
  spool: z
    .string()
    .min(1)
    .optional()
    .describe(
      "Folder on this machine in which recordings are kept until a version has them, relative to the configuration. Default `captures/<connection>`.",
    ),
  spool_max_bytes: z
    .number()
    .int()
    .positive()
    .default(20 * 1024 ** 3)
    .describe(
      "Recording stops when the folder holds so much, and the run goes on to read it; nothing is overwritten. Default 20 GiB.",
    ),
  stall_s: z
    .number()
    .min(1)
    .max(600)
    .default(15)
    .describe("A stream that gives nothing for so long is connected to again. Default 15."),
  sound: z.boolean().default(true).describe("Record sound as well. Default true."),
  transport: z
    .enum(["tcp", "udp"])
    .default("tcp")
    .describe("How RTSP brings its packets. UDP loses some. Default `tcp`."),
  allow_hosts: z
    .array(z.string().min(1))
    .default([])
    .describe("Hosts of playlists and their segments that may be called though they are not public: `10.0.0.5:8080`."),
  headers: z
    .record(z.string().regex(/^[\w-]+$/), z.string())
    .default({})
    .meta({ secret: true })
    .describe(
      "Headers for playlists, such as `authorization`. They are not sent to hosts that the server redirects to.",
    ),
  options: z
    .record(z.string(), z.unknown())
    .optional()
    .describe(
      "Options of the format `video`, such as `every_s: 1` or `rows: scene`: see `millrace describe format video`.",
    ),
  parse_timeout_s: z
    .number()
    .positive()
    .default(60)
    .describe("How long the decoder may work on a recording without giving anything, seconds. Default 60."),
  parse_memory_mb: z.number().int().positive().default(1024).describe("Memory of the decoder. Default 1,024 MiB."),
  assets: assetsOptions.prefault({}).describe("What becomes of the recordings once they are read."),
});
export type CameraOptions = z.output<typeof cameraOptions>;

export default defineSource({
  name: "camera",
  title: "Camera",
  summary:
    "Live video of RTSP cameras and HLS playlists, recorded in bounded segments that survive a crash, and read as frames.",
  options: cameraOptions,
  needs: ["ffmpeg 5.1 or newer (`apt-get install ffmpeg`)"],
  capabilities: {
    discover: false,
    incremental: true,
    query: false,
    replayable: false,
    snapshot: false,
    deletes: false,
    measure: false,
  },
  examples: [
    {
      title: "Ten minutes of a gate, a frame a second",
      yaml: 'connections:\n  gate:\n    source: camera\n    url: "${env:GATE_URL}"\n    duration_s: 600\n    options: { every_s: 1 }\nflows:\n  cctv:\n    from: { connection: gate, stream: live }\n',
    },
    {
      title: "Scenes of a playlist",
      yaml: "connections:\n  channel:\n    source: camera\n    url: https://example.com/live/master.m3u8\n    options: { rows: scene }\nflows:\n  scenes:\n    from: { connection: channel, stream: live }\n",
    },
  ],
  load: async () => import("./driver.ts"),
});

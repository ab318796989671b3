import { complaintOf, start, type Programs } from "../media.ts";

export interface Frame {
  /** When it is shown, seconds from the start; null when the file does not say. */
  time: number | null;
  /** JPEG. */
  image: Buffer;
}

export interface FrameRequest {
  /** Index of the stream in the file. */
  stream: number;
  kind: "video" | "frame" | "key" | "scene";
  every: number;
  change: number;
  size: number;
  quality: number;
}

export interface RunningFrames {
  /** Frames as they come, and `undefined` while none does. */
  frames: AsyncGenerator<Frame | undefined, void, undefined>;
  /** What the decoder has said so far. */
  problem(): string | null;
}

/** ffmpeg's expression of which frames are taken. `t` is when a frame is shown, seconds. */
function selection({ kind, every, change }: FrameRequest): string {
  switch (kind) {
    case "video":
      return "eq(n,0)";
    case "key":
      return "1";
    case "frame":
      // Times are fractions: without a little more, one that is exactly at a boundary may lie before it.
      return `isnan(prev_selected_t)+gt(floor((t-start_t)/${every}+1e-6),floor((prev_selected_t-start_t)/${every}+1e-6))`;
    case "scene":
      return `isnan(prev_selected_t)+gt(scene,${change})`;
  }
}

/** Decodes a video once. The times come on another way than the pictures, one for each. */
export function framesOf(programs: Programs, input: readonly string[], request: FrameRequest): RunningFrames {
  const { stream, kind, size, quality } = request;
  const scale = `scale=w='min(${size},iw)':h='min(${size},ih)':force_original_aspect_ratio=decrease:force_divisible_by=2`;
  const filters = [`select='${selection(request)}'`, "showinfo=checksum=0", ...(size > 0 ? [scale] : [])].join(",");
  const times: (number | null)[] = [];
  const running = start(
    programs.ffmpeg,
    [
      ..."-nostdin -hide_banner -nostats -loglevel level+info".split(" "),
      ...(kind === "key" ? ["-skip_frame", "nokey"] : []),
      ...input,
      ...`-map 0:${stream} -fps_mode passthrough -filter:v`.split(" "),
      filters,
      ...(kind === "video" ? ["-frames:v", "1"] : []),
      ...`-c:v mjpeg -q:v ${quality} -pix_fmt yuvj420p -f image2pipe pipe:1`.split(" "),
    ],
    1,
    (line) => {
      const [, time] = /\[Parsed_showinfo.* pts_time:(\S+)/.exec(line) ?? [];
      if (time !== undefined) times.push(Number.isFinite(Number(time)) ? Number(time) : null);
    },
  );
  return {
    problem: () => complaintOf(running.words()) ?? null,
    frames: (async function* () {
      let count = 0;
      let late: Buffer[] = [];
      for await (const image of images(running.outputs[0]! as AsyncIterable<Buffer>)) {
        if (image !== undefined) late.push(image);
        // The word of a frame may come after it.
        while (late.length > 0 && times.length > count) yield { time: times[count++]!, image: late.shift()! };
        yield undefined;
      }
      await running.ended;
      for (const image of late) yield { time: times[count++] ?? null, image };
      late = [];
    })(),
  };
}

const endMark = Buffer.from([0xff, 0xd9]);
/** A picture of the largest size that is decoded is smaller. */
const maximumImage = 64 * 1024 ** 2;

/** Pictures that follow each other. Within its data a JPEG has no end mark: 0xff is followed by 0 there (ITU-T T.81, B.1.1.5). */
async function* images(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer | undefined, void, undefined> {
  let rest: Buffer = Buffer.alloc(0);
  let seen = 0;
  for await (const chunk of chunks) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(endMark, seen); end >= 0; end = rest.indexOf(endMark, seen)) {
      yield rest.subarray(0, end + 2);
      rest = rest.subarray(end + 2);
      seen = 0;
    }
    seen = Math.max(0, rest.length - 1);
    if (rest.length > maximumImage) throw new Error("a picture has no end");
    yield undefined;
  }
}

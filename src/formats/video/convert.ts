import sharp from "sharp";
import { MillraceError, type Converted, type FileRef } from "../../core/index.ts";
import { AssetRows, type AssetConvertOptions } from "../asset-rows.ts";
import { measure, type Looks } from "../look.ts";
import {
  createPulse,
  inputOf,
  numberOf,
  probe,
  ratioOf,
  tagsOf,
  type MediaStream,
  type Probe,
  type Programs,
} from "../media.ts";
import { headerOf, timestampText } from "../values.ts";
import { columns, videoColumns } from "./columns.ts";
import { framesOf, type Frame } from "./frames.ts";
import type { VideoOptions } from "./index.ts";

sharp.cache(false);
// Files are read side by side in several processes.
sharp.concurrency(1);

/** Side of the square in which a frame is measured, pixels. */
const measuredSide = 256;

type Options = AssetConvertOptions & Partial<VideoOptions> & { programs: Programs };

/** The rows of one video, by one pass of the decoder. */
export default async function* convert(file: FileRef, options: Options): AsyncIterable<Converted> {
  yield headerOf([...(options.columns ?? columns)]);
  const { rows: kind = "frame", frames: decodes = true, max_pixels: maximum = 8192 * 4320 } = options;
  const wanted = new Set((options.columns ?? columns).map(({ name }) => name));
  const measures = ["phash", "brightness", "contrast", "sharpness", "entropy"].some((name) => wanted.has(name));
  const rows = new AssetRows(file, options, videoColumns);
  const input = inputOf(file.path, options.asset.mediaType);
  const found = await probe(options.programs, input);
  const stream = found.streams.find((each) => each.codec_type === "video" && each.disposition?.attached_pic !== 1);
  if (stream === undefined) throw new MillraceError("unsupported", "it has no picture");
  if ((stream.width ?? 0) * (stream.height ?? 0) > maximum) {
    throw new MillraceError("limit", `its frames have ${stream.width} × ${stream.height} pixels`, {
      hint: "raise `max_pixels` if they are meant to",
    });
  }
  const facts = factsOf(found, stream, options.asset.uri);
  const add = (problem: string | null, frame?: Frame, looks?: Looks): Uint8Array | undefined => {
    const { phash, brightness, contrast, sharpness, entropy } = looks ?? ({} as Partial<Looks>);
    const ofFrame = [frame === undefined ? null : rows.rows, frame?.time, frame?.image];
    rows.add([...facts, problem, ...ofFrame, phash, brightness, contrast, sharpness, entropy]);
    return rows.take();
  };
  const pulse = createPulse();
  const known = stream.codec_name !== undefined && (stream.width ?? 0) > 0;
  let problem: string | null = known ? null : "there is no decoder for it";
  if (decodes && known) {
    const { every_s: every = 1, scene_change: change = 0.3, size = 640, quality = 3 } = options;
    const running = framesOf(options.programs, input, { stream: stream.index, kind, every, change, size, quality });
    for await (const frame of running.frames) {
      if (frame !== undefined) {
        const text = add(running.problem(), frame, measures ? await look(frame.image) : undefined);
        if (text !== undefined) yield text;
      }
      if (pulse()) yield { alive: true };
    }
    problem = running.problem();
    if (rows.rows === 0 && problem !== null) throw new MillraceError("parse", problem);
  }
  // A video without frames is still a video.
  if (rows.rows === 0) add(problem);
  const rest = rows.take(true);
  if (rest !== undefined) yield rest;
  yield { rows: rows.rows };
}

function factsOf({ format, streams }: Probe, stream: MediaStream, uri: string): unknown[] {
  const sound = streams.find((each) => each.codec_type === "audio");
  const rotation = stream.side_data_list?.find((each) => each.rotation !== undefined)?.rotation ?? 0;
  const isTurned = Math.abs(rotation) % 180 === 90;
  const tags = tagsOf(format.tags, stream.tags);
  return [
    format.format_name ?? null,
    numberOf(format.duration),
    recordedAt(tags.get("creation_time"), uri),
    stream.codec_name ?? null,
    (isTurned ? stream.height : stream.width) ?? null,
    (isTurned ? stream.width : stream.height) ?? null,
    Math.round(rotation),
    ratioOf(stream.avg_frame_rate),
    numberOf(stream.nb_frames),
    stream.pix_fmt ?? null,
    numberOf(format.bit_rate) ?? numberOf(stream.bit_rate),
    sound?.codec_name ?? null,
    numberOf(sound?.sample_rate),
    sound?.channels ?? null,
    tags.get("title") ?? null,
    tags.size === 0 ? null : JSON.stringify(Object.fromEntries(tags)),
  ];
}

/** Cameras name files by the time; encoders without a clock say 1970 or 1904. */
function recordedAt(said: string | undefined, uri: string): string | null {
  const [, date, time, rest = ""] = /(?<!\d)(\d{8})T(\d{6})(\.\d{1,6})?Z/.exec(uri) ?? [];
  const named =
    date === undefined
      ? undefined
      : `${date.replace(/(\d{4})(\d\d)(\d\d)/, "$1-$2-$3")}T${time!.replace(/(\d\d)(\d\d)(\d\d)/, "$1:$2:$3")}${rest}Z`;
  for (const text of [said, named]) {
    const milliseconds = Date.parse(text ?? "");
    if (milliseconds > 0) return timestampText(BigInt(milliseconds) * 1000n, true);
  }
  return null;
}

async function look(image: Buffer): Promise<Looks> {
  const { data, info } = await sharp(image)
    .resize(measuredSide, measuredSide, { fit: "inside", withoutEnlargement: true })
    .raw()
    .toBuffer({ resolveWithObject: true });
  return measure(data, info);
}

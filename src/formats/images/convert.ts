import sharp, { type Sharp } from "sharp";
import { messageOf, MillraceError, type Converted, type FileRef } from "../../core/index.ts";
import { AssetRows, type AssetConvertOptions } from "../asset-rows.ts";
import { headerOf } from "../values.ts";
import { columns, imageColumns } from "./columns.ts";
import { readExif } from "./exif.ts";
import type { ImagesOptions } from "./index.ts";
import { measure } from "../look.ts";

sharp.cache(false);
// Files are read side by side in several processes.
sharp.concurrency(1);

/** Side of the square in which an image is measured, pixels. */
const measuredSide = 256;

type Options = AssetConvertOptions & Partial<ImagesOptions>;

/** One image as a row. Errors of the decoder say what is wrong with the file. */
export default async function* convert(file: FileRef, options: Options): AsyncIterable<Converted> {
  yield headerOf([...(options.columns ?? columns)]);
  const rows = new AssetRows(file, options, imageColumns);
  rows.add(await read(file.path, options));
  yield rows.take(true)!;
  yield { rows: rows.rows };
}

async function read(path: string, options: Options): Promise<unknown[]> {
  const { thumbnail = 256, max_pixels: limitInputPixels = 268_402_689, truncated = "reject", gps = "keep" } = options;
  const open = (): Sharp =>
    sharp(path, { limitInputPixels, failOn: truncated === "accept" ? "none" : "truncated", sequentialRead: true });
  const metadata = await open()
    .metadata()
    .catch((cause: unknown) => {
      throw new MillraceError("parse", reasonOf(cause), { cause });
    });
  const side = Math.max(measuredSide, thumbnail);
  const { data, info } = await open()
    .autoOrient()
    .resize(side, side, { fit: "inside", withoutEnlargement: true })
    .flatten({ background: "#ffffff" })
    .toColourspace("srgb")
    .removeAlpha()
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true })
    .catch((cause: unknown) => {
      throw new MillraceError("parse", reasonOf(cause), { cause });
    });
  const raw = { width: info.width, height: info.height, channels: info.channels as 1 | 3 };
  const looks = measure(data, raw);
  const small =
    thumbnail === 0
      ? null
      : await sharp(data, { raw })
          .resize(thumbnail, thumbnail, { fit: "inside", withoutEnlargement: true })
          .jpeg({ quality: 80 })
          .toBuffer();
  const exif = readExif(metadata.exif, gps === "strip");
  const { width, height } = metadata.autoOrient;
  return [
    width,
    height,
    metadata.pages ?? 1,
    metadata.channels,
    metadata.depth,
    metadata.space,
    metadata.icc === undefined ? null : profileName(metadata.icc),
    metadata.hasAlpha,
    metadata.orientation ?? null,
    metadata.density ?? null,
    exif.takenAt,
    exif.camera,
    exif.latitude,
    exif.longitude,
    exif.altitude,
    exif.rest,
    looks.phash,
    looks.brightness,
    looks.contrast,
    looks.sharpness,
    looks.entropy,
    small,
  ];
}

/** The decoder names its own temporary facts after the first line, and the path, which the caller says better. */
function reasonOf(cause: unknown): string {
  const [line] = messageOf(cause).split("\n");
  if (/unsupported image format|missing file|contains unsupported/i.test(line!))
    return "it is no image of a kind that can be read";
  if (/pixel limit/i.test(line!)) return "it has more pixels than `max_pixels` allows";
  return `its image data is damaged (${line})`;
}

/** The description in an ICC profile (`desc`, version 2 text or version 4 `mluc`), ICC.1:2022 §10.15. */
function profileName(icc: Buffer): string | null {
  const count = icc.length > 132 ? icc.readUInt32BE(128) : 0;
  for (let index = 0; index < Math.min(count, 100); index++) {
    const at = 132 + index * 12;
    if (at + 12 > icc.length || icc.toString("latin1", at, at + 4) !== "desc") continue;
    const offset = icc.readUInt32BE(at + 4);
    const tag = icc.subarray(offset, offset + icc.readUInt32BE(at + 8));
    if (tag.length < 28) return null;
    if (tag.toString("latin1", 0, 4) === "desc") {
      return tag.toString("latin1", 12, 12 + Math.max(0, tag.readUInt32BE(8) - 1));
    }
    if (tag.toString("latin1", 0, 4) !== "mluc") return null;
    const start = tag.readUInt32BE(24);
    const text = Buffer.from(tag.subarray(start, start + (tag.readUInt32BE(20) & ~1)));
    return text.swap16().toString("utf16le");
  }
  return null;
}

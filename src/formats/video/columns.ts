import { assetColumns, type Column } from "../../core/index.ts";

/** What is read of a video, besides what every asset has; from `time_s` on of one frame. */
export const videoColumns: readonly Column[] = [
  { name: "container", type: "string", doc: "As ffmpeg calls it: `matroska,webm`, `mov,mp4,…`." },
  { name: "duration_s", type: "double", doc: "As the container says, seconds." },
  {
    name: "recorded_at",
    type: "timestamptz",
    doc: "When it began: as the container says, else a time such as `20261124T120000.000Z` in the file's name; a frame was seen `time_s` later.",
  },
  { name: "codec", type: "string", doc: "`h264`, `hevc`, `vp9`, …; null when ffmpeg does not know it." },
  { name: "width", type: "int", doc: "Pixels, once the picture is turned as the file says." },
  { name: "height", type: "int", doc: "Pixels, once the picture is turned as the file says." },
  { name: "rotation", type: "int", doc: "Degrees that the stored picture is turned by." },
  { name: "frame_rate", type: "double", doc: "Frames a second, on average." },
  { name: "frame_count", type: "long", doc: "As the container says; null where it does not." },
  { name: "pixel_format", type: "string" },
  { name: "bit_rate", type: "long", doc: "Bits a second, sound included." },
  { name: "audio_codec", type: "string", doc: "Of the first sound track; null without one." },
  { name: "audio_rate", type: "int", doc: "Samples a second." },
  { name: "audio_channels", type: "int" },
  { name: "title", type: "string" },
  { name: "tags", type: "string", doc: "All tags as JSON." },
  {
    name: "problem",
    type: "string",
    doc: "What the decoder had to say against the file, up to this row; null for a sound one.",
  },
  { name: "frame", type: "long", doc: "Number of the row within the video, from 0; null when no frame was decoded." },
  { name: "time_s", type: "double", doc: "When the frame is shown, seconds from the start." },
  { name: "image", type: "binary", doc: "The frame as JPEG." },
  { name: "phash", type: "long", doc: "Perceptual hash, 64 bits: frames that look alike differ in few of them." },
  { name: "brightness", type: "double", doc: "Mean luminance, 0 (black) to 1 (white)." },
  { name: "contrast", type: "double", doc: "Standard deviation of the luminance, 0 (one colour) to 0.5." },
  {
    name: "sharpness",
    type: "double",
    doc: "Variance of the Laplacian of the luminance at 256 pixels, 0 to 255 a sample; below about 50 it is blurred.",
  },
  { name: "entropy", type: "double", doc: "Bits per pixel of the luminance, 0 (blank) to 8." },
];

export const columns: readonly Column[] = [...assetColumns, ...videoColumns];

import { assetColumns, type Column } from "../../core/index.ts";

/** What is read of a recording, besides what every asset has. Measures are of the row: the recording or the segment. */
export const audioColumns: readonly Column[] = [
  { name: "start_s", type: "double", doc: "Where the row begins, seconds from the start of the recording." },
  { name: "end_s", type: "double", doc: "Where the row ends, seconds." },
  { name: "container", type: "string", doc: "As ffmpeg calls it: `wav`, `mp3`, `mov,mp4,…`." },
  { name: "codec", type: "string", doc: "`pcm_s16le`, `mp3`, `aac`, …; null when ffmpeg does not know it." },
  { name: "duration_s", type: "double", doc: "Of the recording, as its container says, seconds." },
  {
    name: "decoded_s",
    type: "double",
    doc: "Of the recording, as far as it could be decoded, seconds; of segments the last one has it.",
  },
  { name: "sample_rate", type: "int", doc: "Samples a second, as stored." },
  { name: "channels", type: "int" },
  { name: "channel_layout", type: "string", doc: "`mono`, `stereo`, `5.1`, …" },
  { name: "bit_rate", type: "long", doc: "Bits a second." },
  {
    name: "loudness",
    type: "double",
    doc: "Integrated loudness, LUFS (ITU-R BS.1770-4); null for less than 0.4 s and for silence.",
  },
  { name: "peak", type: "double", doc: "Largest sample, decibels of full scale; null when all are zero." },
  {
    name: "rms",
    type: "double",
    doc: "Root mean square of all channels, decibels of full scale; null when all are zero.",
  },
  { name: "silence", type: "double", doc: "Share of the time that is quieter than `silence_db`, 0 to 1." },
  { name: "clipping", type: "double", doc: "Share of the samples at full scale, 0 to 1." },
  { name: "title", type: "string" },
  { name: "artist", type: "string" },
  { name: "language", type: "string", doc: "As the file says." },
  { name: "tags", type: "string", doc: "All tags as JSON." },
  {
    name: "problem",
    type: "string",
    doc: "What the decoder had to say against the file, up to this row; null for a sound one.",
  },
  { name: "samples", type: "binary", doc: "WAV, one channel of 16 bits at `rate`; null unless `samples: true`." },
];

export const columns: readonly Column[] = [...assetColumns, ...audioColumns];

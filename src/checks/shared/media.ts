import { sqlName, sqlString, type Sql } from "../../core/index.ts";

export const presetNames = ["video", "images", "audio", "text"] as const;
export type Preset = (typeof presetNames)[number];

/**
 * The limits and their defaults, measured on photographs, recordings and films of public test suites: each keeps all that a person would call
 * sound, and finds what was blurred, darkened, brightened, silenced or clipped on purpose.
 */
export const limits = {
  min_contrast: {
    default: 0.01,
    says: "Images: less is blank. Standard deviation of the luminance, 0 to 0.5; after JPEG, photographs have 0.03 and more.",
  },
  min_sharpness: {
    default: 50,
    says: "Images: less is blurred. Variance of the Laplacian of the thumbnail; sharp photographs have 200 and more, out of focus 5 to 50.",
  },
  min_brightness: { default: 0.1, says: "Images: less is too dark. Mean luminance, 0 to 1." },
  max_brightness: {
    default: 0.95,
    says: "Images: more is too bright. Mean luminance, 0 to 1; photographs have at most 0.85, drawings on white more: give 1 for them.",
  },
  min_width: { default: 64, says: "Images and video: fewest pixels across." },
  min_height: { default: 64, says: "Images and video: fewest pixels from top to bottom." },
  min_pixels: { default: 0, says: "Images and video: fewest pixels, width times height." },
  max_silence: { default: 0.95, says: "Audio: a larger share of silence, 0 to 1, is silent." },
  max_clipping: {
    default: 0.001,
    says: "Audio: a larger share of samples at full scale, 0 to 1, is clipped; loud music has up to 0.0001.",
  },
  min_rate: { default: 8000, says: "Audio: fewest samples a second." },
  min_seconds: { default: 0.3, says: "Audio and video: shortest recording, or segment of one, in seconds." },
  min_characters: { default: 20, says: "Text: fewer characters, spaces around it aside, are too short." },
} as const;
export type LimitName = keyof typeof limits;

export interface MediaOptions extends Partial<Record<LimitName, number | undefined>> {
  languages?: readonly string[] | undefined;
  /** The column of text. */
  text: string;
}

/** One way in which an asset can be unfit for training. */
export interface Fault {
  /** Columns that it is measured by; `text` stands for the column of text. */
  columns: readonly string[];
  limits: readonly (LimitName | "languages")[];
  /** A predicate over the row; null counts as sound. */
  wrong(options: MediaOptions): Sql;
  /** What is wrong, with the measured value: a text expression over the row. */
  says(options: MediaOptions): Sql;
}

export const limitOf = (options: MediaOptions, name: LimitName): number => options[name] ?? limits[name].default;

/** `sharpness 12.3, less than 50` */
const beyond = (noun: string, value: Sql, limit: number, more: boolean): Sql =>
  `'${noun} ' || format('{:.4g}', CAST(${value} AS DOUBLE)) || ', ${more ? "more" : "less"} than ${limit}'`;

/** A fault of one measure and one limit: less than a `min_`, more than a `max_`. */
function measured(
  limit: LimitName,
  noun: string,
  columns: readonly string[],
  value: (options: MediaOptions) => Sql = () => sqlName(columns[0]!),
): Fault {
  const more = limit.startsWith("max_");
  return {
    columns,
    limits: [limit],
    wrong: (options) => `${value(options)} ${more ? ">" : "<"} ${limitOf(options, limit)}`,
    says: (options) => beyond(noun, value(options), limitOf(options, limit), more),
  };
}

/** A fault that a column states by itself. */
const stated = (column: string, wrong: Sql, says: Sql): Fault => ({
  columns: [column],
  limits: [],
  wrong: () => wrong,
  says: () => says,
});

const sizes: readonly (readonly [LimitName, string, Sql])[] = [
  ["min_width", "width", '"width"'],
  ["min_height", "height", '"height"'],
  ["min_pixels", "pixels", 'CAST("width" AS BIGINT) * "height"'],
];
const lowResolution: Fault = {
  columns: ["width", "height"],
  limits: sizes.map(([limit]) => limit),
  wrong: (options) => sizes.map(([limit, , value]) => `${value} < ${limitOf(options, limit)}`).join(" OR "),
  says: (options) => {
    const each = sizes.map(([limit, noun, value]) => {
      const least = limitOf(options, limit);
      return `CASE WHEN ${value} < ${least} THEN ${beyond(noun, value, least, false)} END`;
    });
    return `concat_ws(', ', ${each.join(", ")})`;
  },
};
const damaged = stated("problem", '"problem" IS NOT NULL', `'the decoder says: ' || left("problem", 100)`);

/** What can be wrong, by the name that the option `faults` calls it. */
export const faults: Readonly<Record<Preset, Readonly<Partial<Record<FaultName, Fault>>>>> = {
  images: {
    blank: measured("min_contrast", "contrast", ["contrast"]),
    blurred: measured("min_sharpness", "sharpness", ["sharpness"]),
    dark: measured("min_brightness", "brightness", ["brightness"]),
    bright: measured("max_brightness", "brightness", ["brightness"]),
    "low-resolution": lowResolution,
  },
  audio: {
    damaged,
    undecoded: stated("silence", '"silence" IS NULL', "'no sound could be decoded'"),
    silent: measured("max_silence", "share of silence", ["silence"]),
    clipped: measured("max_clipping", "share of clipped samples", ["clipping"]),
    "low-rate": measured("min_rate", "sample rate", ["sample_rate"]),
    short: measured("min_seconds", "seconds", ["start_s", "end_s"], () => '("end_s" - "start_s")'),
  },
  video: {
    damaged,
    undecoded: stated("frame", '"frame" IS NULL', "'no picture could be decoded'"),
    "low-resolution": lowResolution,
    short: measured("min_seconds", "seconds", ["duration_s"]),
  },
  text: {
    short: measured("min_characters", "characters", ["text"], ({ text }) => `length(trim(${sqlName(text)}))`),
    "other-language": {
      columns: ["language"],
      limits: ["languages"],
      wrong: ({ languages = [] }) => `"language" NOT IN (${languages.map(sqlString).join(", ")})`,
      says: ({ languages = [] }) => `'language ' || "language" || ${sqlString(`, not ${languages.join(" or ")}`)}`,
    },
    "needs-ocr": stated("needs_ocr", '"needs_ocr"', "'it is a picture of text'"),
  },
};

export const faultNames = [
  "damaged",
  "undecoded",
  "blank",
  "blurred",
  "dark",
  "bright",
  "low-resolution",
  "silent",
  "clipped",
  "low-rate",
  "short",
  "other-language",
  "needs-ocr",
] as const;
export type FaultName = (typeof faultNames)[number];

/** A column that only this format gives. */
const telling: Record<Preset, string> = { video: "frame_rate", images: "sharpness", audio: "clipping", text: "text" };

/** What the columns are of, when it is not said. */
export function presetOf(columns: ReadonlySet<string>, text: string): Preset | undefined {
  return presetNames.find((preset) => columns.has(preset === "text" ? text : telling[preset]));
}

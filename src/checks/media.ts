import * as z from "zod";
import {
  defineCheck,
  MillraceError,
  sqlString,
  suggestion,
  type Check,
  type CheckContext,
  type Sql,
} from "../core/index.ts";
import { columnNamed, requireKind } from "./shared/columns.ts";
import {
  faultNames,
  faults,
  limits,
  presetNames,
  presetOf,
  type Fault,
  type FaultName,
  type LimitName,
  type Preset,
} from "./shared/media.ts";
import { countOf, ofRows } from "./shared/numbers.ts";

const limitNames = Object.keys(limits) as LimitName[];
const describedLimit = (name: LimitName): string => `${limits[name].says} Default ${limits[name].default}.`;
const share = (name: LimitName): z.ZodOptional<z.ZodNumber> =>
  z.number().min(0).max(1).optional().describe(describedLimit(name));
const amount = (name: LimitName): z.ZodOptional<z.ZodNumber> =>
  z.number().nonnegative().optional().describe(describedLimit(name));
const whole = (name: LimitName): z.ZodOptional<z.ZodNumber> =>
  z.number().int().nonnegative().optional().describe(describedLimit(name));

const options = z.strictObject({
  preset: z
    .enum(presetNames)
    .optional()
    .describe("What the rows are. Default: told by their columns. Frames of a video can be asked as `images` too."),
  faults: z
    .array(z.enum(faultNames))
    .min(1)
    .optional()
    .describe("Look for these only. Default: all that the preset knows, as far as the rows have the columns."),
  min_contrast: share("min_contrast"),
  min_sharpness: amount("min_sharpness"),
  min_brightness: share("min_brightness"),
  max_brightness: share("max_brightness"),
  min_width: whole("min_width"),
  min_height: whole("min_height"),
  min_pixels: whole("min_pixels"),
  max_silence: share("max_silence"),
  max_clipping: share("max_clipping"),
  min_rate: whole("min_rate"),
  min_seconds: amount("min_seconds"),
  min_characters: whole("min_characters"),
  languages: z
    .array(
      z.string().regex(/^[a-z]{3}$/, { message: "languages are named by three letters (ISO 639-3): `eng`, `deu`" }),
    )
    .min(1)
    .optional()
    .describe(
      "Text: the languages that are wanted, ISO 639-3: `[eng, deu]`. Text too short to tell is let pass. Default: any.",
    ),
  text: z.string().default("text").describe("Text: the column that holds it. Default `text`."),
});
type Options = z.output<typeof options>;

const wrong = (message: string, hint: string): MillraceError =>
  new MillraceError("config", `the check \`media\`: ${message}`, { hint, where: { check: "media" } });

/** What the rows are, and the faults that are looked for. Throws `config` where an option and the columns do not fit. */
function planned(options: Options, context: CheckContext): { preset: Preset; asked: [FaultName, Fault][] } {
  const names = new Set(context.columns.map(({ name }) => name));
  const preset = options.preset ?? presetOf(names, options.text);
  if (preset === undefined) {
    throw wrong(
      "the columns are those of no images, audio, video or text",
      "set `preset`, and keep the columns of the format in the `transform`: `sharpness`, `clipping`, `frame_rate`, `text`",
    );
  }
  const known = Object.entries(faults[preset]) as [FaultName, Fault][];
  for (const name of options.faults ?? []) {
    if (faults[preset][name] === undefined) {
      throw wrong(
        `\`faults\` names \`${name}\`, which ${preset} cannot have`,
        suggestion(
          name,
          known.map(([each]) => each),
        ),
      );
    }
  }
  if (options.faults?.includes("other-language") && options.languages === undefined) {
    throw wrong(
      "`faults` names `other-language`, but `languages` does not say which are wanted",
      "set `languages: [eng]`",
    );
  }
  const wanted = known.filter(
    ([name]) => options.faults?.includes(name) ?? (name !== "other-language" || options.languages !== undefined),
  );
  const given = [...limitNames, "languages" as const].filter((name) => options[name] !== undefined);
  for (const name of given) {
    if (!wanted.some(([, fault]) => fault.limits.includes(name))) {
      throw wrong(
        `\`${name}\` is no limit of ${options.faults === undefined ? preset : "the `faults` that are named"}`,
        "leave it out, or set `preset`",
      );
    }
  }
  const asked: [FaultName, Fault][] = [];
  for (const [name, fault] of wanted) {
    const columns = fault.columns.map((column) => (column === "text" ? options.text : column));
    // What was asked for by name has to be there; of all that a preset knows, what the rows can tell.
    const isNamed = options.faults !== undefined || fault.limits.some((limit) => given.includes(limit));
    if (isNamed) for (const column of columns) columnNamed("media", column, context);
    if (columns.every((column) => names.has(column))) asked.push([name, fault]);
  }
  if (asked.length === 0) {
    throw wrong(
      `the rows have no column that faults of ${preset} are measured by`,
      "keep the columns of the format in the `transform`",
    );
  }
  if (preset === "text" && asked.some(([name]) => name === "short")) {
    requireKind("media", columnNamed("media", options.text, context), ["text"], "name a column of text with `text`");
  }
  return { preset, asked };
}

const isWrong = (fault: Fault, options: Options): Sql => `coalesce((${fault.wrong(options)}), false)`;

const failing = (options: Options, context: CheckContext): Sql =>
  `(${planned(options, context)
    .asked.map(([, fault]) => isWrong(fault, options))
    .join(" OR ")})`;

const check: Check<Options> = {
  measure(options, context) {
    const { asked } = planned(options, context);
    const measures: Record<string, Sql> = { failing: `count(*) FILTER (WHERE ${failing(options, context)})` };
    for (const [name, fault] of asked) {
      measures[name] = `count(*) FILTER (WHERE ${isWrong(fault, options)})`;
      measures[`${name}:says`] = `min(${fault.says(options)}) FILTER (WHERE ${isWrong(fault, options)})`;
    }
    return measures;
  },

  judge(options, measured, context) {
    const { preset, asked } = planned(options, context);
    const rows = countOf(measured["rows"]);
    const count = countOf(measured["failing"]);
    const facts: Record<string, number | string> = { preset, rows, failing: count };
    if (count === 0) {
      const names = asked.map(([name]) => name).join(", ");
      return {
        status: "passed",
        message: `none of ${rows} rows of ${preset} is ${names}`,
        failing: 0,
        measured: facts,
      };
    }
    const parts = asked.flatMap(([name]) => {
      const own = countOf(measured[name]);
      facts[name] = own;
      return own === 0 ? [] : [`${own} ${name} (${String(measured[`${name}:says`])})`];
    });
    return {
      status: "failed",
      message: `${ofRows(count, rows)} of ${preset}: ${parts.join("; ")}`,
      failing: count,
      measured: facts,
    };
  },

  failing,

  reason(options, context) {
    const parts = planned(options, context).asked.map(
      ([name, fault]) =>
        `CASE WHEN ${isWrong(fault, options)} THEN ${sqlString(`${name}: `)} || ${fault.says(options)} END`,
    );
    return `concat_ws('; ', ${parts.join(", ")})`;
  },
};

export default defineCheck({
  name: "media",
  title: "Media",
  summary:
    "Images, audio, video and text are fit for training: not blank, blurred, dark, silent, clipped, short or in another language.",
  options,
  needs: [],
  capabilities: { rows: true },
  examples: [
    {
      title: "Photographs that can be looked at",
      yaml: "check: media\nmin_width: 224\nmin_height: 224\non_fail: reject\n",
    },
    {
      title: "Recordings that are neither silent nor clipped, at 16 kHz or more",
      yaml: "check: media\npreset: audio\nmin_rate: 16000\nmin_seconds: 1\non_fail: reject\n",
    },
    {
      title: "Pages of English text",
      yaml: "check: media\npreset: text\nlanguages: [eng]\nmin_characters: 200\non_fail: reject\n",
    },
    {
      title: "Frames of films that are not black",
      yaml: "check: media\npreset: images\nfaults: [blank, dark]\non_fail: reject\n",
    },
  ],
  load: async () => check,
});

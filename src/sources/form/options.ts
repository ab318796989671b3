import * as z from "zod";
import { collectedShape, originsOption } from "../collected/options.ts";

const text = z.string().min(1).max(500);
const common = { text, help: text.optional(), required: z.boolean().default(false) };
const ends = { low: text.optional(), high: text.optional() };

const question = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("nps"), ...common, ...ends }),
  z.strictObject({ kind: z.literal("csat"), ...common, ...ends }),
  z.strictObject({ kind: z.literal("rating"), ...common, ...ends, maximum: z.int().min(2).max(10).default(5) }),
  z.strictObject({
    kind: z.literal("text"),
    ...common,
    max_length: z.int().min(1).max(20_000).default(2_000),
    lines: z.int().min(1).max(30).default(4),
  }),
  z.strictObject({
    kind: z.literal("choice"),
    ...common,
    choices: z.array(text).min(1).max(100),
    multiple: z.boolean().default(false),
  }),
]);
export type Question = z.output<typeof question>;

const taken = new Set(["answer_id", "received_at"]);

export const options = z.strictObject({
  title: text.describe("What the form is called; its page has it as heading."),
  intro: z.string().max(5_000).optional().describe("A paragraph above the questions."),
  language: z
    .string()
    .regex(/^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$/, "is a language such as `en` or `pt-BR`")
    .default("en")
    .describe("Language of the form, for screen readers: `en`, `pt-BR`. Default `en`."),
  submit: text.default("Send").describe("What the button says. Default `Send`."),
  thanks: text.default("Thank you.").describe("What is said once the answers are kept. Default `Thank you.`."),
  questions: z
    .record(
      z
        .string()
        .regex(/^[a-z][a-z0-9_]{0,50}$/, "is a name of small letters, digits and `_`")
        .refine((name) => !taken.has(name), "is the name of another column"),
      question,
    )
    .refine((questions) => Object.keys(questions).length > 0, "needs a question at least")
    .refine(
      (questions) => Object.keys(questions).every((name) => !Object.hasOwn(questions, `${name}_class`)),
      "has a question whose name is that of the class of another: `<name>_class`",
    )
    .describe(
      "Questions by the name of their column, in their order; each has a `kind` and a `text`, and may have `help` and `required`. Kinds: `nps` (0 to 10; `<name>_class` says promoter, passive or detractor), `csat` (1 to 5; satisfied from 4 on), `rating` (1 to `maximum`, default 5), `text` (`max_length`, default 2,000; `lines`), `choice` (`choices`; `multiple: true` gives a list). `low` and `high` are words for the ends of a scale.",
    ),
  channels: z
    .array(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/, "is a name of letters, digits, `-` and `_`"))
    .min(1)
    .default(["web"])
    .describe(
      "Where people come from: each is a stream, and has a page of its own at `/forms/<connection>/<channel>`. Default: one, `web`.",
    ),
  origins: originsOption,
  requests_per_second: z
    .number()
    .positive()
    .max(1_000_000)
    .default(100)
    .describe("How many forms are opened or sent by channel; more are told to wait. Default 100."),
  ...collectedShape,
});
export type Options = z.output<typeof options>;

import * as z from "zod";
import { defineEnricher } from "../../core/index.ts";

export const commandOptions = z.strictObject({
  command: z
    .array(z.string().min(1))
    .min(1)
    .describe(
      "Program and arguments, without a shell. `{file}` is the path of a file with the bytes, `{folder}` a folder that it may write to.",
    ),
  version: z
    .string()
    .min(1)
    .describe("Name and version of the model: another one makes all answers anew. `whisper.cpp 1.7 base.en`."),
  output: z
    .enum(["text", "json"])
    .default("text")
    .describe(
      "What it writes to the standard output: one text, or an object with a value for each of `columns`. Default `text`.",
    ),
  columns: z
    .record(z.string().min(1), z.enum(["string", "long", "double", "boolean", "list<float>", "list<string>", "json"]))
    .optional()
    .describe(
      "Columns that it adds, and their types; with `output: text` one of type `string`. Default `{ text: string }`.",
    ),
  environment: z
    .record(z.string(), z.string())
    .default({})
    .describe("Variables of its environment, besides PATH. It has no others."),
  parallel: z
    .number()
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe("How many may run at once. Default 1: models take all of a machine."),
  timeout_s: z.number().positive().default(600).describe("How long one may take, seconds. Default 600."),
});
export type CommandOptions = z.output<typeof commandOptions>;

export default defineEnricher({
  name: "command",
  title: "A program of yours",
  summary: "What any program on this machine says of an asset: a transcript, a caption, an embedding.",
  options: commandOptions,
  needs: ["the program"],
  capabilities: { input: "assets", deterministic: false, paid: false, maximumBatch: 16 },
  examples: [
    {
      title: "Transcripts by whisper.cpp",
      yaml: "flows:\n  calls:\n    from: { path: calls/**/*, format: audio, options: { rows: segment, samples: true } }\n    enrich:\n      - enricher: command\n        of: samples\n        command: [whisper-cli, --no-timestamps, --no-prints, --model, /models/ggml-base.en.bin, --file, '{file}']\n        version: whisper.cpp 1.7.4 base.en\n        columns: { transcript: string }",
    },
    {
      title: "Embeddings of photographs",
      yaml: "flows:\n  photos:\n    from: { path: photos/**/*, format: images }\n    enrich:\n      - enricher: command\n        command: [python3, embed.py, '{file}']\n        version: clip-vit-b32\n        output: json\n        columns: { embedding: 'list<float>' }",
    },
  ],
  load: () => import("./driver.ts"),
});

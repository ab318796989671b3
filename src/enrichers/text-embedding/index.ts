import * as z from "zod";
import { defineEnricher } from "../../core/index.ts";
import { onnxShape } from "../shared/onnx.ts";

export const textEmbeddingOptions = z.strictObject({
  ...onnxShape,
  tokenizer: z
    .string()
    .min(1)
    .describe("The `tokenizer.json` of the model. A `tokenizer_config.json` beside it is read too."),
  of_column: z.string().min(1).default("text").describe("Column of the text. Default `text`."),
  max_tokens: z
    .int()
    .min(3)
    .max(1 << 20)
    .default(512)
    .describe(
      "Tokens that the model takes, with those that mark begin and end; what is beyond is left out. Default 512.",
    ),
  pooling: z
    .enum(["mean", "cls"])
    .default("mean")
    .describe("Of a model that gives a vector for each token: their mean, or the first. Default `mean`."),
  before: z
    .string()
    .default("")
    .describe("Put before each text, as some models want it: `'passage: '`. Default nothing."),
});
export type TextEmbeddingOptions = z.output<typeof textEmbeddingOptions>;

export default defineEnricher({
  name: "text-embedding",
  title: "Embeddings of text",
  summary:
    "A vector for each text by an ONNX model on this machine, for search by meaning, near-duplicates and training.",
  options: textEmbeddingOptions,
  needs: ["`npm install --ignore-scripts onnxruntime-node`", "a model: its ONNX file and its `tokenizer.json`"],
  capabilities: { input: "rows", deterministic: true, paid: false, maximumBatch: 64 },
  examples: [
    {
      title: "Passages of documents",
      yaml: "flows:\n  passages:\n    from: { path: reports/**/*.pdf, format: documents, options: { rows: chunk } }\n    enrich:\n      - enricher: text-embedding\n        model: models/all-MiniLM-L6-v2/model.onnx\n        tokenizer: models/all-MiniLM-L6-v2/tokenizer.json\n        max_tokens: 256",
    },
  ],
  load: () => import("./driver.ts"),
});

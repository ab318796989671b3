import * as z from "zod";
import { defineEnricher } from "../../core/index.ts";
import { onnxShape } from "../shared/onnx.ts";

const three = z.array(z.number()).length(3);
const side = z.int().min(1).max(4096);

export const imageEmbeddingOptions = z.strictObject({
  ...onnxShape,
  size: z
    .union([side, z.tuple([side, side])])
    .default(224)
    .describe("Pixels that the model takes: one number for a square, or `[width, height]`. Default 224."),
  fit: z
    .enum(["cover", "contain", "fill"])
    .default("cover")
    .describe(
      "How an image of another shape becomes one: cut in the middle, black beside it, or distorted. Default `cover`.",
    ),
  kernel: z
    .enum(["nearest", "linear", "cubic", "lanczos3"])
    .default("cubic")
    .describe("How pixels are made smaller or larger. Default `cubic`, as CLIP has it."),
  mean: three
    .default([0.485, 0.456, 0.406])
    .describe("Taken from red, green and blue, which are 0 to 1. Default that of ImageNet."),
  std: three
    .refine((values) => values.every((value) => value !== 0), "must not be 0")
    .default([0.229, 0.224, 0.225])
    .describe("What red, green and blue are divided by after that. Default that of ImageNet."),
  layout: z.enum(["nchw", "nhwc"]).default("nchw").describe("Order of the dimensions of the input. Default `nchw`."),
  colours: z.enum(["rgb", "bgr"]).default("rgb").describe("Order of the colours in the input. Default `rgb`."),
  pooling: z
    .enum(["mean", "cls"])
    .default("cls")
    .describe("Of a model that gives a vector for each patch: their mean, or the first. Default `cls`."),
});
export type ImageEmbeddingOptions = z.output<typeof imageEmbeddingOptions>;

export default defineEnricher({
  name: "image-embedding",
  title: "Embeddings of images",
  summary: "A vector for each image by an ONNX model on this machine, for search, near-duplicates and training.",
  options: imageEmbeddingOptions,
  needs: ["`npm install --ignore-scripts onnxruntime-node`", "a model: its ONNX file"],
  capabilities: { input: "assets", deterministic: true, paid: false, maximumBatch: 32 },
  examples: [
    {
      title: "Photographs by CLIP",
      yaml: "flows:\n  photos:\n    from: { path: photos/**/*, format: images }\n    enrich:\n      - enricher: image-embedding\n        model: models/clip-vit-base-patch32/vision_model.onnx\n        mean: [0.48145466, 0.4578275, 0.40821073]\n        std: [0.26862954, 0.26130258, 0.27577711]",
    },
  ],
  load: () => import("./driver.ts"),
});

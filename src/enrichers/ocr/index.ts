import * as z from "zod";
import { defineEnricher } from "../../core/index.ts";

export const ocrOptions = z.strictObject({
  languages: z
    .array(z.string().regex(/^[\w/]+$/))
    .min(1)
    .default(["eng"])
    .describe("Languages of the text, as tesseract calls its models: `eng`, `deu`, `chi_sim`. Default `[eng]`."),
  layout: z
    .number()
    .int()
    .min(0)
    .max(13)
    .default(3)
    .describe(
      "tesseract's page segmentation mode: 3 finds blocks of text, 6 takes all for one block, 11 finds scattered words. Default 3.",
    ),
  resolution: z
    .number()
    .int()
    .min(72)
    .max(1200)
    .default(300)
    .describe("Dots per inch at which pages of PDF are drawn. Default 300."),
  all: z
    .boolean()
    .default(false)
    .describe(
      "Read every page. Otherwise those that `needs_ocr` says are no text, where the rows have it. Default false.",
    ),
  prefix: z.string().default("ocr_").describe("Before the names of the columns. Default `ocr_`."),
  timeout_s: z.number().positive().default(120).describe("How long one page may take, seconds. Default 120."),
});
export type OcrOptions = z.output<typeof ocrOptions>;

export default defineEnricher({
  name: "ocr",
  title: "Text in images",
  summary: "Text of scanned pages, photographs and frames by tesseract on this machine, with how sure it is of it.",
  options: ocrOptions,
  needs: [
    "tesseract 5 with the models of the languages (`apt-get install tesseract-ocr tesseract-ocr-deu`)",
    "for PDF: poppler (`apt-get install poppler-utils`)",
  ],
  capabilities: { input: "assets", deterministic: true, paid: false, maximumBatch: 16 },
  examples: [
    {
      title: "Scanned pages of PDF",
      yaml: "flows:\n  letters:\n    from: { path: letters/**/*.pdf, format: documents, options: { rows: page } }\n    enrich:\n      - { enricher: ocr, languages: [eng, deu] }\n    checks:\n      - { check: range, column: ocr_confidence, min: 60, on_fail: warn }",
    },
    {
      title: "Text in the frames of a video",
      yaml: "flows:\n  slides:\n    from: { path: talks/*.mp4, format: video, options: { rows: scene, size: 1920 } }\n    enrich:\n      - { enricher: ocr, of: image, layout: 11 }",
    },
  ],
  load: () => import("./driver.ts"),
});

import * as z from "zod";
import { defineEnricher } from "../../core/index.ts";
import { awsShape } from "../shared/aws.ts";

const { bucket: _bucket, ...shape } = awsShape;

export const textractOptions = z.strictObject({
  ...shape,
  resolution: z
    .number()
    .int()
    .min(72)
    .max(600)
    .default(200)
    .describe("Dots per inch at which pages of PDF are drawn for the service. Default 200."),
  all: z
    .boolean()
    .default(false)
    .describe(
      "Read every page. Otherwise those that `needs_ocr` says are no text, where the rows have it. Default false.",
    ),
  prefix: z.string().default("textract_").describe("Before the names of the columns. Default `textract_`."),
  price_page: z
    .number()
    .min(0)
    .default(0.0015)
    .describe("Of a page, USD. Default 0.0015, the list price of the first million in us-east-1 in 2026."),
  connections: z.int().min(1).max(50).default(8).describe("Pages at the same time. Default 8."),
});
export type TextractOptions = z.output<typeof textractOptions>;

export default defineEnricher({
  name: "textract",
  title: "Amazon Textract",
  summary: "Text of scanned pages and photographs, printed or written by hand, with how sure the service is of it.",
  options: textractOptions,
  needs: ["an account of AWS with textract:DetectDocumentText", "for PDF: poppler (`apt-get install poppler-utils`)"],
  capabilities: { input: "assets", deterministic: false, paid: true, maximumBatch: 32 },
  examples: [
    {
      title: "Scanned pages of PDF, for at most five dollars a run",
      yaml: "flows:\n  letters:\n    from: { path: letters/**/*.pdf, format: documents, options: { rows: page } }\n    enrich:\n      - { enricher: textract, region: eu-west-1, max_cost: 5 }",
    },
  ],
  load: () => import("./driver.ts"),
});

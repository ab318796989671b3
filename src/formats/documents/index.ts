import * as z from "zod";
import { defineFormat } from "../../core/index.ts";

export const documentsOptions = z.strictObject({
  rows: z
    .enum(["document", "page", "chunk"])
    .default("page")
    .describe(
      "One row a `document`, a `page` (what has no pages is one), or a `chunk` of text for retrieval. Default `page`.",
    ),
  chunk_tokens: z.number().int().min(16).max(100_000).default(400).describe("Tokens of a chunk, about. Default 400."),
  chunk_overlap: z
    .number()
    .int()
    .min(0)
    .max(10_000)
    .default(50)
    .describe("Tokens at the end of a chunk that the next one begins with, about. Default 50."),
  password: z.string().optional().meta({ secret: true }).describe("Opens encrypted PDF documents."),
  max_pages: z
    .number()
    .int()
    .positive()
    .default(20_000)
    .describe("A document with more pages is refused. Default 20,000."),
});
export type DocumentsOptions = z.output<typeof documentsOptions>;

export default defineFormat({
  name: "documents",
  title: "Documents",
  summary:
    "PDF, Word (.docx, .doc), OpenDocument, RTF, HTML, Markdown, e-mail and plain text: text in reading order per document, page or chunk, with metadata, language and tokens.",
  options: documentsOptions,
  extensions: ["pdf", "docx", "doc", "odt", "rtf", "html", "htm", "md", "eml", "txt"],
  mediaTypes: [
    "application/pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/msword",
    "application/vnd.oasis.opendocument.text",
    "application/rtf",
    "text/html",
    "text/markdown",
    "message/rfc822",
    "text/plain",
  ],
  needs: [],
  capabilities: { read: true, write: false, rejects: true, assets: true },
  examples: [
    {
      title: "The pages of a folder of contracts",
      yaml: "flows:\n  contracts:\n    from: { path: contracts/**/*, format: documents }\n    checks:\n      - { check: sql, expression: 'not needs_ocr', on_fail: warn }",
    },
    {
      title: "Chunks for retrieval",
      yaml: "flows:\n  passages:\n    from: { path: contracts/**/*.pdf, format: documents, options: { rows: chunk, chunk_tokens: 300 } }",
    },
  ],
  load: () => import("./driver.ts"),
});

import { assetColumns, type Column } from "../../core/index.ts";

/** What is read of a document, besides what every asset has. */
export const documentColumns: readonly Column[] = [
  {
    name: "page",
    type: "int",
    doc: "From 1; of a chunk, the page that it begins on; null for a row that is a document.",
  },
  { name: "chunk", type: "int", doc: "From 1; null for rows that are no chunks." },
  { name: "text", type: "string", doc: "In reading order; paragraphs are parted by an empty line." },
  { name: "characters", type: "long", doc: "Of the text." },
  {
    name: "tokens",
    type: "long",
    doc: "Of the text, estimated: those of common tokenizers are within about 15 % for prose.",
  },
  { name: "language", type: "string", doc: "ISO 639-3, guessed from the text; null where it is too short." },
  { name: "title", type: "string" },
  { name: "author", type: "string" },
  { name: "created", type: "timestamptz" },
  { name: "producer", type: "string", doc: "The program that made the document." },
  { name: "pages", type: "int", doc: "Of the whole document; null where it has none." },
  { name: "links", type: { type: "list", element: "string" }, doc: "Addresses that the page or document links to." },
  { name: "encrypted", type: "boolean", doc: "It is encrypted, and was opened with or without a password." },
  { name: "needs_ocr", type: "boolean", doc: "The page has an image and no text." },
  { name: "metadata", type: "string", doc: "Other metadata as JSON: headers of a message, properties of a file." },
];

export const columns: readonly Column[] = [...assetColumns, ...documentColumns];

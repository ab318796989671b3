import { franc } from "franc-min";
import { MillraceError, type Converted, type FileRef } from "../../core/index.ts";
import { AssetRows, type AssetConvertOptions } from "../asset-rows.ts";
import { headerOf } from "../values.ts";
import { chunksOf, estimateTokens } from "./chunks.ts";
import { columns, documentColumns } from "./columns.ts";
import type { Document, Page } from "./document.ts";
import type { DocumentsOptions } from "./index.ts";

type Options = AssetConvertOptions & Partial<DocumentsOptions>;

/** A language is not guessed from less, and more does not make it surer. Characters. */
const languageFrom = 40;
const languageSample = 800;

async function open(path: string, mediaType: string, options: Options): Promise<Document> {
  const { password, max_pages: maximumPages = 20_000 } = options;
  switch (mediaType) {
    case "application/pdf":
      return (await import("./pdf.ts")).readPdf(path, {
        maximumPages,
        ...(password === undefined ? {} : { password }),
      });
    case "application/vnd.openxmlformats-officedocument.wordprocessingml.document":
      return (await import("./office.ts")).readWord(path);
    case "application/vnd.oasis.opendocument.text":
      return (await import("./office.ts")).readOpenDocument(path);
    case "application/x-ole-storage":
      return (await import("./word-legacy.ts")).readLegacyWord(path);
    case "application/rtf":
      return (await import("./rtf.ts")).readRtf(path);
    case "text/html":
      return (await import("./html.ts")).readHtml(path);
    case "message/rfc822":
      return (await import("./mail.ts")).readMail(path);
    case "text/markdown":
      return (await import("./text.ts")).readMarkdown(path);
    case "text/plain":
    case "text/csv":
    case "application/json":
    case "application/xml":
      return (await import("./text.ts")).readPlainText(path);
    default:
      throw new MillraceError("unsupported", `it is no document of a kind that can be read (${mediaType})`);
  }
}

/** Runs before the document is looked at. */
export async function prepare(_file: FileRef, options: Options): Promise<void> {
  if (options.asset.mediaType === "application/pdf") await (await import("./pdf.ts")).loadPdf();
}

/** One document as rows: itself, its pages or its chunks. */
export default async function* convert(file: FileRef, options: Options): AsyncIterable<Converted> {
  yield headerOf([...(options.columns ?? columns)]);
  const { rows: per = "page", chunk_tokens: size = 400, chunk_overlap: overlap = 50 } = options;
  const document = await open(file.path, options.asset.mediaType, options);
  const rows = new AssetRows(file, options, documentColumns);
  const language = languages();
  const add = (
    page: number | null,
    chunk: number | null,
    text: string,
    links: readonly string[],
    needsOcr: boolean,
  ): void => {
    rows.add([
      page,
      chunk,
      text,
      text.length,
      estimateTokens(text),
      language(text),
      document.title ?? null,
      document.author ?? null,
      document.created ?? null,
      document.producer ?? null,
      document.pages ?? null,
      links,
      document.encrypted ?? false,
      needsOcr,
      document.metadata === undefined ? null : JSON.stringify(document.metadata),
    ]);
  };
  if (per === "page") {
    for await (const page of document.content) {
      add(page.number ?? 1, null, page.text, page.links ?? [], page.needsOcr ?? false);
      const text = rows.take();
      if (text !== undefined) yield text;
    }
  } else {
    const pages: Page[] = [];
    for await (const page of document.content) pages.push(page);
    const links = [...new Set(pages.flatMap((page) => page.links ?? []))];
    if (per === "document") {
      const text = pages
        .map((page) => page.text)
        .join("\n\n")
        .trim();
      add(null, null, text, links, pages.length > 0 && pages.every((page) => page.needsOcr === true));
    } else {
      let chunk = 0;
      for (const passage of chunksOf(
        pages.map((page) => page.text),
        size,
        overlap,
      )) {
        const page = pages[passage.page]!;
        add(page.number ?? null, ++chunk, passage.text, page.links ?? [], false);
        const text = rows.take();
        if (text !== undefined) yield text;
      }
    }
  }
  const rest = rows.take(true);
  if (rest !== undefined) yield rest;
  yield { rows: rows.rows };
}

/** What is too short to tell has the language of what came before it in the document. */
function languages(): (text: string) => string | null {
  let last: string | null = null;
  return (text) => {
    if (text.length < languageFrom) return last;
    const found = franc(text.slice(0, languageSample), { minLength: languageFrom });
    if (found !== "und") last = found;
    return found === "und" ? null : found;
  };
}

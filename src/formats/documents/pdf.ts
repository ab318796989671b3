import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type * as pdfjs from "pdfjs-dist/legacy/build/pdf.mjs";
import { messageOf, MillraceError } from "../../core/index.ts";
import type { Document, Page } from "./document.ts";
import { tidy } from "../plain-text.ts";
import { joinHyphens, readingOrder, type Run } from "./layout.ts";

type Pdf = typeof pdfjs;
type PdfDocument = Awaited<ReturnType<Pdf["getDocument"]>["promise"]>;
type PdfPage = Awaited<ReturnType<PdfDocument["getPage"]>>;

const files = join(dirname(createRequire(import.meta.url).resolve("pdfjs-dist/package.json")));
/** A page with less text than this is looked through for images. */
const littleText = 20;

/** It wants what a browser draws with, when it is loaded. Nothing is drawn here. */
export async function loadPdf(): Promise<Pdf> {
  for (const name of ["DOMMatrix", "ImageData", "Path2D"]) {
    if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value: class {}, configurable: true });
  }
  const pdf = await import("pdfjs-dist/legacy/build/pdf.mjs");
  // Its worker, in this very process: it looks for it there before it loads one. The package has no types for it.
  const worker = "pdfjs-dist/legacy/build/pdf.worker.mjs";
  (globalThis as { pdfjsWorker?: unknown }).pdfjsWorker ??= (await import(worker)) as unknown;
  return pdf;
}

export interface PdfOptions {
  password?: string;
  maximumPages: number;
}

/** Text of each page in reading order, links, and what the document says of itself. */
export async function readPdf(path: string, options: PdfOptions): Promise<Document> {
  const pdf = await loadPdf();
  const task = pdf.getDocument({
    data: new Uint8Array(readFileSync(path)),
    ...(options.password === undefined ? {} : { password: options.password }),
    cMapUrl: join(files, "cmaps/"),
    cMapPacked: true,
    standardFontDataUrl: join(files, "standard_fonts/"),
    disableFontFace: true,
    useSystemFonts: false,
    useWasm: false,
    isOffscreenCanvasSupported: false,
    isImageDecoderSupported: false,
    stopAtErrors: false,
    verbosity: 0,
  });
  const document = await task.promise.catch((cause: unknown) => {
    throw pdfError(cause, options.password !== undefined);
  });
  if (document.numPages > options.maximumPages) {
    throw new MillraceError("limit", `it has ${document.numPages} pages, more than ${options.maximumPages}`, {
      hint: "raise `max_pages`",
    });
  }
  const { info } = (await document.getMetadata().catch(() => ({ info: {} }))) as { info: Record<string, unknown> };
  const text = (name: string): string | undefined => {
    const value = info[name];
    return typeof value === "string" && value.trim() !== "" ? tidy(value) : undefined;
  };
  return {
    title: text("Title"),
    author: text("Author"),
    created: pdfDate(text("CreationDate")),
    producer: text("Producer") ?? text("Creator"),
    pages: document.numPages,
    encrypted: info["EncryptFilterName"] !== null && info["EncryptFilterName"] !== undefined,
    metadata: Object.fromEntries(
      Object.entries(info).filter(
        ([name, value]) =>
          value !== null &&
          typeof value !== "object" &&
          !["Title", "Author", "CreationDate", "Producer"].includes(name),
      ),
    ),
    content: pagesOf(pdf, document),
  };
}

async function* pagesOf(pdf: Pdf, document: PdfDocument): AsyncGenerator<Page> {
  try {
    for (let number = 1; number <= document.numPages; number++) {
      const page = await document.getPage(number).catch((cause: unknown) => {
        throw new MillraceError("parse", `page ${number} is damaged (${messageOf(cause)})`, { cause });
      });
      const annotations = (await page.getAnnotations().catch(() => [])) as Annotation[];
      const written = annotations.map(annotationText).filter((one) => one !== "");
      const text = tidy([joinHyphens(readingOrder(await runsOf(page))), ...written].join("\n\n"));
      const links = annotations.flatMap(({ url }) => (url === undefined ? [] : [url]));
      const needsOcr = text.length < littleText && (await hasImage(pdf, page));
      page.cleanup();
      yield { number, text, links: [...new Set(links)], needsOcr };
    }
  } finally {
    await document.loadingTask.destroy();
  }
}

interface Annotation {
  subtype?: string;
  url?: string;
  annotationFlags?: number;
  contentsObj?: { str?: string };
  fieldValue?: unknown;
  password?: boolean;
}

/** Hidden, or not to be seen: ISO 32000-1 §12.5.3. */
const unseen = 2 | 32;

/** What was typed onto the page: in the fields of a form, and as free text. */
function annotationText({ subtype, annotationFlags = 0, contentsObj, fieldValue, password }: Annotation): string {
  if ((annotationFlags & unseen) !== 0 || password === true) return "";
  if (subtype === "FreeText") return contentsObj?.str ?? "";
  return subtype === "Widget" && typeof fieldValue === "string" && fieldValue !== "Off" ? fieldValue : "";
}

async function runsOf(page: PdfPage): Promise<Run[]> {
  const { items } = await page.getTextContent();
  const runs: Run[] = [];
  for (const item of items) {
    if (!("str" in item) || item.str === "") continue;
    const [a = 1, b = 0, , , x = 0, y = 0] = item.transform as number[];
    // Text that runs upwards or downwards: its lines are columns. It is read after what is level, in the order of the file.
    const height = item.height || Math.hypot(a, b) || 10;
    if (item.str.trim() === "" && item.width < height) continue;
    runs.push({ text: item.str, x, y, width: item.width, height });
  }
  return runs;
}

async function hasImage(pdf: Pdf, page: PdfPage): Promise<boolean> {
  const { OPS } = pdf;
  const images = new Set<number>([
    OPS.paintImageXObject,
    OPS.paintInlineImageXObject,
    OPS.paintImageMaskXObject,
    OPS.paintImageXObjectRepeat,
  ]);
  const { fnArray } = await page.getOperatorList().catch(() => ({ fnArray: [] as number[] }));
  return fnArray.some((operator) => images.has(operator));
}

/** `D:YYYYMMDDHHmmSSOHH'mm`, ISO 32000-1 §7.9.4; what is missing is its least value. */
function pdfDate(text: string | undefined): string | undefined {
  const match = /^(?:D:)?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:([+-])(\d\d)'?(\d\d)?|Z)?/.exec(text ?? "");
  if (match === null) return undefined;
  const [
    ,
    year,
    month = "01",
    day = "01",
    hour = "00",
    minute = "00",
    second = "00",
    sign,
    zoneHour,
    zoneMinute = "00",
  ] = match;
  const zone = sign === undefined ? "Z" : `${sign}${zoneHour}:${zoneMinute}`;
  const date = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}${zone}`);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString().replace("T", " ").replace("Z", "+00");
}

function pdfError(cause: unknown, hadPassword: boolean): MillraceError {
  const name = (cause as { name?: string }).name;
  if (name === "PasswordException") {
    return new MillraceError(
      "unsupported",
      hadPassword ? "it is encrypted, and the password does not open it" : "it is encrypted",
      {
        cause,
        hint: "set `options: { password: … }`",
      },
    );
  }
  return new MillraceError("parse", `it is a damaged PDF (${messageOf(cause)})`, { cause });
}

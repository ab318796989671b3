import { readFileSync } from "node:fs";
import { messageOf, MillraceError } from "../../core/index.ts";
import type { Document } from "./document.ts";
import { tidy } from "../plain-text.ts";

/** Streams of a compound file by their names, which it has in UTF-16: [MS-CFB] §2.6.1. */
function assertWord(path: string): void {
  const bytes = readFileSync(path);
  const has = (name: string): boolean => bytes.includes(Buffer.from(name, "utf16le"));
  if (has("EncryptedPackage")) {
    throw new MillraceError("unsupported", "it is encrypted", { hint: "save it without a password" });
  }
  if (has("WordDocument")) return;
  const kind =
    has("Workbook") || has("Book")
      ? "an Excel workbook"
      : has("PowerPoint Document")
        ? "a PowerPoint presentation"
        : has("__properties_version1.0")
          ? "an Outlook message"
          : "no Word document";
  throw new MillraceError("unsupported", `it is ${kind} of an old kind, which cannot be read`, {
    hint: "save it in a newer format",
  });
}

/** Word 97 to 2003. */
export async function readLegacyWord(path: string): Promise<Document> {
  assertWord(path);
  const { default: WordExtractor } = await import("word-extractor");
  let extracted: Awaited<ReturnType<InstanceType<typeof WordExtractor>["extract"]>>;
  try {
    extracted = await new WordExtractor().extract(path);
  } catch (cause) {
    throw new MillraceError("parse", `it is no Word document that can be read (${messageOf(cause)})`, {
      cause,
      hint: "save it as .docx; an encrypted one without its password",
    });
  }
  const parts = [extracted.getBody(), extracted.getFootnotes(), extracted.getEndnotes()];
  return { content: [{ text: tidy(parts.filter((part) => part.trim() !== "").join("\n\n")) }] };
}

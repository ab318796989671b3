import { readFileSync } from "node:fs";
import { tidy, type Document } from "./document.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Bytes as text: by the mark at their beginning, else UTF-8 if they are, else as the web takes unlabelled bytes. */
export function decodeText(bytes: Uint8Array, declared?: string): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  try {
    return utf8.decode(bytes);
  } catch {
    // Fall through: it is some other encoding.
  }
  if (declared !== undefined) {
    try {
      return new TextDecoder(declared).decode(bytes);
    } catch {
      // A label that nobody knows.
    }
  }
  return new TextDecoder("windows-1252").decode(bytes);
}

export function readPlainText(path: string): Document {
  return { content: [{ text: tidy(decodeText(readFileSync(path))) }] };
}

/** Markdown stays as it is: it is made to be read. */
export function readMarkdown(path: string): Document {
  const text = tidy(decodeText(readFileSync(path)));
  const title = /^#\s+(.+?)\s*#*$/m.exec(text)?.[1] ?? /^(\S.*)\n=+$/m.exec(text)?.[1];
  const links = [...text.matchAll(/\]\((\S+?)(?:\s+"[^"]*")?\)/g)].map((match) => match[1]!);
  return { title, content: [{ text, links }] };
}

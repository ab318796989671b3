import { readFileSync } from "node:fs";
import { decodeText, tidy } from "../plain-text.ts";
import type { Document } from "./document.ts";

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

import { readFileSync } from "node:fs";
import { textOfHtml } from "../html-text.ts";
import { decodeText } from "../plain-text.ts";
import { instant, type Document } from "./document.ts";

export function readHtml(path: string): Document {
  const bytes = readFileSync(path);
  const declared = /<meta[^>]+charset\s*=\s*["']?([\w-]+)/i.exec(bytes.toString("latin1", 0, 4096))?.[1];
  const { text, title, links, meta } = textOfHtml(decodeText(bytes, declared));
  return {
    title: title ?? meta["og:title"],
    author: meta["author"],
    created: instant(meta["article:published_time"] ?? meta["date"]),
    producer: meta["generator"],
    metadata: meta,
    content: [{ text, links }],
  };
}

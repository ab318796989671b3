import { MillraceError } from "../../core/index.ts";
import { drain, openPackage, type Package } from "../package.ts";
import type { Handler } from "../xml.ts";
import { instant, type Document } from "./document.ts";
import { tidy } from "../plain-text.ts";

/** The texts of single elements of a part, by local name; nothing where the part is missing. */
async function properties(archive: Package, part: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  if (!archive.has(part)) return found;
  let text = "";
  await drain(
    archive.parse(part, {
      open: () => (text = ""),
      text: (piece) => (text += piece),
      close(name) {
        if (text.trim() !== "") found[name] = text.trim();
        text = "";
      },
    }),
  );
  return found;
}

/** Where a Word document links to: addresses only, nothing is fetched. */
async function externalLinks(archive: Package): Promise<string[]> {
  const part = "word/_rels/document.xml.rels";
  if (!archive.has(part)) return [];
  const links = new Set<string>();
  await drain(
    archive.parse(part, {
      open(name, attributes) {
        const { TargetMode: mode, Type: type, Target: target } = attributes;
        if (name === "Relationship" && mode === "External" && type?.endsWith("/hyperlink") && target) links.add(target);
      },
    }),
  );
  return [...links];
}

/** Office Open XML, ECMA-376 part 1 §17. Deleted text of tracked changes is left out, inserted text is in. */
function wordHandler(write: (text: string) => void): Handler {
  let inText = false;
  let deleted = 0;
  // Text boxes come twice: as they are now, and for older programs.
  let fallback = 0;
  return {
    open(name) {
      if (name === "Fallback") fallback++;
      else if (name === "del" || name === "moveFrom") deleted++;
      else if (name === "t") inText = true;
      else if (fallback > 0 || deleted > 0) return;
      else if (name === "tab") write("\t");
      else if (name === "br" || name === "cr") write("\n");
      else if (name === "noBreakHyphen") write("\u2011");
    },
    text(piece) {
      if (inText && deleted === 0 && fallback === 0) write(piece);
    },
    close(name) {
      if (name === "Fallback") fallback--;
      else if (name === "del" || name === "moveFrom") deleted--;
      else if (name === "t") inText = false;
      else if (name === "p") write("\n");
      else if (name === "tc") write("\t");
      else if (name === "tr") write("\n");
    },
  };
}

/** Paragraphs of a cell end with a line that the row does not need. */
const rowsOf = (text: string): string => text.replaceAll(/\n+\t/g, "\t").replaceAll(/\t+\n/g, "\n");

export async function readWord(path: string): Promise<Document> {
  const archive = await openPackage(path);
  try {
    let text = "";
    const relations = await archive.relations("");
    const main = relations.find(({ type }) => type === "officeDocument")?.target ?? "word/document.xml";
    if (!archive.has(main)) throw new MillraceError("parse", "it has no main part, as a Word document has");
    await drain(
      archive.parse(
        main,
        wordHandler((piece) => (text += piece)),
      ),
    );
    const notes = ["word/footnotes.xml", "word/endnotes.xml"].filter((part) => archive.has(part));
    for (const part of notes) {
      text += "\n";
      await drain(
        archive.parse(
          part,
          wordHandler((piece) => (text += piece)),
        ),
      );
    }
    const core = await properties(archive, "docProps/core.xml");
    const app = await properties(archive, "docProps/app.xml");
    const pages = Number(app["Pages"]);
    return {
      title: core["title"],
      author: core["creator"],
      created: instant(core["created"]),
      producer: app["Application"],
      pages: Number.isInteger(pages) && pages > 0 ? pages : undefined,
      metadata: { ...core, ...app },
      content: [{ text: tidy(rowsOf(text)), links: await externalLinks(archive) }],
    };
  } finally {
    archive.close();
  }
}

/** OpenDocument 1.3 part 3. */
export async function readOpenDocument(path: string): Promise<Document> {
  const archive = await openPackage(path);
  try {
    let text = "";
    let aside = 0;
    let inParagraph = 0;
    const links = new Set<string>();
    await drain(
      archive.parse("content.xml", {
        open(name, attributes) {
          if (name === "tracked-changes" || name === "annotation") aside++;
          if (aside > 0) return;
          const link = attributes["xlink:href"];
          if (name === "a" && link !== undefined && /^(https?|mailto):/i.test(link)) links.add(link);
          if (name === "p" || name === "h") inParagraph++;
          else if (name === "tab") text += "\t";
          else if (name === "line-break") text += "\n";
          else if (name === "s") text += " ".repeat(Math.min(100, Number(attributes["text:c"] ?? 1) || 1));
        },
        text(piece) {
          if (aside === 0 && inParagraph > 0) text += piece.replaceAll(/\s+/g, " ");
        },
        close(name) {
          if (name === "tracked-changes" || name === "annotation") aside--;
          else if (aside > 0) return;
          else if (name === "p" || name === "h") {
            inParagraph--;
            text += name === "h" ? "\n\n" : "\n";
          } else if (name === "table-cell") text += "\t";
          else if (name === "table-row") text += "\n";
        },
      }),
    );
    const meta = await properties(archive, "meta.xml");
    return {
      title: meta["title"],
      author: meta["initial-creator"] ?? meta["creator"],
      created: instant(meta["creation-date"]),
      producer: meta["generator"],
      metadata: meta,
      content: [{ text: tidy(rowsOf(text)), links: [...links] }],
    };
  } finally {
    archive.close();
  }
}

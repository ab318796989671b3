import { Parser } from "htmlparser2";
import { tidy } from "./plain-text.ts";

const hidden = new Set(["script", "style", "noscript", "template", "svg", "math", "head", "iframe", "object"]);
const blocks = new Set(
  "address article aside blockquote body center dd details dialog div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr html legend li main nav ol p pre section summary table tbody tfoot thead tr ul".split(
    " ",
  ),
);
const apart = new Set("blockquote h1 h2 h3 h4 h5 h6 p pre table ul ol dl figure article section".split(" "));

/** The text of a page as a person reads it, its links and what it says of itself. Nothing is run or fetched. */
export function textOfHtml(html: string): {
  text: string;
  title?: string;
  links: string[];
  meta: Record<string, string>;
} {
  let text = "";
  let title = "";
  const links: string[] = [];
  const meta: Record<string, string> = {};
  let depthHidden = 0;
  let inTitle = false;
  let preformatted = 0;
  const end = (breaks: number): void => {
    text = text.replace(/[^\S\n]+$/, "");
    const there = /\n*$/.exec(text)![0].length;
    if (text !== "" && there < breaks) text += "\n".repeat(breaks - there);
  };
  const parser = new Parser(
    {
      onopentag(name, attributes) {
        if (name === "title" && title === "") inTitle = true;
        if (name === "meta") {
          const key = attributes["name"] ?? attributes["property"];
          if (key !== undefined && attributes["content"] !== undefined) meta[key.toLowerCase()] = attributes["content"];
        }
        if (hidden.has(name)) depthHidden++;
        if (depthHidden > 0) return;
        if (name === "a" && attributes["href"] !== undefined && /^(https?|mailto):/i.test(attributes["href"]))
          links.push(attributes["href"]);
        if (name === "br") text += "\n";
        else if (name === "img" && attributes["alt"]) text += ` ${attributes["alt"]} `;
        else if (blocks.has(name)) end(apart.has(name) ? 2 : 1);
        if (name === "li") text += "- ";
        if (name === "pre") preformatted++;
      },
      ontext(data) {
        if (inTitle) title += data;
        if (depthHidden > 0) return;
        if (preformatted > 0) text += data;
        else {
          const words = data.replaceAll(/\s+/g, " ");
          text += /(^|\s)$/.test(text) ? words.replace(/^ /, "") : words;
        }
      },
      onclosetag(name) {
        if (name === "title") inTitle = false;
        if (hidden.has(name)) depthHidden = Math.max(0, depthHidden - 1);
        if (depthHidden > 0) return;
        if (name === "pre") preformatted = Math.max(0, preformatted - 1);
        if (name === "td" || name === "th") text += "\t";
        else if (blocks.has(name)) end(apart.has(name) ? 2 : 1);
      },
    },
    { decodeEntities: true, lowerCaseTags: true },
  );
  parser.end(html);
  const named = title.replaceAll(/\s+/g, " ").trim();
  return { text: tidy(text), ...(named === "" ? {} : { title: named }), links: [...new Set(links)], meta };
}

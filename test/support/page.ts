import { Parser } from "htmlparser2";

export interface Element {
  name: string;
  attributes: Record<string, string>;
  /** All text below it. */
  text: string;
  /** Names of the elements around it, the outermost first. */
  within: string[];
}

/** The elements of a page in the order in which they begin, as a parser of HTML sees them. */
export function elementsOf(page: string): Element[] {
  const all: Element[] = [];
  const open: Element[] = [];
  const parser = new Parser({
    onopentag(name, attributes) {
      const element = { name, attributes, text: "", within: open.map((each) => each.name) };
      all.push(element);
      open.push(element);
    },
    ontext(text) {
      for (const element of open) element.text += text;
    },
    onclosetag: () => void open.pop(),
  });
  parser.end(page);
  return all;
}

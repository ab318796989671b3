import { readFileSync } from "node:fs";
import { MillraceError } from "../../core/index.ts";
import type { Document } from "./document.ts";
import { tidy } from "../plain-text.ts";

/** Groups that are no text: RTF Specification 1.9.1. */
const destinations = new Set(
  "fonttbl colortbl stylesheet pict object objdata info generator header headerl headerr headerf footer footerl footerr footerf listtable listoverridetable revtbl rsidtbl xmlnstbl themedata colorschememapping datastore latentstyles fldinst bkmkstart bkmkend filetbl nonshppict shpinst mmathPr".split(
    " ",
  ),
);
const breaks: Record<string, string> = {
  par: "\n",
  line: "\n",
  sect: "\n\n",
  page: "\n\n",
  row: "\n",
  tab: "\t",
  cell: "\t",
  emdash: "—",
  endash: "–",
  bullet: "•",
  lquote: "‘",
  rquote: "’",
  ldblquote: "“",
  rdblquote: "”",
  "~": "\u00a0",
  _: "\u2011",
};
const charsets: Record<number, string> = {
  0: "windows-1252",
  77: "macintosh",
  128: "shift_jis",
  129: "euc-kr",
  134: "gb18030",
  136: "big5",
  161: "windows-1253",
  162: "windows-1254",
  163: "windows-1258",
  177: "windows-1255",
  178: "windows-1256",
  186: "windows-1257",
  204: "windows-1251",
  222: "windows-874",
  238: "windows-1250",
};
const codePages: Record<number, string> = {
  932: "shift_jis",
  936: "gb18030",
  949: "euc-kr",
  950: "big5",
  10000: "macintosh",
  65001: "utf-8",
};
const deepest = 1000;

interface State {
  skip: boolean;
  /** Bytes of a fallback to skip after `\u`. */
  fallback: number;
  font: number;
  destination: "" | "info" | "fonttbl";
  field: "" | "title" | "author";
}

/** The text of an RTF file, and title and author. */
export function readRtf(path: string): Document {
  const source = readFileSync(path).toString("latin1");
  if (!source.startsWith("{\\rtf")) throw new MillraceError("parse", "it is no RTF: it does not begin with `{\\rtf`");
  const fonts = new Map<number, string>();
  let encoding = "windows-1252";
  let text = "";
  const fields = { title: "", author: "" };
  let bytes: number[] = [];
  let skipped = 0;
  const stack: State[] = [];
  let state: State = { skip: false, fallback: 1, font: -1, destination: "", field: "" };
  let definedFont = -1;

  const put = (piece: string): void => {
    if (state.field !== "") fields[state.field] += piece;
    else if (!state.skip) text += piece;
  };
  const flush = (): void => {
    if (bytes.length === 0) return;
    const label = fonts.get(state.font) ?? encoding;
    put(new TextDecoder(label).decode(Uint8Array.from(bytes)));
    bytes = [];
  };
  const token =
    /\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z'])|([{}])|([^\\{}\r\n]+)|[\r\n\\]+/gy;
  for (let match = token.exec(source); match !== null; match = token.exec(source)) {
    const [, word, parameter, hex, symbol, brace, plain] = match;
    if (hex !== undefined) {
      if (skipped > 0) skipped--;
      else bytes.push(Number.parseInt(hex, 16));
      continue;
    }
    if (plain !== undefined) {
      let piece = plain;
      if (skipped > 0) {
        const drop = Math.min(skipped, piece.length);
        skipped -= drop;
        piece = piece.slice(drop);
      }
      // A double byte may have its second half as a letter.
      for (const letter of piece) bytes.push(letter.charCodeAt(0) & 0xff);
      continue;
    }
    flush();
    if (brace === "{") {
      if (stack.length >= deepest) throw new MillraceError("parse", `its groups are nested more than ${deepest} deep`);
      stack.push(state);
      state = { ...state };
      skipped = 0;
    } else if (brace === "}") {
      skipped = 0;
      const outer = stack.pop();
      if (outer === undefined) break;
      state = outer;
    } else if (symbol !== undefined) {
      if (symbol === "*") state.skip = true;
      else if (symbol === "\n" || symbol === "\r") put("\n");
      else if ("{}\\".includes(symbol)) put(symbol);
      else put(breaks[symbol] ?? "");
    } else if (word !== undefined) {
      const value = parameter === undefined ? undefined : Number(parameter);
      if (word === "u" && value !== undefined) {
        put(String.fromCharCode(value < 0 ? value + 65_536 : value));
        skipped = state.fallback;
      } else if (word === "uc") state.fallback = value ?? 1;
      else if (word === "bin") token.lastIndex += Math.max(0, value ?? 0);
      else if (word === "ansicpg" && value !== undefined) encoding = codePages[value] ?? `windows-${value}`;
      else if (word === "mac") encoding = "macintosh";
      else if (word === "f" && value !== undefined) {
        if (state.destination === "fonttbl") definedFont = value;
        else state.font = value;
      } else if (word === "fcharset" && value !== undefined && charsets[value] !== undefined)
        fonts.set(definedFont, charsets[value]);
      else if (word === "plain") state.font = -1;
      else if (state.destination === "info" && (word === "title" || word === "author")) state.field = word;
      else if (word === "info") Object.assign(state, { skip: true, destination: "info" });
      else if (word === "fonttbl") Object.assign(state, { skip: true, destination: "fonttbl" });
      else if (destinations.has(word)) state.skip = true;
      else put(breaks[word] ?? "");
      try {
        new TextDecoder(encoding);
      } catch {
        encoding = "windows-1252";
      }
    }
  }
  flush();
  const given = (value: string): string | undefined => tidy(value) || undefined;
  return { title: given(fields.title), author: given(fields.author), content: [{ text: tidy(text) }] };
}

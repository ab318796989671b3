import { MillraceError, suggestion } from "../../core/index.ts";
import { drain, type Package } from "../package.ts";
import type { Handler } from "../xml.ts";

/** What the value of a cell is, before it is brought into a column. */
export type Cell =
  | { kind: "number"; value: number; text: string }
  | { kind: "date" | "time" | "timestamp"; value: number }
  | { kind: "iso"; text: string }
  | { kind: "text"; text: string }
  | { kind: "boolean"; value: boolean }
  | { kind: "error"; text: string };

export interface Row {
  number: number;
  /** By column from 0; holes are empty cells. */
  cells: (Cell | undefined)[];
}

export interface Workbook {
  /** Dates count from 1904 instead of 1900. */
  date1904: boolean;
  rows(): AsyncGenerator<Row, void, undefined>;
}

const maximumColumns = 16_384;
const maximumStringCharacters = 400 * 1024 * 1024;

/** ECMA-376 part 1, chapter 18. */
export async function openWorkbook(parts: Package, wanted: string | number | undefined): Promise<Workbook> {
  const [root] = (await parts.relations("")).filter((relation) => relation.type === "officeDocument");
  const workbook = root?.target ?? "xl/workbook.xml";
  if (!parts.has(workbook))
    throw new MillraceError("parse", "it is no workbook: it has no `xl/workbook.xml`", { hint: "save it as .xlsx" });
  const sheets: { name: string; id: string }[] = [];
  let date1904 = false;
  await readPart(parts, workbook, {
    open(name, attributes) {
      if (name === "workbookPr") date1904 = ["1", "true"].includes(attributes.date1904 ?? "");
      if (name !== "sheet") return;
      const id = Object.entries(attributes).find(([key]) => key === "id" || key.endsWith(":id"))?.[1];
      sheets.push({ name: attributes.name ?? "", id: id ?? "" });
    },
  });
  const relations = await parts.relations(workbook);
  const worksheets = sheets.flatMap((sheet) => {
    const relation = relations.find((each) => each.id === sheet.id);
    return relation?.type === "worksheet" ? [{ name: sheet.name, part: relation.target }] : [];
  });
  const sheet =
    typeof wanted === "number"
      ? worksheets[wanted - 1]
      : wanted === undefined
        ? worksheets[0]
        : worksheets.find((each) => each.name === wanted);
  if (sheet === undefined) {
    throw new MillraceError(
      "not-found",
      wanted === undefined ? "it has no worksheet" : `it has no sheet \`${wanted}\``,
      {
        hint: suggestion(
          String(wanted ?? ""),
          worksheets.map((each) => each.name),
        ),
      },
    );
  }
  const styles = relations.find((relation) => relation.type === "styles");
  const strings = relations.find((relation) => relation.type === "sharedStrings");
  const kinds = styles && parts.has(styles.target) ? await readStyles(parts, styles.target) : [];
  const shared = strings && parts.has(strings.target) ? await readStrings(parts, strings.target) : [];
  return { date1904, rows: () => readRows(parts, sheet.part, kinds, shared) };
}

async function readPart(parts: Package, part: string, handler: Handler): Promise<void> {
  await drain(parts.parse(part, handler));
}

type NumberKind = "number" | "date" | "time" | "timestamp";

/** Built-in formats of ECMA-376 part 1, 18.8.30, with those of East Asian versions. */
function builtInKind(id: number): NumberKind {
  if ((id >= 14 && id <= 17) || (id >= 27 && id <= 31) || (id >= 50 && id <= 58) || id === 36) return "date";
  if ((id >= 18 && id <= 21) || (id >= 32 && id <= 35) || (id >= 45 && id <= 47)) return "time";
  return id === 22 ? "timestamp" : "number";
}

/** What a format shows, by the letters outside of quotes, escapes and brackets. */
export function formatKind(code: string): NumberKind {
  const bare = code
    .split(";")[0]!
    .replace(/"[^"]*"|\\.|_.|\*./g, "")
    .replace(/\[(h+|m+|s+)\]/gi, "$1")
    .replace(/\[[^\]]*\]/g, "");
  if (/^general$/i.test(bare.trim())) return "number";
  const letters = bare.toLowerCase();
  const time = /[hs]/.test(letters) || /am\/pm|a\/p/.test(letters);
  const date =
    /[yd]/.test(letters) ||
    (/m/.test(letters) && !time) ||
    (/[ge]{1,}/.test(letters.replace(/e[+-]/g, "").replace(/general/g, "")) && /[yd]/.test(letters));
  if (date && time) return "timestamp";
  return date ? "date" : time ? "time" : "number";
}

async function readStyles(parts: Package, part: string): Promise<NumberKind[]> {
  const custom = new Map<number, NumberKind>();
  const kinds: NumberKind[] = [];
  let inCells = false;
  await readPart(parts, part, {
    open(name, attributes) {
      if (name === "numFmt") custom.set(Number(attributes.numFmtId), formatKind(attributes.formatCode ?? ""));
      else if (name === "cellXfs") inCells = true;
      else if (name === "xf" && inCells) {
        const id = Number(attributes.numFmtId ?? 0);
        kinds.push(custom.get(id) ?? builtInKind(id));
      }
    },
    close(name) {
      if (name === "cellXfs") inCells = false;
    },
  });
  return kinds;
}

async function readStrings(parts: Package, part: string): Promise<string[]> {
  const strings: string[] = [];
  let text = "";
  let total = 0;
  let inText = false;
  let phonetic = 0;
  await readPart(parts, part, {
    open(name) {
      if (name === "si") text = "";
      else if (name === "rPh") phonetic++;
      else if (name === "t") inText = phonetic === 0;
    },
    text(piece) {
      if (!inText) return;
      text += piece;
      total += piece.length;
      if (total > maximumStringCharacters)
        throw new MillraceError("limit", `its text has more than ${maximumStringCharacters} characters`);
    },
    close(name) {
      if (name === "t") inText = false;
      else if (name === "rPh") phonetic--;
      else if (name === "si") strings.push(unescapeText(text));
    },
  });
  return strings;
}

/** Characters that XML cannot hold are written as `_x000D_`: ECMA-376 part 1, 22.9.2.19. */
function unescapeText(text: string): string {
  return text.includes("_x")
    ? text.replace(/_x([0-9A-Fa-f]{4})_/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    : text;
}

function columnOf(reference: string): number {
  let column = 0;
  for (let index = 0; index < reference.length; index++) {
    const letter = (reference.charCodeAt(index) & ~0x20) - 64;
    if (letter < 1 || letter > 26) break;
    column = column * 26 + letter;
  }
  return column - 1;
}

async function* readRows(
  parts: Package,
  part: string,
  kinds: NumberKind[],
  shared: string[],
): AsyncGenerator<Row, void, undefined> {
  let ready: Row[] = [];
  let row: Row = { number: 0, cells: [] };
  let column = -1;
  let type = "";
  let style = 0;
  let value = "";
  let inValue = false;
  let phonetic = 0;
  const handler: Handler = {
    open(name, attributes) {
      switch (name) {
        case "row":
          row = { number: attributes.r === undefined ? row.number + 1 : Number(attributes.r), cells: [] };
          column = -1;
          break;
        case "c":
          column = attributes.r === undefined ? column + 1 : columnOf(attributes.r);
          if (column < 0 || column >= maximumColumns)
            throw new MillraceError("parse", `row ${row.number} has a cell \`${attributes.r}\``);
          type = attributes.t ?? "n";
          style = Number(attributes.s ?? 0);
          value = "";
          break;
        case "rPh":
          phonetic++;
          break;
        case "v":
          inValue = true;
          break;
        case "t":
          inValue = type === "inlineStr" && phonetic === 0;
          break;
      }
    },
    text(piece) {
      if (inValue) value += piece;
    },
    close(name) {
      if (name === "v" || name === "t") inValue = false;
      else if (name === "rPh") phonetic--;
      else if (name === "c") {
        const cell = cellOf(type, value, kinds[style] ?? "number", shared, row.number);
        if (cell !== undefined) row.cells[column] = cell;
      } else if (name === "row") ready.push(row);
    },
  };
  for await (const _ of parts.parse(part, handler)) {
    const rows = ready;
    ready = [];
    yield* rows;
  }
}

function cellOf(type: string, value: string, kind: NumberKind, shared: string[], row: number): Cell | undefined {
  switch (type) {
    case "s": {
      if (value === "") return undefined;
      const text = shared[Number(value)];
      if (text === undefined)
        throw new MillraceError(
          "parse",
          `row ${row} refers to the shared text ${value}, but there are ${shared.length}`,
        );
      return { kind: "text", text };
    }
    case "inlineStr":
    case "str":
      return { kind: "text", text: unescapeText(value) };
    case "b":
      return { kind: "boolean", value: value === "1" || value === "true" };
    case "e":
      return { kind: "error", text: value };
    case "d":
      return value === "" ? undefined : { kind: "iso", text: value };
    default: {
      if (value.trim() === "") return undefined;
      const number = Number(value);
      if (!Number.isFinite(number))
        throw new MillraceError("parse", `row ${row} has the number \`${value.slice(0, 40)}\``);
      return kind === "number" ? { kind, value: number, text: value } : { kind, value: number };
    }
  }
}

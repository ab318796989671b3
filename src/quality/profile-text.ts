import type { ColumnProfile, Profile } from "./profile.ts";

const blocks = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/** Counts as one character each; an empty bin is a space, so that it differs from a small one. */
export function sparkline(counts: readonly number[], width = 20): string {
  const size = Math.max(1, Math.ceil(counts.length / width));
  const joined: number[] = [];
  for (let index = 0; index < counts.length; index += size) {
    joined.push(counts.slice(index, index + size).reduce((sum, count) => sum + count, 0));
  }
  const most = Math.max(...joined, 1);
  return joined.map((count) => (count === 0 ? " " : blocks[Math.min(7, Math.floor((count / most) * 7.999))])).join("");
}

/** `1.5 k`, `12 M`: at most five characters and a unit. */
export function compactNumber(value: number): string {
  const size = Math.abs(value);
  for (const [unit, scale] of [
    ["T", 1e12],
    ["G", 1e9],
    ["M", 1e6],
    ["k", 1e4],
  ] as const) {
    if (size >= scale && size < 1e15) return `${plain(value / (unit === "k" ? 1e3 : scale))}${unit}`;
  }
  return plain(value);
}

function plain(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e15 || size < 1e-4) return value.toExponential(1);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3)));
}

/** A share as people read it; never `0%` for something and never `100%` for not all. */
export function compactShare(part: number, whole: number): string {
  if (part === 0 || whole === 0) return "0%";
  if (part === whole) return "100%";
  const share = (part / whole) * 100;
  return share < 0.1
    ? "<0.1%"
    : share > 99.9
      ? ">99.9%"
      : `${share < 10 ? Number(share.toFixed(1)) : Math.min(99, Math.round(share))}%`;
}

/** Times keep their minutes, other values what fits. */
function edge(text: string, width: number): string {
  const time = /^(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2})/.exec(text);
  if (time !== null) return time[2] === "00:00" ? time[1]! : `${time[1]} ${time[2]}`;
  const number = /^-?\d+\.\d+$/.test(text) || /^-?\d{10,}$/.test(text) ? compactNumber(Number(text)) : text;
  return cut(number, width);
}

/** The shape of a column in one line. */
export function columnShapeText(column: ColumnProfile, rows: number, width: number): string {
  const known = rows - column.nulls;
  if (known === 0) return rows === 0 ? "" : "only nulls";
  if (column.trueRows !== undefined)
    return `true ${compactShare(column.trueRows, known)}, false ${compactShare(column.falseRows ?? 0, known)}`;
  if (column.histogram !== undefined) {
    const odd = column.notFinite ? `, ${column.notFinite} not finite` : "";
    return `${edge(column.min ?? "", 16)} ${sparkline(column.histogram.counts)} ${edge(column.max ?? "", 16)}${odd}`;
  }
  const unique = column.distinct !== undefined && column.distinct > known * 0.9;
  if (column.top !== undefined && column.top.length > 0 && !(unique && column.top[0]!.rows === 1)) {
    const parts: string[] = [];
    for (const { value, rows: count } of column.top) {
      const part = `${cut(oneLine(value) === "" ? '""' : oneLine(value), 16)} ${compactShare(count, known)}`;
      if ([...parts, part].join(", ").length > width) break;
      parts.push(part);
    }
    return parts.join(", ");
  }
  if (column.length !== undefined) return `length ${column.length.min} to ${column.length.max}`;
  if (column.min !== undefined && column.max !== undefined) {
    return column.min === column.max
      ? `always ${edge(column.min, 30)}`
      : `${edge(oneLine(column.min), 20)} … ${edge(oneLine(column.max), 20)}`;
  }
  return "";
}

const oneLine = (text: string): string => text.replace(/\p{Cc}+/gu, " ").trim();

const segmenter = new Intl.Segmenter();

/** Columns of a terminal that a text takes, near enough: wide scripts and emoji take two. */
function widthOf(text: string): number {
  let width = 0;
  for (const { segment } of segmenter.segment(text)) {
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Extended_Pictographic}/u.test(
        segment,
      )
        ? 2
        : 1;
  }
  return width;
}

export function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let result = "";
  for (const { segment } of segmenter.segment(text)) {
    if (widthOf(result + segment) > width - 1) break;
    result += segment;
  }
  return `${result}…`;
}

function pad(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - widthOf(text)));
}

/** A table of at most `width` characters a line: name, type, nulls, different values, shape. */
export function renderProfileText(profile: Profile, width = 100): string {
  const { rows, columns } = profile;
  const nameWidth = Math.min(24, Math.max(6, ...columns.map((column) => widthOf(oneLine(column.name)))));
  const typeWidth = Math.min(15, Math.max(4, ...columns.map((column) => column.type.length)));
  const rest = Math.max(20, width - nameWidth - typeWidth - 6 - 8 - 8);
  const line = (name: string, type: string, nulls: string, distinct: string, shape: string): string =>
    `${pad(cut(name, nameWidth), nameWidth)}  ${pad(cut(type, typeWidth), typeWidth)}  ${nulls.padStart(6)}  ${distinct.padStart(8)}  ${cut(shape, rest)}`.trimEnd();
  const lines = [`${rows} row${rows === 1 ? "" : "s"}, ${columns.length} column${columns.length === 1 ? "" : "s"}`, ""];
  if (columns.length === 0) return lines[0]!;
  lines.push(line("column", "type", "nulls", "distinct", "values"));
  for (const column of columns) {
    const distinct = column.distinct === undefined ? "" : `~${compactNumber(column.distinct)}`;
    lines.push(
      line(
        oneLine(column.name),
        column.type,
        compactShare(column.nulls, rows),
        distinct,
        columnShapeText(column, rows, rest),
      ),
    );
  }
  return lines.join("\n");
}

import { displayWidth, escapeData, fit } from "./escape.ts";

export interface TableColumn {
  title: string;
  align?: "left" | "right";
  /** What does not fit goes onto further lines instead of being cut off. */
  wrap?: true;
}

const gap = "  ";
const minimumWidth = 6;

function pad(text: string, width: number, align: "left" | "right" | undefined): string {
  const space = " ".repeat(Math.max(0, width - displayWidth(text)));
  return align === "right" ? space + text : text + space;
}

/** Lines of at most `width` cells, broken between words. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let current = "";
  for (const word of text.split(" ")) {
    const longer = current === "" ? word : `${current} ${word}`;
    if (current !== "" && displayWidth(longer) > width) {
      lines.push(current);
      current = word;
    } else current = longer;
  }
  return [...lines, current];
}

/** Takes cells from the widest columns until all fit. */
function shrink(widths: number[], available: number): number[] {
  const result = [...widths];
  let excess = result.reduce((sum, width) => sum + width, 0) - available;
  while (excess > 0) {
    const widest = Math.max(...result);
    if (widest <= minimumWidth) break;
    const next = Math.max(minimumWidth, ...result.filter((width) => width < widest));
    const indexes = result.flatMap((width, index) => (width === widest ? [index] : []));
    const step = Math.min(widest - next || 1, Math.ceil(excess / indexes.length));
    for (const index of indexes) {
      if (excess <= 0) break;
      result[index] = widest - step;
      excess -= step;
    }
  }
  return result;
}

/**
 * Aligned columns under their titles, escaped, no wider than `width` cells (undefined: as wide as the data).
 * Columns that do not fit are left out and counted in a last line.
 */
export function table(columns: readonly TableColumn[], rows: readonly (readonly string[])[], width?: number): string {
  const cells = rows.map((row) => row.map(escapeData));
  const natural = columns.map((column, index) =>
    Math.max(displayWidth(column.title), ...cells.map((row) => displayWidth(row[index] ?? ""))),
  );
  let shown = columns.length;
  let widths = natural;
  if (width !== undefined) {
    const fits = Math.max(1, Math.floor((width + gap.length) / (minimumWidth + gap.length)));
    shown = Math.min(columns.length, fits);
    widths = shrink(natural.slice(0, shown), width - gap.length * (shown - 1));
  }
  const line = (row: readonly string[]): string =>
    row
      .slice(0, shown)
      .map((text, index) => pad(fit(text, widths[index]!), widths[index]!, columns[index]!.align))
      .join(gap)
      .trimEnd();
  const lines = [
    line(columns.map((column) => escapeData(column.title))),
    widths
      .slice(0, shown)
      .map((cell) => "─".repeat(cell))
      .join(gap),
  ];
  for (const row of cells) {
    const wrapped = row.map((text, index) =>
      columns[index]?.wrap && index < shown ? wrap(text, widths[index]!) : [text],
    );
    const height = Math.max(...wrapped.map((parts) => parts.length));
    for (let part = 0; part < height; part++) lines.push(line(wrapped.map((parts) => parts[part] ?? "")));
  }
  if (shown < columns.length) lines.push(`(${columns.length - shown} more columns: use --json, or choose columns)`);
  return lines.join("\n");
}

/** Names and values below each other: `rows  1,200`. */
export function pairs(entries: readonly (readonly [string, string])[]): string {
  const width = Math.max(...entries.map(([name]) => displayWidth(name)));
  return entries.map(([name, value]) => `${pad(name, width, "left")}  ${value}`).join("\n");
}

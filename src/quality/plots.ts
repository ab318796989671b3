import { escapeHtml } from "./escape.ts";
import type { HistoryEntry } from "./html.ts";
import type { ColumnProfile } from "./profile.ts";
import { compactNumber, compactShare, cut } from "./profile-text.ts";

const width = 240;

/** Bars of a histogram or of the commonest values, with a sentence for those who do not see it. Empty where there is nothing to draw. */
export function columnPlot(column: ColumnProfile, rows: number): string {
  const known = rows - column.nulls;
  if (known === 0) return `<span class="soft">${rows === 0 ? "" : "only nulls"}</span>`;
  if (column.histogram !== undefined) return histogramPlot(column);
  const values =
    column.trueRows !== undefined
      ? [
          { value: "true", rows: column.trueRows },
          { value: "false", rows: column.falseRows ?? 0 },
        ]
      : column.top;
  if (values === undefined || values.length === 0 || (values[0]!.rows === 1 && known > values.length)) return "";
  return valuesPlot(column.name, values, known);
}

function histogramPlot(column: ColumnProfile): string {
  const { from, to, counts } = column.histogram!;
  const most = Math.max(...counts, 1);
  const [height, step] = [48, width / counts.length];
  const bars = counts.map((count, index) => {
    if (count === 0) return "";
    const size = Math.max(1, (count / most) * height);
    return `<rect class="bar" x="${(index * step).toFixed(1)}" y="${(height - size).toFixed(1)}" width="${(step - 1).toFixed(1)}" height="${size.toFixed(1)}"/>`;
  });
  const isTime = column.type === "date" || column.type.startsWith("timestamp");
  const edge = (value: number): string => escapeHtml(isTime ? momentText(value) : compactNumber(value));
  const label = `Histogram of ${escapeHtml(column.name)} from ${edge(from)} to ${edge(to)}; the fullest of ${counts.length} bins has ${most} rows`;
  return (
    `<svg role="img" aria-label="${label}" width="${width}" height="${height + 14}" viewBox="0 0 ${width} ${height + 14}">${bars.join("")}` +
    `<text x="0" y="${height + 12}">${edge(from)}</text><text x="${width}" y="${height + 12}" text-anchor="end">${edge(to)}</text></svg>`
  );
}

/** A date, where the moment is one that JavaScript can name. */
function momentText(value: number): string {
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? compactNumber(value) : date.toISOString().slice(0, 10);
}

function valuesPlot(name: string, values: readonly { value: string; rows: number }[], known: number): string {
  const [line, left] = [16, 130];
  const most = Math.max(...values.map((value) => value.rows), 1);
  const rows = values.map(({ value, rows }, index) => {
    const shown = value === "" ? '""' : cut(value, 18);
    const size = (rows / most) * (width - left - 44);
    return (
      `<text x="${left - 6}" y="${index * line + 12}" text-anchor="end">${escapeHtml(shown)}</text>` +
      `<rect class="bar" x="${left}" y="${index * line + 3}" width="${size.toFixed(1)}" height="${line - 6}"/>` +
      `<text x="${(left + size + 4).toFixed(1)}" y="${index * line + 12}">${escapeHtml(compactShare(rows, known))}</text>`
    );
  });
  const label = `Commonest values of ${escapeHtml(name)}: ${values.map(({ value, rows }) => `${escapeHtml(value)} ${escapeHtml(compactShare(rows, known))}`).join(", ")}`;
  const height = values.length * line;
  return `<svg role="img" aria-label="${label}" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">${rows.join("")}</svg>`;
}

/** Rows per version, as a line from the oldest to the newest. */
export function historyPlot(history: readonly HistoryEntry[]): string {
  if (history.length < 2) return "";
  const [wide, height] = [640, 90];
  const most = Math.max(...history.map((entry) => entry.rows), 1);
  const points = history.map(
    (entry, index) =>
      `${((index / (history.length - 1)) * wide).toFixed(1)},${(height - (entry.rows / most) * (height - 6)).toFixed(1)}`,
  );
  const [first, last] = [history[0]!, history.at(-1)!];
  const label = `Rows per version, from ${first.rows} in version ${first.version} to ${last.rows} in version ${last.version}`;
  return (
    `<svg role="img" aria-label="${label}" width="100%" height="${height + 16}" viewBox="0 0 ${wide} ${height + 16}" preserveAspectRatio="none">` +
    `<polyline class="line" points="${points.join(" ")}"/></svg><p class="soft">${label}.</p>`
  );
}

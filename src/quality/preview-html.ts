import type { Column } from "../core/index.ts";
import { escapeHtml } from "./escape.ts";
import { pageStyle } from "./html.ts";
import { card, cardStyle, textBlock, valueText, type PreviewContent, type PreviewRow } from "./preview-card.ts";

export interface PreviewPage extends Partial<PreviewContent> {
  /** `photos@3`, with the split when only that is shown. */
  title: string;
  columns: readonly Column[];
  /** Binary values are `Uint8Array`. */
  rows: readonly PreviewRow[];
}

/** Longer cells scroll. */
const long = 400;

function table(columns: readonly Column[], rows: PreviewPage["rows"]): string {
  const head = columns.map(({ name }) => `<th>${escapeHtml(name)}</th>`).join("");
  const cell = (text: string): string => `<td>${text.length > long ? textBlock(text) : escapeHtml(text)}</td>`;
  const body = rows.map((row) => `<tr>${columns.map(({ name }) => cell(valueText(row[name]))).join("")}</tr>`);
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>${body.join("\n")}</tbody></table></div>`;
}

/**
 * One page of rows that one can look at: cards with pictures, players and text for assets, a table for others. No script, and no network: what the
 * page does not hold are files beside it.
 */
export function renderPreviewHtml({
  title,
  columns,
  rows,
  objects = new Map(),
  files = new Map(),
}: PreviewPage): string {
  const assets = ["uri", "media_type", "sha256"].every((name) => columns.some((column) => column.name === name));
  const shownRows = assets
    ? `<ul class="cards">${rows.map((row) => card(row, columns, { objects, files })).join("\n")}</ul>`
    : table(columns, rows);
  const sources = files.size === 0 ? "data:" : "data: 'self' file:";
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src ${sources}; media-src ${sources}">
<title>${escapeHtml(title)}</title><style>${pageStyle}${cardStyle}</style></head>
<body><h1>${escapeHtml(title)}</h1><p class="soft">${rows.length} rows</p>
${shownRows}
</body></html>
`;
}

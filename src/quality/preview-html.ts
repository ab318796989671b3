import type { Column } from "../core/index.ts";
import { escapeHtml } from "./escape.ts";
import { pageStyle } from "./html.ts";

export interface PreviewPage {
  /** `photos@3`, with the split when only that is shown. */
  title: string;
  columns: readonly Column[];
  /** Binary values are `Uint8Array`. */
  rows: readonly Readonly<Record<string, unknown>>[];
  /** Content of assets by their `object`, as far as it is to be shown. */
  objects?: ReadonlyMap<string, Uint8Array>;
}

const style = `
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); padding: 0; list-style: none; }
.cards > li { border: 1px solid var(--line); border-radius: 6px; background: var(--card); padding: .8rem; overflow: hidden; }
.cards img, .cards video { display: block; width: 100%; height: 11rem; object-fit: contain; background: var(--back); border-radius: 4px; } audio { width: 100%; }
.cards h2 { font-size: .95rem; margin: .6rem 0 .3rem; overflow-wrap: anywhere; } .cards dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .7rem; margin: .4rem 0 0; font-size: .85rem; }
.cards dd { font-size: inherit; overflow-wrap: anywhere; } .cards p.text, summary { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .88rem; } details > p { white-space: pre-wrap; }
`;

/** What a browser shows without running anything. */
const shown = /^(image\/(png|jpeg|gif|webp|avif|bmp|svg\+xml)|audio\/[\w.-]+|video\/[\w.-]+)$/;
/** Longer text is folded after so many characters. */
const folded = 400;
/** Facts of an asset that its card says elsewhere, or that nobody reads. */
const unlisted = new Set(["uri", "bytes", "object", "thumbnail", "text", "sha256", "exif", "metadata"]);

function dataUri(mediaType: string, bytes: Uint8Array): string {
  return `data:${mediaType};base64,${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64")}`;
}

function valueText(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(6)));
  if (typeof value === "object")
    return JSON.stringify(value, (_, one: unknown) => (typeof one === "bigint" ? String(one) : one));
  return String(value as string | number | bigint | boolean);
}

function textBlock(text: string): string {
  if (text.length <= folded) return `<p class="text">${escapeHtml(text)}</p>`;
  return `<details><summary>${escapeHtml(text.slice(0, folded))} …</summary><p>${escapeHtml(text.slice(folded))}</p></details>`;
}

/** The picture, player or nothing of an asset. */
function media(row: Readonly<Record<string, unknown>>, objects: ReadonlyMap<string, Uint8Array>): string {
  const mediaType = valueText(row["media_type"]);
  const name = escapeHtml(valueText(row["uri"]));
  const { thumbnail, bytes, object } = row;
  if (thumbnail instanceof Uint8Array) return `<img alt="${name}" src="${dataUri("image/jpeg", thumbnail)}">`;
  const content = bytes instanceof Uint8Array ? bytes : typeof object === "string" ? objects.get(object) : undefined;
  if (content === undefined || !shown.test(mediaType)) return "";
  const source = escapeHtml(dataUri(mediaType, content));
  if (mediaType.startsWith("image/")) return `<img alt="${name}" src="${source}">`;
  return mediaType.startsWith("audio/")
    ? `<audio controls src="${source}"></audio>`
    : `<video controls src="${source}"></video>`;
}

function card(
  row: Readonly<Record<string, unknown>>,
  columns: readonly Column[],
  objects: ReadonlyMap<string, Uint8Array>,
): string {
  const facts = columns
    .filter(({ name }) => !unlisted.has(name) && valueText(row[name]) !== "")
    .map(({ name }) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(valueText(row[name]).slice(0, folded))}</dd>`);
  const text = valueText(row["text"]);
  return `<li>${media(row, objects)}<h2>${escapeHtml(valueText(row["uri"]))}</h2>${text === "" ? "" : textBlock(text)}<dl>${facts.join("")}</dl></li>`;
}

function table(columns: readonly Column[], rows: PreviewPage["rows"]): string {
  const head = columns.map(({ name }) => `<th>${escapeHtml(name)}</th>`).join("");
  const body = rows.map(
    (row) => `<tr>${columns.map(({ name }) => `<td>${textBlock(valueText(row[name]))}</td>`).join("")}</tr>`,
  );
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>${body.join("\n")}</tbody></table></div>`;
}

/** One page of rows that one can look at: cards with pictures, players and text for assets, a table for others. No script, no network. */
export function renderPreviewHtml({ title, columns, rows, objects = new Map() }: PreviewPage): string {
  const assets = ["uri", "media_type", "sha256"].every((name) => columns.some((column) => column.name === name));
  const shownRows = assets
    ? `<ul class="cards">${rows.map((row) => card(row, columns, objects)).join("\n")}</ul>`
    : table(columns, rows);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:">
<title>${escapeHtml(title)}</title><style>${pageStyle}${style}</style></head>
<body><h1>${escapeHtml(title)}</h1><p class="soft">${rows.length} rows</p>
${shownRows}
</body></html>
`;
}

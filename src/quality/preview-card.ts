import type { Column } from "../core/index.ts";
import { escapeHtml } from "./escape.ts";

export type PreviewRow = Readonly<Record<string, unknown>>;

/** The content of the assets of a page. */
export interface PreviewContent {
  /** Bytes that go into the page, by the `object` of a row. */
  objects: ReadonlyMap<string, Uint8Array>;
  /** Addresses of what is too large for that, relative to the page, by row. */
  files: ReadonlyMap<PreviewRow, string>;
}

export const cardStyle = `
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); grid-auto-flow: row dense; padding: 0; list-style: none; }
.cards > li { border: 1px solid var(--line); border-radius: 6px; background: var(--card); padding: .8rem; overflow: hidden; }
.cards img, .cards video { display: block; width: 100%; height: 11rem; object-fit: contain; background: var(--back); border-radius: 4px; } audio { display: block; width: 100%; }
.cards h2 { font-size: .95rem; margin: .6rem 0 .3rem; overflow-wrap: anywhere; } .cards h2 small { display: block; color: var(--soft); font-weight: 400; }
.cards dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .1rem .7rem; margin: .4rem 0 0; font-size: .85rem; } .cards dd { font-size: inherit; overflow-wrap: anywhere; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; overflow-y: auto; max-height: 16rem; font-size: .88rem; } .cards > li.wide { grid-column: span 2; } dd .text { max-height: 8rem; }
@media (max-width: 40rem) { .cards > li.wide { grid-column: auto; } } @media print { .text { max-height: none; } .cards > li { break-inside: avoid; } }
`;

/** What a browser shows without running anything. */
const shown = /^(image\/(png|jpeg|gif|webp|avif|bmp|svg\+xml)|audio\/[\w.+-]+|video\/[\w.+-]+)$/;
/** Longer values of facts are blocks of text. */
const short = 200;
/** Of longer texts the page holds so many characters. */
const readable = 20_000;
/** Facts of an asset that its card says elsewhere, or that nobody reads. */
const unlisted = new Set(
  "uri bytes object thumbnail image samples sha256 text title page chunk exif metadata tags".split(" "),
);

/** True when a page can show or play it: content of other types stays out of pages. */
export function isShown(mediaType: unknown): boolean {
  return typeof mediaType === "string" && shown.test(mediaType);
}

function dataUri(mediaType: string, bytes: Uint8Array): string {
  return `data:${mediaType};base64,${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64")}`;
}

export function valueText(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(6)));
  if (typeof value === "object")
    return JSON.stringify(value, (_, one: unknown) => (typeof one === "bigint" ? String(one) : one));
  return String(value as string | number | bigint | boolean);
}

/** A text that scrolls when it is long, in its own language and direction. */
export function textBlock(text: string, language?: unknown): string {
  const spoken = typeof language === "string" && /^[a-z]{2,3}$/.test(language) ? ` lang="${language}"` : "";
  const rest = text.length - readable;
  // Half of a pair of surrogates is no character.
  const start = rest > 0 ? text.slice(0, readable).replace(/[\uD800-\uDBFF]$/, "") : text;
  const more = rest > 0 ? `<p class="soft">… and ${rest} more characters</p>` : "";
  return `<div class="text" dir="auto"${spoken} tabindex="0">${escapeHtml(start)}</div>${more}`;
}

/** The type of a picture by its first bytes: thumbnails, frames of films, slices of scans. */
function pictureType(value: unknown): string | undefined {
  if (!(value instanceof Uint8Array)) return undefined;
  const start = Buffer.from(value.buffer, value.byteOffset, Math.min(value.byteLength, 12)).toString("latin1");
  if (start.startsWith("\xFF\xD8\xFF")) return "image/jpeg";
  if (start.startsWith("\x89PNG")) return "image/png";
  return /^RIFF.{4}WEBP$/s.test(start) ? "image/webp" : undefined;
}

/** The picture of a row in a column: its thumbnail, its frame, or any other that is one. */
function picture(row: PreviewRow, columns: readonly Column[]): string | undefined {
  const binary = columns.filter(({ name, type }) => type === "binary" && name !== "bytes").map(({ name }) => name);
  for (const name of new Set(["thumbnail", "image", ...binary])) {
    const type = pictureType(row[name]);
    if (type !== undefined) return dataUri(type, row[name] as Uint8Array);
  }
  return undefined;
}

/** Where the content of an asset can be had: in the page, or in a file beside it. */
function address(row: PreviewRow, mediaType: string, { objects, files }: PreviewContent): string | undefined {
  if (!isShown(mediaType)) return undefined;
  const { bytes, object } = row;
  const content = bytes instanceof Uint8Array ? bytes : typeof object === "string" ? objects.get(object) : undefined;
  return content === undefined ? files.get(row) : dataUri(mediaType, content);
}

/** The player or picture of an asset, or nothing. */
function media(row: PreviewRow, columns: readonly Column[], content: PreviewContent): string {
  const mediaType = valueText(row["media_type"]);
  const name = escapeHtml(valueText(row["uri"]));
  const still = picture(row, columns);
  const image = (source: string): string => `<img alt="${name}" loading="lazy" src="${escapeHtml(source)}">`;
  // A segment is heard by itself, and not as all of its recording.
  const source =
    row["samples"] instanceof Uint8Array ? dataUri("audio/wav", row["samples"]) : address(row, mediaType, content);
  if (source === undefined || mediaType.startsWith("image/")) {
    const shownImage = still ?? source;
    return shownImage === undefined ? "" : image(shownImage);
  }
  const lazily = source.startsWith("data:") ? "" : ' preload="metadata"';
  if (!mediaType.startsWith("video/") || row["samples"] instanceof Uint8Array) {
    return `${still === undefined ? "" : image(still)}<audio controls${lazily} src="${escapeHtml(source)}"></audio>`;
  }
  const poster = still === undefined ? "" : ` poster="${still}"`;
  return `<video controls${lazily}${poster} src="${escapeHtml(source)}"></video>`;
}

/** `Annual report · page 3 · chunk 2` */
function caption(row: PreviewRow): string {
  const parts = [
    valueText(row["title"]),
    ...["page", "chunk"].map((name) => (valueText(row[name]) === "" ? "" : `${name} ${valueText(row[name])}`)),
  ].filter((part) => part !== "");
  return parts.length === 0 ? "" : `<small>${escapeHtml(parts.join(" · "))}</small>`;
}

function fact(name: string, text: string): string {
  const value = text.length > short ? textBlock(text) : escapeHtml(text);
  return `<dt>${escapeHtml(name)}</dt><dd>${value}</dd>`;
}

/** An asset as one can look at it, listen to it or read it. */
export function card(row: PreviewRow, columns: readonly Column[], content: PreviewContent): string {
  const facts = columns
    .filter(({ name, type }) => !unlisted.has(name) && type !== "binary" && !/^(\[\]|)$/.test(valueText(row[name])))
    .map(({ name }) => fact(name, valueText(row[name])));
  const text = valueText(row["text"]);
  const block = text === "" ? "" : textBlock(text, row["language"]);
  return `<li${text.length > short ? ' class="wide"' : ""}>${media(row, columns, content)}<h2>${escapeHtml(valueText(row["uri"]))}${caption(row)}</h2>${block}<dl>${facts.join("")}</dl></li>`;
}

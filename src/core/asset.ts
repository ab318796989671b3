import type { Column } from "./types.ts";

/** The columns that every asset has; those of its format follow. */
export const assetColumns: readonly Column[] = [
  { name: "uri", type: "string", doc: "Where the asset was read." },
  { name: "media_type", type: "string", doc: "Sniffed from its content." },
  { name: "size", type: "long", doc: "Bytes." },
  { name: "sha256", type: "string", doc: "Lower-case hexadecimal." },
  { name: "modified", type: "timestamptz", doc: "When the source says it was changed." },
  {
    name: "bytes",
    type: "binary",
    doc: "The content, in the first row of the asset; null when it is kept as an object or not at all.",
  },
  { name: "object", type: "string", doc: "Path of the content in the store, named by its sha256." },
];

/** What is known of an asset before anybody parses it. Survives JSON. */
export interface AssetFacts {
  uri: string;
  mediaType: string;
  size: number;
  /** Lower-case hexadecimal. */
  sha256: string;
  /** Milliseconds since the epoch. */
  modified: number;
  /** Put the content into the row. */
  inline: boolean;
  /** Path of the content in the store. */
  object?: string;
}

/** Keeps the content of a local file in the store, once for all assets that are equal. Gives its path there. Durable when it resolves. */
export type KeepAsset = (file: string, sha256: string, size: number) => Promise<string>;

/** Latin-1, at the offset given; the first that fits counts. */
const magics: readonly [offset: number, magic: string, mediaType: string][] = [
  [0, "%PDF-", "application/pdf"],
  [0, "\x89PNG\r\n\x1a\n", "image/png"],
  [0, "\xff\xd8\xff", "image/jpeg"],
  [0, "GIF87a", "image/gif"],
  [0, "GIF89a", "image/gif"],
  [0, "II*\0", "image/tiff"],
  [0, "MM\0*", "image/tiff"],
  [0, "II+\0", "image/tiff"],
  [0, "MM\0+", "image/tiff"],
  [0, "BM", "image/bmp"],
  [8, "WEBP", "image/webp"],
  [8, "WAVE", "audio/wav"],
  [8, "AVI ", "video/x-msvideo"],
  [8, "AIFF", "audio/aiff"],
  [8, "AIFC", "audio/aiff"],
  [0, "FLV\x01", "video/x-flv"],
  [4, "ftypavif", "image/avif"],
  [4, "ftypavis", "image/avif"],
  [4, "ftypheic", "image/heic"],
  [4, "ftypmif1", "image/heif"],
  [4, "ftypM4A", "audio/mp4"],
  [4, "ftypM4B", "audio/mp4"],
  [4, "ftypqt", "video/quicktime"],
  [4, "ftyp3g", "video/3gpp"],
  [4, "ftyp", "video/mp4"],
  [4, "moov", "video/quicktime"],
  [0, "OggS", "audio/ogg"],
  [0, "fLaC", "audio/flac"],
  [0, "ID3", "audio/mpeg"],
  [0, "\xff\xf1", "audio/aac"],
  [0, "\xff\xf9", "audio/aac"],
  [0, "#!AMR", "audio/amr"],
  [128, "DICM", "application/dicom"],
  [344, "n+1\0", "application/x-nifti"],
  [344, "ni1\0", "application/x-nifti"],
  [0, "{\\rtf", "application/rtf"],
  [0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"],
  [0, "\x1f\x8b", "application/gzip"],
];

/** What a zip archive is, by the names of its first entries. */
const zips: readonly [inside: string, mediaType: string][] = [
  ["mimetypeapplication/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"],
  ["mimetypeapplication/epub+zip", "application/epub+zip"],
  ["word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"],
  ["ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"],
  ["xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"],
];

/** Text tells its kind by its name, once its content does not contradict it. */
const textTypes: Record<string, string> = {
  html: "text/html",
  htm: "text/html",
  xhtml: "text/html",
  md: "text/markdown",
  markdown: "text/markdown",
  eml: "message/rfc822",
  json: "application/json",
  csv: "text/csv",
  xml: "application/xml",
  svg: "image/svg+xml",
};

/** The header of a frame of MPEG audio, layers I to III (ISO/IEC 11172-3, 2.4.1.3): sync, a layer, a bit rate and a sampling rate. */
function isMpegFrame([first = 0, second = 0, third = 0]: Uint8Array): boolean {
  const version = (second >> 3) & 3;
  const layer = (second >> 1) & 3;
  return (
    first === 0xff && second >= 0xe0 && version !== 1 && layer !== 0 && third >> 4 !== 15 && ((third >> 2) & 3) !== 3
  );
}

const binaryByte = (byte: number): boolean => byte < 9 || (byte > 13 && byte < 32 && byte !== 27);

/**
 * The media type of a file by its first bytes (4 KiB or more of them); the name only decides between kinds of text.
 * `application/octet-stream` for what is none of those known.
 */
export function sniffMediaType(head: Uint8Array, name: string): string {
  const bytes = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, 8192));
  const latin = bytes.toString("latin1");
  if (latin.startsWith("PK\x03\x04")) {
    return zips.find(([inside]) => latin.includes(inside))?.[1] ?? "application/zip";
  }
  if (latin.startsWith("\x1aE\xdf\xa3")) return latin.slice(0, 64).includes("webm") ? "video/webm" : "video/x-matroska";
  // Packets of 188 bytes, each with its mark.
  if (latin[0] === "G" && latin[188] === "G" && latin[376] === "G") return "video/mp2t";
  for (const [offset, magic, mediaType] of magics) if (latin.startsWith(magic, offset)) return mediaType;
  if (isMpegFrame(bytes)) return "audio/mpeg";
  // A PDF may begin with something else.
  if (latin.slice(0, 1024).includes("%PDF-")) return "application/pdf";
  const marked = latin.startsWith("\xff\xfe") || latin.startsWith("\xfe\xff");
  if (!marked && bytes.some(binaryByte)) return "application/octet-stream";
  const start = latin
    .replace(/^\xef\xbb\xbf/, "")
    .trimStart()
    .slice(0, 512)
    .toLowerCase();
  if (/^(<!--[^]*?-->\s*)?<(!doctype html|html|head|body)\b/.test(start)) return "text/html";
  const extension = /\.([^./\\]+)$/.exec(name)?.[1]?.toLowerCase() ?? "";
  if (Object.hasOwn(textTypes, extension)) return textTypes[extension]!;
  if (start.startsWith("<?xml")) return start.includes("<svg") ? "image/svg+xml" : "application/xml";
  if (start.startsWith("<svg")) return "image/svg+xml";
  if (/^(from|received|return-path|message-id|delivered-to|mime-version|date|subject|to|x-[a-z-]+): .*\n/.test(start))
    return "message/rfc822";
  return "text/plain";
}

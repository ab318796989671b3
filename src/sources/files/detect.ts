import { MillraceError, sniffMediaType, type RandomAccess } from "../../core/index.ts";
import type { Container } from "../../sandbox/index.ts";
import { foreignKind, isBinary } from "./foreign.ts";

export const headBytes = 64 * 1024;

/** What a file is, by its first bytes and its name. */
export interface Nature {
  container: Container;
  /** Undefined for a container whose content must be looked at first. */
  format?: string;
  /** A label of the WHATWG encoding standard when the text is not UTF-8 without mark. */
  encoding?: string;
}

const byExtension: Record<string, string> = {
  csv: "csv",
  txt: "csv",
  psv: "csv",
  tsv: "tsv",
  tab: "tsv",
  json: "json",
  geojson: "json",
  ndjson: "ndjson",
  jsonl: "ndjson",
  geojsonl: "ndjson",
  parquet: "parquet",
  pq: "parquet",
  parq: "parquet",
  arrow: "arrow",
  arrows: "arrow",
  feather: "arrow",
  ipc: "arrow",
  avro: "avro",
  xlsx: "excel",
  xlsm: "excel",
};

const containerExtension = /\.(gz|gzip|zst|zstd|bz2|bzip2|zip)$/i;

export function formatOfName(name: string): string | undefined {
  const extension = /\.([^./\\]+)$/.exec(name.replace(containerExtension, ""))?.[1]?.toLowerCase();
  return extension === undefined ? undefined : byExtension[extension];
}

/** Whether the name says that the file is wrapped in something. */
export function stripContainer(name: string): string {
  return name.replace(containerExtension, "");
}

export async function readHead(bytes: RandomAccess): Promise<Buffer> {
  return Buffer.from(await bytes.read(0, Math.min(headBytes, bytes.size)));
}

function startsWith(head: Buffer, ...bytes: number[]): boolean {
  return head.length >= bytes.length && bytes.every((byte, index) => head[index] === byte);
}

/** What an asset is wrapped in: only archives of assets are opened. Office documents are none, and an export of a chat is one whole. */
export function detectAsset(head: Buffer, name: string, format: string): Container {
  if (format === "chat") return "none";
  return sniffMediaType(head, name) === "application/zip" ? "zip" : "none";
}

/** Throws `unsupported`, with the name as people know it, for what is known and cannot be read. */
export function detect(name: string, head: Buffer, shown = name): Nature {
  const refuse = (what: string, hint: string): never => {
    throw new MillraceError("unsupported", `\`${shown}\` is ${what}, which cannot be read`, {
      where: { file: shown },
      hint,
    });
  };
  if (startsWith(head, 0x1f, 0x8b)) return { container: "gzip" };
  if (startsWith(head, 0x28, 0xb5, 0x2f, 0xfd)) return { container: "zstd" };
  if (head.length >= 4 && head.toString("latin1", 0, 3) === "BZh" && head[3]! >= 0x31 && head[3]! <= 0x39)
    return { container: "bzip2" };
  if (startsWith(head, 0x50, 0x4b, 0x03, 0x04) || startsWith(head, 0x50, 0x4b, 0x05, 0x06)) {
    // An xlsx file is a zip archive with a workbook in it; its content types come first in nearly all.
    const workbook = formatOfName(name) === "excel" || (!/\.zip$/i.test(name) && head.includes("xl/workbook.xml"));
    if (workbook) return { container: "none", format: "excel" };
    if (/\.(ods|docx|pptx|odt|jar|xlsb)$/i.test(name))
      refuse("an office document other than xlsx", "save it as .xlsx or .csv");
    return { container: "zip" };
  }
  const magic = head.toString("latin1", 0, 6);
  if (magic.startsWith("PAR1")) return { container: "none", format: "parquet" };
  if (magic.startsWith("PARE")) refuse("a Parquet file with an encrypted footer", "decrypt it first");
  if (magic === "ARROW1") return { container: "none", format: "arrow" };
  if (magic.startsWith("Obj\x01")) return { container: "none", format: "avro" };
  if (magic.startsWith("ORC")) refuse("an ORC file", "convert it to Parquet");
  if (startsWith(head, 0xd0, 0xcf, 0x11, 0xe0))
    refuse("an old Excel file (.xls) or an encrypted workbook", "save it as .xlsx without a password");
  const named = formatOfName(name);
  const foreign = named === undefined ? foreignKind(name, head) : undefined;
  if (foreign !== undefined) refuse(foreign, "leave it out of `path`, or say with `format` what it is");
  // The first message of an Arrow stream: a continuation mark and a length below 16 MiB.
  if (startsWith(head, 0xff, 0xff, 0xff, 0xff) && head.length > 8 && head[7] === 0)
    return { container: "none", format: "arrow" };
  if (named !== undefined && !["csv", "tsv", "json", "ndjson"].includes(named))
    return { container: "none", format: named };

  let encoding: string | undefined;
  let text = head;
  if (startsWith(head, 0xef, 0xbb, 0xbf)) {
    text = head.subarray(3);
    encoding = "utf-8";
  } else if (startsWith(head, 0xff, 0xfe)) encoding = "utf-16le";
  else if (startsWith(head, 0xfe, 0xff)) encoding = "utf-16be";
  if (named === undefined && encoding === undefined && isBinary(head))
    refuse("a file of an unknown kind, and not text", "leave it out of `path`, or say with `format` what it is");
  const words = new TextDecoder(encoding ?? "utf-8").decode(text);
  if (/^\s*<(!doctype\s+html|html[\s>])/i.test(words)) {
    refuse("an HTML page", "open it: servers answer so when they want a login, or have no such file");
  }
  const format = textFormat(named, words, head.length === headBytes);
  // The engine skips a UTF-8 mark in delimited text, but not in JSON.
  if (encoding === "utf-8" && (format === "csv" || format === "tsv")) encoding = undefined;
  return { container: "none", format, ...(encoding === undefined ? {} : { encoding }) };
}

function textFormat(named: string | undefined, words: string, cut: boolean): string {
  if (named === "csv" || named === "tsv") return named;
  // A first line that is only a brace opens a document over many lines, whatever the name says.
  if (named === "ndjson") return /^\s*[[{]\s*\n/.test(words) ? "json" : named;
  const first = words.trimStart()[0];
  if (first !== "{" && first !== "[") return named ?? "csv";
  // One value a line, or one document over many lines?
  const lines = words
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  if (cut && lines.length > 1) lines.pop();
  return lines.length > 1 &&
    lines
      .slice(0, 20)
      .every((line) => (line.startsWith("{") && line.endsWith("}")) || (line.startsWith("[") && line.endsWith("]")))
    ? "ndjson"
    : "json";
}

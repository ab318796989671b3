import { closeSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { MillraceError, type Converted, type FileRef } from "../../core/index.ts";
import { AssetRows, type AssetConvertOptions } from "../asset-rows.ts";
import { decodeText } from "../plain-text.ts";
import { headerOf } from "../values.ts";
import { readCoco } from "./coco.ts";
import { columns, labelColumns, rowOf, type Label } from "./columns.ts";
import type { LabelsOptions } from "./index.ts";
import { readLabelStudio } from "./label-studio.ts";
import { readXml } from "./xml.ts";
import { readYolo } from "./yolo.ts";

type Options = AssetConvertOptions & Partial<LabelsOptions>;

/** Lines of one image. */
const maximumText = 64 * 1024 ** 2;

/** The labels of one file. */
export default async function* convert(file: FileRef, options: Options): AsyncIterable<Converted> {
  yield headerOf([...(options.columns ?? columns)]);
  const rows = new AssetRows(file, options, labelColumns);
  for await (const label of labelsOf(file, options)) {
    rows.add(rowOf(options.annotators === "drop" ? { ...label, annotator: undefined } : label));
    const text = rows.take();
    if (text !== undefined) yield text;
  }
  const rest = rows.take(true);
  if (rest !== undefined) yield rest;
  yield { rows: rows.rows };
}

/** The tool is told by the first bytes, since all of them call their files anything. */
function labelsOf(file: FileRef, options: Options): AsyncIterable<Label> | Iterable<Label> {
  const start = headOf(file.path)
    .replace(/^\ufeff/, "")
    .trimStart();
  if (start.startsWith("{")) return readCoco(file.path);
  if (start.startsWith("[")) return readLabelStudio(file.path);
  if (start.startsWith("<")) return readXml(file.path, options.voc_first_pixel ?? 1);
  if (start !== "" && !/^\d+[ \t]+-?[\d.]/.test(start)) {
    throw new MillraceError("parse", "it holds labels of no tool that is known", {
      hint: "COCO, YOLO, Pascal VOC, Label Studio (JSON) and CVAT (XML) are",
    });
  }
  if (statSync(file.path).size > maximumText)
    throw new MillraceError("limit", "labels of one image in more than 64 MiB");
  return readYolo(decodeText(readFileSync(file.path)), file.name, options.classes);
}

function headOf(path: string): string {
  const file = openSync(path, "r");
  try {
    const head = Buffer.alloc(4096);
    return head.toString("utf8", 0, readSync(file, head, 0, head.length, 0));
  } finally {
    closeSync(file);
  }
}

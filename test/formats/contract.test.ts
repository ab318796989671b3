import * as arrow from "apache-arrow";
import avro from "avsc";
import { readFileSync } from "node:fs";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { writeArrayBuffer } from "geotiff";
import sharp from "sharp";
import { afterAll, expect, test } from "vitest";
import type { FormatDefinition } from "../../src/core/index.ts";
import { wav } from "../../src/formats/audio/wav.ts";
import { registry } from "../../src/registry.ts";
import { assetFormatContract, type AssetFormatContract } from "../contracts/asset-format.ts";
import { formatContract, type FormatContract } from "../contracts/format.ts";
import { requireFfmpeg } from "../services/ffmpeg.ts";
import { zip } from "../sources/zip.ts";
import { dicomFile, niftiFile } from "./scans.ts";

type Rows = readonly { id: number; text: string }[];
type Subject = Omit<FormatContract, "name" | "definition">;

const text = (lines: readonly string[]): Uint8Array => Buffer.from(lines.map((line) => `${line}\n`).join(""));
const delimited =
  (by: string) =>
  (rows: Rows): string[] => [`id${by}text`, ...rows.map((row) => `${row.id}${by}${row.text}`)];
const lines = (rows: Rows): string[] => rows.map((row) => JSON.stringify(row));

function arrowFile(rows: Rows): Uint8Array {
  const table = new arrow.Table({
    id: arrow.vectorFromArray(
      rows.map(({ id }) => BigInt(id)),
      new arrow.Int64(),
    ),
    text: arrow.vectorFromArray(
      rows.map((row) => row.text),
      new arrow.Utf8(),
    ),
  });
  return arrow.tableToIPC(table, "file");
}

const avroType = avro.Type.forSchema({
  type: "record",
  name: "row",
  fields: [
    { name: "id", type: "int" },
    { name: "text", type: "string" },
  ],
});
/** An object container file: Avro 1.11, "Object Container Files"; one block, with a marker that is the same each time. */
function avroFile(rows: Rows): Uint8Array {
  const marker = Buffer.alloc(16, 7);
  const long = (value: number): Buffer => avro.Type.forSchema("long").toBuffer(value);
  const meta = avro.Type.forSchema({ type: "map", values: "bytes" }).toBuffer({
    "avro.schema": Buffer.from(JSON.stringify(avroType.schema())),
    "avro.codec": Buffer.from("null"),
  });
  const body = Buffer.concat(rows.map((row) => avroType.toBuffer(row)));
  const block = rows.length === 0 ? [] : [long(rows.length), long(body.length), body, marker];
  return Buffer.concat([Buffer.from("Obj\x01", "latin1"), meta, marker, ...block]);
}

function workbook(rows: Rows): Uint8Array {
  const cell = (value: string): string => `<c t="inlineStr"><is><t>${value}</t></is></c>`;
  const head = `<row>${cell("id")}${cell("text")}</row>`;
  const body = rows.map((row) => `<row><c><v>${row.id}</v></c>${cell(row.text)}</row>`).join("");
  const main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
  const relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
  const packageRelations = "http://schemas.openxmlformats.org/package/2006/relationships";
  return zip({
    "[Content_Types].xml": `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>`,
    "_rels/.rels": `<Relationships xmlns="${packageRelations}"><Relationship Id="r1" Type="${relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>`,
    "xl/workbook.xml": `<workbook xmlns="${main}" xmlns:r="${relations}"><sheets><sheet name="one" sheetId="1" r:id="r1"/></sheets></workbook>`,
    "xl/_rels/workbook.xml.rels": `<Relationships xmlns="${packageRelations}"><Relationship Id="r1" Type="${relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>`,
    "xl/worksheets/sheet1.xml": `<worksheet xmlns="${main}"><sheetData>${head}${body}</sheetData></worksheet>`,
  });
}

const folder = mkdtempSync(join(tmpdir(), "millrace-parquet-"));
const parquets = new Map<number, Uint8Array>();
{
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  for (const rows of [0, 1, 6]) {
    const file = join(folder, `${rows}.parquet`);
    await connection.run(
      `COPY (SELECT range::BIGINT AS id, 'text ' || range || ' é' AS text FROM range(${rows})) TO '${file}' (FORMAT parquet)`,
    );
    parquets.set(rows, readFileSync(file));
  }
  connection.closeSync();
  instance.closeSync();
}

/** Text says no types: numbers with a point are inferred as floating point unless `types` says otherwise. */
const inferred = {
  "DECIMAL(18,2)": "inferred as double",
  "DECIMAL(38,10)": "inferred as double",
};

const subjects: Record<string, Subject> = {
  arrow: { lines: false, sample: arrowFile, headerOnly: arrowFile([]) },
  avro: { lines: false, sample: avroFile, headerOnly: avroFile([]) },
  csv: {
    lossy: inferred,
    lines: true,
    sample: (rows) => text(delimited(",")(rows)),
    headerOnly: text(["id,text"]),
    oneBad: (rows) => text([...delimited(",")(rows), "7,a,b,c"]),
  },
  excel: { lines: false, sample: workbook, headerOnly: workbook([]) },
  json: { lines: false, lossy: inferred, sample: (rows) => Buffer.from(`[${lines(rows).join(",\n")}]`) },
  ndjson: {
    lossy: inferred,
    lines: true,
    sample: (rows) => text(lines(rows)),
    oneBad: (rows) => text([...lines(rows), '{"id": 7, "text": ']),
  },
  parquet: { lines: false, sample: (rows) => parquets.get(rows.length)!, headerOnly: parquets.get(0)! },
  tsv: {
    lossy: inferred,
    lines: true,
    sample: (rows) => text(delimited("\t")(rows)),
    headerOnly: text(["id\ttext"]),
    oneBad: (rows) => text([...delimited("\t")(rows), "7\ta\tb\tc"]),
  },
};

const definitions = new Map<string, FormatDefinition>();
for (const [name, entry] of Object.entries(registry.formats)) definitions.set(name, await entry.load());

const ffmpeg = await requireFfmpeg();
const film = join(folder, "film.mkv");
await ffmpeg.make("-f", "lavfi", "-i", "testsrc=size=64x48:rate=5:duration=2", "-c:v", "mpeg4", "-bitexact", film);

const assets: Record<string, AssetFormatContract["sample"]> = {
  audio: {
    bytes: wav(Buffer.from(Int16Array.from({ length: 4000 }, (_, at) => 9000 * Math.sin(at / 5)).buffer), 8000),
    mediaType: "audio/wav",
    rows: 1,
  },
  chat: {
    bytes: Buffer.from("1/23/24, 10:00 - Ada: hello\n1/23/24, 10:01 - Bob: and\nmore\n"),
    mediaType: "text/plain",
    rows: 2,
  },
  dicom: { bytes: dicomFile(), mediaType: "application/dicom", rows: 1 },
  documents: {
    bytes: Buffer.from(
      "{\\rtf1\\ansi{\\info{\\title Letter}}\\f0 The quick brown fox jumps over the lazy dog.\\par And once more.}",
    ),
    mediaType: "application/rtf",
    rows: 1,
  },
  geotiff: {
    bytes: new Uint8Array(
      writeArrayBuffer(
        new Float32Array(600).map((_, at) => Math.sin(at)),
        {
          width: 30,
          height: 20,
          GeographicTypeGeoKey: 4326,
          ModelPixelScale: [0.1, 0.1, 0],
          ModelTiepoint: [0, 0, 0, 7, 51, 0],
        },
      ) as ArrayBuffer,
    ),
    mediaType: "image/tiff",
    rows: 1,
  },
  images: {
    bytes: await sharp({ create: { width: 40, height: 30, channels: 3, background: "#369" } })
      .png()
      .toBuffer(),
    mediaType: "image/png",
    rows: 1,
  },
};

assets["labels"] = {
  bytes: Buffer.from(
    JSON.stringify({
      images: [{ id: 1, file_name: "a.jpg", width: 100, height: 50 }],
      categories: [{ id: 7, name: "cat" }],
      annotations: [1, 2, 3].map((id) => ({ id, image_id: 1, category_id: 7, bbox: [id, 2, 30, 20], iscrowd: 0 })),
    }),
  ),
  mediaType: "text/plain",
  rows: 3,
};
assets["nifti"] = { bytes: niftiFile(), mediaType: "application/x-nifti", rows: 1 };
assets["video"] = { bytes: readFileSync(film), mediaType: "video/x-matroska", rows: 2 };

test("every format of the registry has a subject", () => {
  expect(Object.keys({ ...subjects, ...assets }).toSorted()).toEqual([...definitions.keys()].toSorted());
});

afterAll(() => rm(folder, { recursive: true, force: true }));

for (const [name, definition] of definitions) {
  const subject = subjects[name];
  if (subject !== undefined) formatContract({ name, definition, ...subject });
  const sample = assets[name];
  if (sample !== undefined) assetFormatContract({ name, definition, sample });
}

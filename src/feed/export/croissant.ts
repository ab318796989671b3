import { parseDecimal, type Column, type DataType } from "../../core/index.ts";
import type { Manifest } from "./manifest.ts";

/*
 * Croissant 1.1 (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html): a description of a dataset in JSON-LD, by which its
 * files are found, held to their checksums and read as records.
 */

/** What only its owner knows of a dataset. */
export interface About {
  description?: string | undefined;
  license?: string | undefined;
  citation?: string | undefined;
  url?: string | undefined;
  creators?: string[] | undefined;
}

type Json = Record<string, unknown>;

const context: Json = {
  "@language": "en",
  "@vocab": "https://schema.org/",
  arrayShape: "cr:arrayShape",
  citeAs: "cr:citeAs",
  column: "cr:column",
  conformsTo: "dct:conformsTo",
  containedIn: "cr:containedIn",
  cr: "http://mlcommons.org/croissant/",
  data: { "@id": "cr:data", "@type": "@json" },
  dataType: { "@id": "cr:dataType", "@type": "@vocab" },
  dct: "http://purl.org/dc/terms/",
  description: { "@container": "@language" },
  equivalentProperty: "cr:equivalentProperty",
  examples: { "@id": "cr:examples", "@type": "@json" },
  extract: "cr:extract",
  field: "cr:field",
  fileObject: "cr:fileObject",
  fileProperty: "cr:fileProperty",
  fileSet: "cr:fileSet",
  format: "cr:format",
  includes: "cr:includes",
  isArray: "cr:isArray",
  isLiveDataset: "cr:isLiveDataset",
  jsonPath: "cr:jsonPath",
  key: "cr:key",
  md5: "cr:md5",
  name: { "@container": "@language" },
  parentField: "cr:parentField",
  path: "cr:path",
  rai: "http://mlcommons.org/croissant/RAI/",
  recordSet: "cr:recordSet",
  references: "cr:references",
  regex: "cr:regex",
  repeated: "cr:repeated",
  replace: "cr:replace",
  samplingRate: "cr:samplingRate",
  sc: "https://schema.org/",
  separator: "cr:separator",
  source: "cr:source",
  subField: "cr:subField",
  transform: "cr:transform",
};

/** By media type where there is one, else by the page that tells of the format. */
const encodings: Record<string, string> = {
  parquet: "application/x-parquet",
  csv: "text/csv",
  tsv: "text/tab-separated-values",
  jsonl: "application/jsonlines",
  json: "application/json",
  arrow: "application/vnd.apache.arrow.file",
  webdataset: "application/x-tar",
  mds: "https://docs.mosaicml.com/projects/streaming/en/stable/fundamentals/dataset_format.html",
  tfrecord: "https://www.tensorflow.org/tutorials/load_data/tfrecord",
};

/** Formats whose nested columns are values with parts, not text. */
const nesting = new Set(["parquet", "jsonl", "json", "arrow", "webdataset"]);

/** In which times of day are text. */
const textual = new Set(["csv", "tsv", "jsonl", "json", "webdataset"]);

export interface CroissantSubject {
  manifest: Manifest;
  columns: readonly Column[];
  /** When the version was made, milliseconds since the epoch. */
  time: number;
  about: About;
  /** Column that holds the split. */
  splitColumn?: string | undefined;
}

export function croissantBytes(subject: CroissantSubject): Uint8Array {
  const { manifest, about } = subject;
  const { dataset, version, format } = manifest;
  const { source, distribution } = distributionOf(subject);
  const splits = splitSet(subject);
  const fields = subject.columns.flatMap((column) => fieldOf(column, subject, source));
  const document: Json = {
    "@context": context,
    "@type": "sc:Dataset",
    conformsTo: "http://mlcommons.org/croissant/1.1",
    name: dataset,
    description: about.description ?? `Version ${version} of the dataset ${dataset}, as ${format}.`,
    ...(about.license !== undefined && { license: about.license }),
    ...(about.citation !== undefined && { citeAs: about.citation }),
    ...(about.url !== undefined && { url: about.url }),
    ...(about.creators !== undefined && { creator: about.creators.map((name) => ({ "@type": "sc:Person", name })) }),
    version: `${version}.0.0`,
    datePublished: new Date(subject.time).toISOString().slice(0, 10),
    distribution,
    recordSet: [
      ...(splits === undefined ? [] : [splits]),
      { "@type": "cr:RecordSet", "@id": "rows", name: "rows", field: fields },
    ],
  };
  return Buffer.from(`${JSON.stringify(document, undefined, 2)}\n`);
}

const idOf = (...parts: string[]): string => parts.map(encodeURIComponent).join("/");

/** Files that hold rows; others tell about them. */
const isData = ({ rows }: Manifest["files"][number], format: string): boolean =>
  rows > 0 || ["parquet", "csv", "tsv", "jsonl", "json", "arrow"].includes(format);

function distributionOf({ manifest }: CroissantSubject): { source: Json; distribution: Json[] } {
  const { format, files } = manifest;
  const encodingFormat = encodings[format]!;
  const data = files.filter((file) => isData(file, format));
  const objects = files.map((file): Json => ({
    "@type": "cr:FileObject",
    "@id": idOf(...file.path.split("/")),
    name: file.path,
    contentUrl: file.path,
    contentSize: `${file.bytes} B`,
    encodingFormat: data.includes(file) ? encodingFormat : "application/json",
    sha256: file.sha256,
  }));
  const [only, ...others] = data;
  if (format !== "webdataset" && others.length === 0 && only !== undefined) {
    return { source: { fileObject: { "@id": idOf(...only.path.split("/")) } }, distribution: objects };
  }
  const suffix = (data[0]?.path ?? format).replace(/^[^.]*/, "");
  const folders = [...new Set(data.map(({ path }) => path.replace(/[^/]*$/, "")))];
  const set: Json =
    format === "webdataset"
      ? {
          "@type": "cr:FileSet",
          "@id": "samples",
          name: "samples",
          description:
            "The JSON of each sample. Files beside it have its name and an extension that says what they hold.",
          containedIn: data.map(({ path }) => ({ "@id": idOf(...path.split("/")) })),
          encodingFormat: "application/json",
          includes: "*.json",
        }
      : {
          "@type": "cr:FileSet",
          "@id": "shards",
          name: "shards",
          encodingFormat,
          includes: folders.map((folder) => `${folder}*${suffix}`),
        };
  return { source: { fileSet: { "@id": set["@id"] } }, distribution: [...objects, set] };
}

/** Which splits there are, when the rows say theirs. */
function splitSet({ manifest, columns, splitColumn }: CroissantSubject): Json | undefined {
  const names = manifest.splits ?? [];
  if (names.length === 0 || !columns.some(({ name }) => name === splitColumn)) return undefined;
  const urls: Record<string, string> = {
    train: "cr:TrainingSplit",
    validation: "cr:ValidationSplit",
    test: "cr:TestSplit",
  };
  const known = names.every((name) => urls[name] !== undefined);
  const fields: Json[] = [{ "@type": "cr:Field", "@id": "splits/name", dataType: "sc:Text" }];
  if (known) fields.push({ "@type": "cr:Field", "@id": "splits/url", dataType: "sc:URL" });
  return {
    "@type": "cr:RecordSet",
    "@id": "splits",
    name: "splits",
    description: "The splits that the rows are of.",
    dataType: "cr:Split",
    key: { "@id": "splits/name" },
    field: fields,
    data: names.map((name) => ({ "splits/name": name, ...(known && { "splits/url": urls[name] }) })),
  };
}

function dataTypeOf(type: DataType, format: string): string {
  if (typeof type !== "string") return "sc:Text";
  if (parseDecimal(type)) return "sc:Float";
  switch (type) {
    case "boolean":
      return "sc:Boolean";
    case "int":
      return "cr:Int32";
    case "long":
      return "cr:Int64";
    case "float":
      return "cr:Float32";
    case "double":
      return "cr:Float64";
    case "date":
      return "sc:Date";
    case "timestamp":
    case "timestamptz":
      return "sc:DateTime";
    case "time":
      return textual.has(format) ? "sc:Text" : "sc:Time";
    default:
      return "sc:Text";
  }
}

function extractOf(column: string, format: string): Json {
  if (format === "json") return { jsonPath: `$[*].${pathStep(column)}` };
  if (format === "webdataset") return { jsonPath: `$.${pathStep(column)}` };
  return { column };
}

const pathStep = (name: string): string => (/^[A-Za-z_]\w*$/.test(name) ? name : `'${name.replaceAll("'", "\\'")}'`);

function fieldOf(column: Column, subject: CroissantSubject, source: Json): Json[] {
  const { manifest, columns } = subject;
  const { format } = manifest;
  const written = manifest.columns[columns.indexOf(column)]!;
  // A member of a sample that is not in its JSON is told of by the file set.
  if (format === "webdataset" && written.name !== "json") return [];
  const { name, type, doc } = column;
  const base: Json = {
    "@type": "cr:Field",
    "@id": idOf("rows", name),
    name,
    ...(descriptionOf(doc, written) !== undefined && { description: descriptionOf(doc, written) }),
  };
  const from: Json = { ...source, extract: extractOf(written.name ?? name, format) };
  if (format === "webdataset") from["extract"] = extractOf(name, format);
  if (typeof type === "string") return [{ ...base, dataType: dataTypeOf(type, format), source: from }];
  if (!nesting.has(format)) return [{ ...base, dataType: "sc:Text", source: from }];
  if (type.type === "list" && typeof type.element === "string") {
    return [{ ...base, dataType: dataTypeOf(type.element, format), repeated: true, source: from }];
  }
  return [];
}

function descriptionOf(doc: string | undefined, { meaning }: Manifest["columns"][number]): string | undefined {
  return [doc, meaning].filter((text) => text !== undefined).join("; ") || undefined;
}

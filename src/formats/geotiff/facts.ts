import type { globals, ImageFileDirectory } from "geotiff";
import { damaged, type Level, type Tiff } from "./levels.ts";
import { cogProblemOf } from "./cog.ts";
import { boundsOf, type Place } from "./place.ts";
import { endsEarly } from "./bytes.ts";

const compressions: Record<number, string> = {
  1: "none",
  2: "ccitt-rle",
  3: "ccitt-fax3",
  4: "ccitt-fax4",
  5: "lzw",
  6: "old-jpeg",
  7: "jpeg",
  8: "deflate",
  32_773: "packbits",
  32_946: "deflate",
  34_712: "jpeg2000",
  34_887: "lerc",
  34_925: "lzma",
  50_000: "zstd",
  50_001: "webp",
  50_002: "jpeg-xl",
};
/** What can be decoded here. */
export const decoded = new Set(["none", "lzw", "jpeg", "deflate", "packbits", "lerc", "zstd"]);

const photometrics = ["min-is-white", "min-is-black", "rgb", "palette", "mask", "cmyk", "ycbcr", null, "cielab"];

export const compressionOf = ({ compression }: Level): string =>
  Object.hasOwn(compressions, compression) ? compressions[compression]! : String(compression);

/** What GDAL says of bands and of the image, in the tag GDAL_METADATA. */
interface Metadata {
  names: (string | null)[];
  scales: number[];
  offsets: number[];
  items: Record<string, string>;
}

/** Everything of one file that its rows say, in the order of the columns, up to `tags`. Throws `parse` where blocks are cut off. */
export async function factsOf(tiff: Tiff, place: Place): Promise<{ values: unknown[]; nodata: number | null }> {
  const [whole, ...overviews] = tiff.levels as [Level, ...Level[]];
  const { directory, width, height } = whole;
  try {
    assertWhole(tiff);
    const [ghost] = await tiff.bytes.fetch([{ offset: 0, length: Math.min(1024, tiff.bytes.size) }]);
    const problem = cogProblemOf(tiff, Buffer.from(ghost!).toString("latin1", tiff.isBig ? 16 : 8));
    const nodata = nodataOf(directory);
    const metadata = metadataOf(await textOf(directory, "GDAL_METADATA"), whole.bands);
    const [bounds, degrees] = boundsOf(place, whole, whole, [0, 0, width, height]);
    const { affine } = place;
    const values = [
      width,
      height,
      whole.bands,
      whole.type?.name ?? null,
      place.epsg === null ? null : `EPSG:${place.epsg}`,
      place.crsName,
      bounds,
      degrees,
      degrees === null ? (place.problem ?? "it lies outside of its reference system") : null,
      affine === null ? null : [Math.hypot(affine[0], affine[3]), Math.hypot(affine[1], affine[4])],
      affine,
      place.pixelIs,
      nodata,
      overviews.map((level) => new Map([["width", level.width], ["height", level.height]])), // prettier-ignore
      tiff.pages,
      whole.mask !== undefined,
      [whole.blockWidth, whole.blockHeight],
      whole.isTiled,
      whole.isPlanar || whole.bands === 1 ? "band" : "pixel",
      compressionOf(whole),
      photometrics[whole.photometric ?? -1] ?? (whole.photometric === undefined ? null : String(whole.photometric)),
      problem === null,
      problem,
      metadata.names,
      metadata.scales,
      metadata.offsets,
      JSON.stringify({ ...(await tagsOf(directory)), ...metadata.items }),
    ];
    return { values, nodata };
  } catch (cause) {
    throw damaged(cause);
  }
}

/** Every block that is named must be there. */
function assertWhole({ levels, bytes }: Tiff): void {
  for (const { offsets, lengths } of levels) {
    for (let index = 0; index < offsets.length; index++) {
      if (offsets[index]! + (lengths[index] ?? 0) > bytes.size) throw endsEarly();
    }
  }
}

function nodataOf(directory: ImageFileDirectory): number | null {
  const text = String(directory.getValue("GDAL_NODATA") ?? "")
    .replaceAll("\0", "")
    .trim();
  if (text === "") return null;
  if (/^[-+]?nan$/i.test(text)) return Number.NaN;
  if (/^[-+]?inf/i.test(text)) return text.startsWith("-") ? -Infinity : Infinity;
  const value = Number(text);
  return Number.isNaN(value) ? null : value;
}

async function textOf(directory: ImageFileDirectory, name: TagName): Promise<string> {
  if (!directory.hasTag(name)) return "";
  const value: unknown = await directory.loadValue(name);
  return typeof value === "string" ? value.replaceAll("\0", "").trim() : "";
}

type TagName = keyof typeof globals.tagDictionary;

const described: TagName[] = ["DocumentName", "ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "HostComputer", "Copyright"]; // prettier-ignore
/** Longer values are not for people. */
const longestText = 4_000;

async function tagsOf(directory: ImageFileDirectory): Promise<Record<string, string>> {
  const tags: Record<string, string> = {};
  for (const name of described) {
    const text = await textOf(directory, name);
    if (text !== "") tags[name] = text.slice(0, longestText);
  }
  return tags;
}

const entities: Record<string, string> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };
const plain = (text: string): string =>
  text.replaceAll(/&(lt|gt|amp|quot|apos);/g, (_, name: string) => entities[name]!).trim();

const maximumItems = 2_000;

/** `<Item name="…" sample="0" role="scale">0.0001</Item>`: sample counts from 0, and is absent for the image. */
function metadataOf(xml: string, bands: number): Metadata {
  const metadata: Metadata = {
    names: Array<string | null>(bands).fill(null),
    scales: Array<number>(bands).fill(1),
    offsets: Array<number>(bands).fill(0),
    items: {},
  };
  let count = 0;
  for (const [, attributes = "", inner = ""] of xml.matchAll(/<Item\b([^>]*)>([^<]*)<\/Item>/g)) {
    if (++count > maximumItems) break;
    const attribute = (name: string): string | undefined => new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1];
    const name = plain(attribute("name") ?? "");
    const sample = attribute("sample");
    const text = plain(inner);
    const role = attribute("role");
    const band = Number(sample);
    if (sample === undefined) metadata.items[name] = text.slice(0, longestText);
    else if (!(band >= 0 && band < bands)) continue;
    else if (role === "description") metadata.names[band] = text;
    else if (role === "scale" || role === "offset") {
      const value = Number(text);
      if (Number.isFinite(value)) metadata[`${role}s`][band] = value;
    } else metadata.items[`${name}[${band + 1}]`] = text.slice(0, longestText);
  }
  return metadata;
}

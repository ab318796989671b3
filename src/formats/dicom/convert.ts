import { readFileSync, statSync } from "node:fs";
import { isMillraceError, messageOf, MillraceError, type Converted, type FileRef } from "../../core/index.ts";
import { AssetRows, type AssetConvertOptions } from "../asset-rows.ts";
import { createPulse } from "../media.ts";
import { headerOf } from "../values.ts";
import { columns, dicomColumns } from "./columns.ts";
import { Deidentifier } from "./deidentify.ts";
import { burnedIn, factColumns, Facts } from "./facts.ts";
import { layoutOf, type Layout } from "./frames.ts";
import type { DicomOptions } from "./index.ts";
import { frameReader } from "./pixels.ts";
import type { Frame, Samples } from "./samples.ts";
import { readDicom, type DataSet } from "./read.ts";
import { picture, rescaled } from "./render.ts";
import { plainPolicy, tagsOf } from "./values.ts";

type Options = AssetConvertOptions & Partial<DicomOptions>;

/** A file is held in memory while it is read. */
const maximumFile = 512 * 1024 ** 2;
/** As much as a value of a record may have. */
const maximumValue = 7 * 1024 ** 2;
const maximumFrames = 100_000;

/** The rows of one file. */
export default async function* convert(file: FileRef, options: Options): AsyncIterable<Converted> {
  yield headerOf([...(options.columns ?? columns)]);
  if (statSync(file.path).size > maximumFile)
    throw new MillraceError("limit", `it is larger than ${maximumFile} bytes`);
  const data = readDicom(readFileSync(file.path));
  if (data.problem !== null && options.truncated !== "accept") {
    throw new MillraceError("parse", data.problem, { hint: "`truncated: accept` reads what is there" });
  }
  const treatment = options.deidentify === undefined ? undefined : new Deidentifier(data, options.deidentify);
  const tags = {
    ...tagsOf(data, data.elements, treatment ?? plainPolicy(options.private === true)),
    ...treatment?.marks(),
  };
  const facts = new Facts(tags);
  const pulse = createPulse();
  const asset =
    treatment === undefined ? options.asset : { ...options.asset, uri: treatment.pseudonym("uri", options.asset.uri) };
  const rows = new AssetRows(file, { ...options, asset }, dicomColumns);
  // The risk is judged by what the file said before anything was removed from it.
  const risk = burnedIn(new Facts(tagsOf(data, data.elements, plainPolicy(false))));
  const isTreated = treatment !== undefined || facts.text("PatientIdentityRemoved") === "YES";
  const text = JSON.stringify(tags);
  const source = pixelsOf(data, options, risk);
  const count =
    options.rows === "frame" && source.layout !== undefined ? Math.min(source.layout.frames, maximumFrames) : 1;
  for (let index = 0; index < count; index++) {
    const own = facts.ofFrame(index);
    const pixels = await source.read(index, own);
    const problem = [
      data.problem,
      index === 0 && text.length > maximumValue ? "its elements take more than 7 MiB" : null,
      pixels.problem,
    ];
    rows.add([
      ...factColumns(own, data.syntax, source.facts),
      risk,
      isTreated,
      index === 0 && text.length <= maximumValue ? text : null,
      problem.filter((each) => each !== null).join("; ") || null,
      options.rows === "frame" && source.layout !== undefined ? index : null,
      pixels.shape,
      pixels.type,
      pixels.bytes,
      pixels.image,
    ]);
    const ready = rows.take();
    if (ready !== undefined) yield ready;
    if (pulse()) yield { alive: true };
  }
  const rest = rows.take(true);
  if (rest !== undefined) yield rest;
  yield { rows: rows.rows };
}

interface Pixels {
  shape: number[] | null;
  type: string | null;
  bytes: Uint8Array | null;
  image: Uint8Array | null;
  problem: string | null;
}
const without = (problem: string | null): Pixels => ({ shape: null, type: null, bytes: null, image: null, problem });

interface PixelSource {
  layout?: Layout;
  /** The columns from `height` to `bits_stored`. */
  facts: unknown[];
  read(index: number, facts: Facts): Promise<Pixels>;
}

/** What of a frame cannot be decoded is said in its row: the facts of the file are good nevertheless. */
function pixelsOf(data: DataSet, options: Options, risk: string): PixelSource {
  const { pixels: wanted = "none" } = options;
  const nothing = [null, null, null, null, null, null];
  let layout: Layout | undefined;
  try {
    layout = layoutOf(data);
  } catch (error) {
    return { facts: nothing, read: async () => without(reasonOf(error)) };
  }
  if (layout === undefined) return { facts: nothing, read: async () => without(null) };
  const known = layout;
  const { rows, columns: width, frames, samples, photometric, bitsStored } = known;
  const facts = [rows, width, frames, samples, photometric, bitsStored];
  const withheld =
    options.deidentify !== undefined &&
    options.deidentify.pixels_with_text !== "keep" &&
    (risk === "declared" || risk === "suspected");
  if (wanted === "none") return { layout, facts, read: async () => without(null) };
  if (withheld)
    return { layout, facts, read: async () => without("its pixels are withheld: names may be written into them") };
  let reader: ((index: number) => Promise<Frame>) | undefined;
  return {
    layout,
    facts,
    async read(index, own) {
      try {
        reader ??= frameReader(data, known);
        return await render(data, await reader(index), known, own, options);
      } catch (error) {
        return without(reasonOf(error));
      }
    },
  };
}

async function render(data: DataSet, frame: Frame, layout: Layout, facts: Facts, options: Options): Promise<Pixels> {
  const rescale = { slope: facts.number("RescaleSlope") ?? 1, intercept: facts.number("RescaleIntercept") ?? 0 };
  if (options.pixels === "png") {
    const [center, width] = [facts.number("WindowCenter"), facts.number("WindowWidth")];
    const own = center !== null && width !== null && width > 0 ? { center, width } : undefined;
    const image = await picture(data, frame, layout, rescale, options.window ?? own, options.size ?? 512);
    return image.length > maximumValue
      ? without("its picture takes more than 7 MiB: use a smaller `size`")
      : { ...without(null), image };
  }
  const samples = options.rescale === false ? frame.samples : rescaled(frame, layout, rescale);
  if (samples.byteLength > maximumValue)
    return without(`its samples take ${samples.byteLength} bytes, more than 7 MiB a row`);
  return {
    shape: [frame.rows, frame.columns, ...(frame.channels === 3 ? [3] : [])],
    type: typeOf(samples),
    bytes: new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength),
    image: null,
    problem: null,
  };
}

/** `Uint8Array` → `uint8`. */
const typeOf = (samples: Samples): string => samples.constructor.name.replace("Array", "").toLowerCase();

function reasonOf(error: unknown): string {
  return isMillraceError(error)
    ? error.message
    : `its pixels cannot be decoded (${messageOf(error).split("\n")[0]!.slice(0, 200)})`;
}

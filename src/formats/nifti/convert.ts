import { MillraceError, type Converted, type FileRef } from "../../core/index.ts";
import { AssetRows, type AssetConvertOptions } from "../asset-rows.ts";
import { createPulse } from "../media.ts";
import { headerOf } from "../values.ts";
import { endsEarly, openBytes, type Bytes } from "./bytes.ts";
import { columns, niftiColumns } from "./columns.ts";
import { headerBytes, orientationOf, readHeader, unitsOf, type Header } from "./header.ts";
import type { NiftiOptions } from "./index.ts";
import { kindOf, measure, rescaled, valuesOf, type Kind } from "./voxels.ts";

type Options = AssetConvertOptions & Partial<NiftiOptions>;

/** As much as a value of a record may have. */
const maximumValue = 7 * 1024 ** 2;
/** A volume is in memory while it is measured. */
const maximumRow = 256 * 1024 ** 2;
const maximumRows = 1_000_000;

/** The rows of one file, which is read piece by piece, also where it is packed. */
export default async function* convert(file: FileRef, options: Options): AsyncIterable<Converted> {
  yield headerOf([...(options.columns ?? columns)]);
  const rows = new AssetRows(file, options, niftiColumns);
  const pulse = createPulse();
  const bytes = await openBytes(file.path, headerBytes);
  try {
    const header = readHeader(bytes.head);
    const kind = kindOf(header.dataType);
    const facts = factsOf(header, kind);
    const { rows: unit = "file", statistics = true, voxels = false } = options;
    const problem = problemOf(header, kind);
    if (problem === null) {
      const end = header.offset! + lengthOf(header.dimensions, kind!);
      // What is packed is seen to end early when it has been read.
      if (!(header.offset! >= 0) || (bytes.size !== undefined && end > bytes.size)) throw endsEarly();
      if (unit === "file" || (!statistics && !voxels)) await bytes.pass(end);
    }
    if (unit === "file" || problem !== null) rows.add([...facts, problem, ...nothing]);
    else {
      for (const place of placesOf(header, unit)) {
        rows.add([...facts, ...(await read(bytes, header, kind!, place, options))]);
        const ready = rows.take();
        if (ready !== undefined) yield ready;
        if (pulse()) yield { alive: true };
      }
    }
  } finally {
    await bytes.close();
  }
  const rest = rows.take(true);
  if (rest !== undefined) yield rest;
  yield { rows: rows.rows };
}

const nothing: null[] = Array.from({ length: 8 }, () => null);

const volumesOf = ({ dimensions }: Header): number => dimensions.slice(3).reduce((all, size) => all * size, 1);

const lengthOf = (shape: readonly number[], kind: Kind): number =>
  shape.reduce((all, size) => all * size, 1) * kind.bytes;

function problemOf(header: Header, kind: Kind | undefined): string | null {
  if (kind === undefined) return `its voxels are of type ${header.dataType}, which is not read`;
  return header.offset === undefined ? "its voxels are in another file (`.img`)" : null;
}

function factsOf(header: Header, kind: Kind | undefined): unknown[] {
  const [spaceUnit, timeUnit] = unitsOf(header.units);
  const isScaled = header.slope !== 0 && Number.isFinite(header.slope) && Number.isFinite(header.intercept);
  return [
    header.version,
    header.dimensions,
    kind?.name ?? null,
    header.spacing,
    spaceUnit,
    timeUnit,
    orientationOf(header.affine),
    [...header.affine.flat(), 0, 0, 0, 1],
    header.affineFrom,
    header.intentCode,
    header.intentName === "" ? null : header.intentName,
    header.description === "" ? null : header.description,
    isScaled ? header.slope : null,
    isScaled ? header.intercept : null,
    volumesOf(header),
  ];
}

interface Place {
  volume: number;
  slice: number | null;
  shape: number[];
}

function* placesOf(header: Header, unit: "volume" | "slice"): Generator<Place> {
  const [x = 1, y = 1, z = 1] = header.dimensions;
  const volumes = volumesOf(header);
  const slices = unit === "slice" ? z : 1;
  if (volumes * slices > maximumRows)
    throw new MillraceError("limit", `it has ${volumes * slices} rows, more than ${maximumRows}`, {
      hint: "use `rows: volume`",
    });
  for (let volume = 0; volume < volumes; volume++) {
    for (let slice = 0; slice < slices; slice++) {
      yield unit === "slice" ? { volume, slice, shape: [y, x] } : { volume, slice: null, shape: [z, y, x] };
    }
  }
}

/** From `problem` on. */
async function read(
  bytes: Bytes,
  header: Header,
  kind: Kind,
  { volume, slice, shape }: Place,
  options: Options,
): Promise<unknown[]> {
  const length = lengthOf(shape, kind);
  const empty = [volume, slice, null, null, null, null, null, null];
  const { statistics = true, voxels: keeps = false } = options;
  if (!statistics && !keeps) return [null, ...empty];
  const z = header.dimensions[2] ?? 1;
  const at = header.offset! + (slice === null ? volume * length : (volume * z + slice) * length);
  if (length > maximumRow) {
    await bytes.pass(at + length);
    return [`its volumes take ${length} bytes: use \`rows: slice\``, ...empty];
  }
  await bytes.pass(at);
  const taken = await bytes.take(length);
  if (taken.length < length) throw endsEarly();
  const stored = valuesOf(taken, kind, header.little);
  const values = options.rescale === false ? stored : rescaled(stored, kind, header);
  const measures = statistics ? measure(values) : [null, null, null];
  const isTooMuch = keeps && values.byteLength > maximumValue;
  const problem = isTooMuch
    ? `its voxels take ${values.byteLength} bytes, more than 7 MiB a row: use \`rows: slice\``
    : null;
  const given = keeps && !isTooMuch;
  return [
    problem,
    volume,
    slice,
    ...measures,
    given ? [...shape, ...(kind.channels === 1 ? [] : [kind.channels])] : null,
    given ? values.constructor.name.replace(/^Big|Array$/g, "").toLowerCase() : null,
    given ? new Uint8Array(values.buffer, values.byteOffset, values.byteLength) : null,
  ];
}

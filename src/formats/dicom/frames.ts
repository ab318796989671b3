import { MillraceError } from "../../core/index.ts";
import type { DataSet, Element } from "./read.ts";
import { tagOf } from "./dictionary.ts";
import { valuesOf } from "./values.ts";

/** What says how pixels lie in their bytes: PS3.3, C.7.6.3. */
export interface Layout {
  rows: number;
  columns: number;
  frames: number;
  samples: number;
  photometric: string;
  planar: boolean;
  bitsAllocated: number;
  bitsStored: number;
  highBit: number;
  signed: boolean;
  /** Samples are floating point, with as many bits as are allocated. */
  float: boolean;
  /** Where the pixels are. */
  element: Element;
}

const tags = {
  rows: tagOf("Rows"),
  columns: tagOf("Columns"),
  frames: tagOf("NumberOfFrames"),
  samples: tagOf("SamplesPerPixel"),
  photometric: tagOf("PhotometricInterpretation"),
  planar: tagOf("PlanarConfiguration"),
  allocated: tagOf("BitsAllocated"),
  stored: tagOf("BitsStored"),
  high: tagOf("HighBit"),
  signed: tagOf("PixelRepresentation"),
};
const pixelData = tagOf("PixelData");
const floatData = tagOf("FloatPixelData");
const doubleData = tagOf("DoubleFloatPixelData");
const extendedOffsets = tagOf("ExtendedOffsetTable");

/** A frame with more pixels than this is no image of a scanner. */
const maximumPixels = 2 ** 28;

/** Undefined for what has no pixels. Throws `parse` for what cannot be true. */
export function layoutOf(data: DataSet): Layout | undefined {
  const element = [pixelData, floatData, doubleData]
    .map((tag) => data.elements.get(tag))
    .find((found) => found !== undefined);
  if (element === undefined) return undefined;
  const read = (tag: number): string | number | undefined => {
    const found = data.elements.get(tag);
    return found === undefined ? undefined : (valuesOf(data, found, [])?.[0] ?? undefined);
  };
  const number = (tag: number, otherwise: number): number => {
    const value = read(tag);
    return typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : otherwise;
  };
  const bitsAllocated = element.tag === doubleData ? 64 : element.tag === floatData ? 32 : number(tags.allocated, 0);
  const bitsStored = number(tags.stored, bitsAllocated) || bitsAllocated;
  const layout: Layout = {
    rows: number(tags.rows, 0),
    columns: number(tags.columns, 0),
    frames: number(tags.frames, 1) || 1,
    samples: number(tags.samples, 1) || 1,
    photometric: String(read(tags.photometric) ?? "MONOCHROME2"),
    planar: number(tags.planar, 0) === 1,
    bitsAllocated,
    bitsStored,
    highBit: number(tags.high, bitsStored - 1),
    signed: number(tags.signed, 0) === 1,
    float: element.tag !== pixelData,
    element,
  };
  const { rows, columns, samples } = layout;
  if (rows === 0 || columns === 0) throw new MillraceError("parse", "its pixels have no rows or no columns");
  if (rows * columns * samples > maximumPixels)
    throw new MillraceError("limit", `its frames have ${rows} × ${columns} pixels`);
  if (
    ![1, 8, 16, 32, 64].includes(bitsAllocated) ||
    (bitsAllocated === 64 && !layout.float) ||
    bitsStored > bitsAllocated
  )
    throw new MillraceError("unsupported", `its samples have ${bitsStored} of ${bitsAllocated} bits`);
  if (samples !== 1 && samples !== 3 && samples !== 4)
    throw new MillraceError("unsupported", `its pixels have ${samples} samples`);
  return layout;
}

/** Bytes of one frame that is not coded; may end within a byte when a sample is a bit. */
export function bitsOfFrame({ rows, columns, samples, bitsAllocated, photometric }: Layout): number {
  // Two pixels share their colour.
  const perPixel = photometric === "YBR_FULL_422" && samples === 3 ? 2 : samples;
  return rows * columns * perPixel * bitsAllocated;
}

/** The coded bytes of each frame (PS3.5, A.4): by the table of offsets, one fragment a frame, or all of one frame. */
export function codedFrames(data: DataSet, { element, frames }: Layout): Buffer[] {
  const [table, ...fragments] = element.fragments ?? [];
  if (table === undefined || fragments.length === 0) return [];
  const { bytes } = data;
  const join = (from: number, to: number): Buffer =>
    to - from === 1
      ? bytes.subarray(fragments[from]!.start, fragments[from]!.end)
      : Buffer.concat(fragments.slice(from, to).map(({ start, end }) => bytes.subarray(start, end)));
  if (frames === 1) return [join(0, fragments.length)];
  if (fragments.length === frames) return fragments.map((_, index) => join(index, index + 1));
  const starts = offsetsOf(data, table).map((offset) => {
    const at = fragments[0]!.start + offset;
    return fragments.findIndex(({ start }) => start === at);
  });
  const begins =
    starts.length === frames && !starts.includes(-1)
      ? starts
      : fragments.flatMap(({ start }, index) => (isStart(bytes, start) ? [index] : []));
  return begins.map((begin, index) => join(begin, Math.max(begin + 1, begins[index + 1] ?? fragments.length)));
}

function offsetsOf(data: DataSet, table: { start: number; end: number }): number[] {
  const extended = data.elements.get(extendedOffsets);
  if (extended !== undefined) {
    const count = Math.floor((extended.end - extended.start) / 8);
    return Array.from({ length: count }, (_, index) => Number(data.bytes.readBigUInt64LE(extended.start + index * 8)));
  }
  const count = Math.floor((table.end - table.start) / 4);
  return Array.from({ length: count }, (_, index) => data.bytes.readUInt32LE(table.start + index * 4));
}

/** Whether a JPEG or a code stream of JPEG 2000 begins here. */
const isStart = (bytes: Buffer, at: number): boolean =>
  bytes[at] === 0xff && (bytes[at + 1] === 0xd8 || bytes[at + 1] === 0x4f);

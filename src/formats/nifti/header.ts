import { MillraceError } from "../../core/index.ts";

/** What the header of a NIfTI file says: https://nifti.nimh.nih.gov/nifti-1 and nifti-2, `nifti1.h` and `nifti2.h`. */
export interface Header {
  version: 1 | 2;
  little: boolean;
  /** Of x, y, z, time and more; each at least 1. */
  dimensions: number[];
  /** Code of the type of a voxel. */
  dataType: number;
  /** Between voxels, in the unit of space, and of time. */
  spacing: number[];
  /** Where the data begins in the file; the file has none when it is one of a pair. */
  offset: number | undefined;
  slope: number;
  intercept: number;
  units: number;
  intentCode: number;
  intentName: string;
  description: string;
  qformCode: number;
  sformCode: number;
  /** Voxels to space: three rows of four. */
  affine: number[][];
  affineFrom: "sform" | "qform" | "spacing";
}

export const headerBytes = 540;

const maximumVoxels = 2 ** 45;

/** Throws `parse` for what is no NIfTI file. */
export function readHeader(bytes: Buffer): Header {
  const length = bytes.length >= 4 ? bytes.readInt32LE(0) : 0;
  const swapped = bytes.length >= 4 ? bytes.readInt32BE(0) : 0;
  const version = length === 348 || swapped === 348 ? 1 : length === 540 || swapped === 540 ? 2 : undefined;
  const little = length === 348 || length === 540;
  if (version === undefined || bytes.length < (version === 1 ? 348 : 540))
    throw new MillraceError("parse", "it is no NIfTI file");
  const magic = version === 1 ? bytes.toString("latin1", 344, 347) : bytes.toString("latin1", 4, 7);
  if (magic !== `n+${version}` && magic !== `ni${version}`) throw new MillraceError("parse", "it is no NIfTI file");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const short = (at: number): number => view.getInt16(at, little);
  const int = (at: number): number => view.getInt32(at, little);
  const float = (at: number): number => view.getFloat32(at, little);
  const double = (at: number): number => view.getFloat64(at, little);
  const long = (at: number): number => Number(view.getBigInt64(at, little));
  const list = (read: (at: number) => number, at: number, step: number, count: number): number[] =>
    Array.from({ length: count }, (_, index) => read(at + index * step));
  const text = (at: number, size: number): string =>
    bytes
      .toString("latin1", at, at + size)
      .split("\0")[0]!
      .trim();
  const isFirst = version === 1;
  const dim = isFirst ? list(short, 40, 2, 8) : list(long, 16, 8, 8);
  const rank = dim[0]!;
  if (rank < 1 || rank > 7) throw new MillraceError("parse", `it has ${rank} dimensions`);
  const dimensions = dim.slice(1, rank + 1);
  if (dimensions.some((size) => !(size >= 1)) || dimensions.reduce((all, size) => all * size, 1) > maximumVoxels)
    throw new MillraceError("parse", `its dimensions are ${dimensions.join(" × ")}`);
  const pixdim = isFirst ? list(float, 76, 4, 8) : list(double, 104, 8, 8);
  const qformCode = isFirst ? short(252) : int(344);
  const sformCode = isFirst ? short(254) : int(348);
  const quaternion = isFirst ? list(float, 256, 4, 6) : list(double, 352, 8, 6);
  const rows = isFirst
    ? [280, 296, 312].map((at) => list(float, at, 4, 4))
    : [400, 432, 464].map((at) => list(double, at, 8, 4));
  const offset = isFirst ? float(108) : long(168);
  const affineFrom = sformCode > 0 ? "sform" : qformCode > 0 ? "qform" : "spacing";
  return {
    version,
    little,
    dimensions,
    dataType: isFirst ? short(70) : short(12),
    spacing: pixdim.slice(1, rank + 1),
    // Writers that say 0 mean the end of the header and its four bytes of extension.
    offset: magic.startsWith("n+") ? Math.trunc(offset === 0 ? (isFirst ? 352 : 544) : offset) : undefined,
    slope: isFirst ? float(112) : double(176),
    intercept: isFirst ? float(116) : double(184),
    units: isFirst ? bytes[123]! : int(500),
    intentCode: isFirst ? short(68) : int(504),
    intentName: isFirst ? text(328, 16) : text(508, 16),
    description: isFirst ? text(148, 80) : text(240, 80),
    qformCode,
    sformCode,
    affine:
      affineFrom === "sform"
        ? rows
        : affineFrom === "qform"
          ? ofQuaternion(quaternion, pixdim)
          : ofSpacing(dimensions, pixdim),
    affineFrom,
  };
}

/** Method 2 of `nifti1.h`: a rotation as a quaternion without its first part, then spacing and offset. */
function ofQuaternion(given: readonly number[], pixdim: readonly number[]): number[][] {
  const [b, c, d, x, y, z] = given as [number, number, number, number, number, number];
  const a = Math.sqrt(Math.max(0, 1 - (b * b + c * c + d * d)));
  const flip = pixdim[0]! < 0 ? -1 : 1;
  const rotation = [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
    [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
    [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
  ];
  const scale = [pixdim[1]!, pixdim[2]!, pixdim[3]! * flip];
  return rotation.map((row, index) => [...row.map((value, column) => value * scale[column]!), [x, y, z][index]!]);
}

/** Without either, the middle of the volume is the origin. */
function ofSpacing(dimensions: readonly number[], pixdim: readonly number[]): number[][] {
  return [0, 1, 2].map((row) => {
    const spacing = pixdim[row + 1]!;
    const line = [0, 0, 0, (-spacing * ((dimensions[row] ?? 1) - 1)) / 2];
    line[row] = spacing;
    return line;
  });
}

/** To which side each axis of the data runs: `RAS` is right, anterior, superior. Null when the affine says nothing. */
export function orientationOf(affine: readonly number[][]): string | null {
  const taken = new Set<number>();
  let codes = "";
  for (let axis = 0; axis < 3; axis++) {
    const column = affine.map((row) => row[axis]!);
    const length = Math.hypot(...column);
    if (!(length > 0)) return null;
    let best = -1;
    for (let row = 0; row < 3; row++) {
      if (!taken.has(row) && (best < 0 || Math.abs(column[row]!) > Math.abs(column[best]!))) best = row;
    }
    taken.add(best);
    codes += ["RL", "AP", "SI"][best]![column[best]! >= 0 ? 0 : 1]!;
  }
  return codes;
}

/** Units of space and time: the lower three bits and the next three. */
export function unitsOf(units: number): [space: string | null, time: string | null] {
  const space = [null, "m", "mm", "µm"][units & 7] ?? null;
  const time =
    ({ 8: "s", 16: "ms", 24: "µs", 32: "Hz", 40: "ppm", 48: "rad/s" } as Record<number, string>)[units & 0x38] ?? null;
  return [space, time];
}

import type { ImageFileDirectory } from "geotiff";
import { boxOf, degreesOf, gridOf, onEarth, transformOf, type Box, type Transform } from "./crs.ts";
import type { Level, Window } from "./levels.ts";

/** x = a × column + b × row + c, y = d × column + e × row + f. */
export type Affine = [a: number, b: number, c: number, d: number, e: number, f: number];

/** Where a raster lies. */
export interface Place {
  epsg: number | null;
  crsName: string | null;
  /** `area` or `point`; null where the file does not say. */
  pixelIs: string | null;
  affine: Affine | null;
  transform: Transform | undefined;
  /** Why there are no degrees. */
  problem: string | null;
}

type Keys = Partial<Record<string, unknown>>;

/** User-defined, and undefined, in GeoTIFF. */
const numberOf = (value: unknown): number | null =>
  typeof value === "number" && value > 0 && value < 32_767 ? value : null;

const textOf = (value: unknown): string | null => {
  const text = typeof value === "string" ? value.replaceAll("\0", "").replace(/\|+$/, "").trim() : "";
  return text === "" ? null : text;
};

/** OGC GeoTIFF 1.1, section 7. */
export function placeOf(directory: ImageFileDirectory): Place {
  let keys: Keys = {};
  let broken = false;
  try {
    keys = (directory.parseGeoKeyDirectory() ?? {}) as Keys;
  } catch {
    broken = true;
  }
  const isPoint = keys["GTRasterTypeGeoKey"] === 2;
  const model = keys["GTModelTypeGeoKey"];
  const epsg =
    model === 2
      ? numberOf(keys["GeographicTypeGeoKey"])
      : (numberOf(keys["ProjectedCSTypeGeoKey"]) ?? (model === 1 ? null : numberOf(keys["GeographicTypeGeoKey"])));
  const crsName =
    textOf(keys["PCSCitationGeoKey"]) ?? textOf(keys["GTCitationGeoKey"]) ?? textOf(keys["GeogCitationGeoKey"]);
  const affine = affineOf(directory, isPoint);
  const transform = epsg === null ? undefined : transformOf(epsg);
  const problem = broken
    ? "its keys of the reference system are damaged"
    : affine === null
      ? "it does not say where its pixels lie"
      : epsg === null
        ? "it does not name its reference system by a number"
        : transform === undefined
          ? `EPSG:${epsg} is not converted to degrees`
          : null;
  const pixelIs = isPoint ? "point" : keys["GTRasterTypeGeoKey"] === 1 ? "area" : null;
  return { epsg, crsName, pixelIs, affine, transform: problem === null ? transform : undefined, problem };
}

/** Of corners of pixels: where the file means their middles, half a pixel is taken off. */
function affineOf(directory: ImageFileDirectory, isPoint: boolean): Affine | null {
  const matrix = listOf(directory.getValue("ModelTransformation"));
  const scale = listOf(directory.getValue("ModelPixelScale"));
  const tie = listOf(directory.getValue("ModelTiepoint"));
  let affine: Affine;
  if (scale.length >= 2 && tie.length >= 6 && scale[0] !== 0 && scale[1] !== 0) {
    const [width, height] = [scale[0]!, Math.abs(scale[1]!)];
    affine = [width, 0, tie[3]! - tie[0]! * width, 0, -height, tie[4]! + tie[1]! * height];
  } else if (matrix.length >= 8) {
    affine = [matrix[0]!, matrix[1]!, matrix[3]!, matrix[4]!, matrix[5]!, matrix[7]!];
  } else return null;
  const [a, b, c, d, e, f] = affine;
  if (!affine.every(Number.isFinite) || a * e - b * d === 0) return null;
  return isPoint ? [a, b, c - (a + b) / 2, d, e, f - (d + e) / 2] : affine;
}

const listOf = (value: unknown): number[] =>
  Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value as unknown as ArrayLike<number>, Number) : [];

/** Of a level: its pixels are larger than those of the image. */
function affineAt(affine: Affine, whole: Level, level: Level): Affine {
  const [x, y] = [whole.width / level.width, whole.height / level.height];
  const [a, b, c, d, e, f] = affine;
  return [a * x, b * y, c, d * x, e * y, f];
}

const apply = ([a, b, c, d, e, f]: Affine, [x, y]: readonly [number, number]): [number, number] => [
  a * x + b * y + c,
  d * x + e * y + f,
];

function inverse([a, b, c, d, e, f]: Affine): Affine {
  const by = a * e - b * d;
  return [e / by, -b / by, (b * f - c * e) / by, -d / by, a / by, (c * d - a * f) / by];
}

/** The bounds of a window in the reference system and in degrees. */
export function boundsOf(place: Place, whole: Level, level: Level, window: Window): [Box | null, Box | null] {
  if (place.affine === null) return [null, null];
  const affine = affineAt(place.affine, whole, level);
  const [x, y, width, height] = window;
  const corners = [0, 1].flatMap((row) =>
    [0, 1].map((column) => apply(affine, [x + column * width, y + row * height])),
  );
  const box = boxOf(corners) ?? null;
  if (place.transform === undefined) return [box, null];
  const back = inverse(affine);
  const degrees = degreesOf(
    place.transform,
    ([column, row]) => apply(affine, [x + column * width, y + row * height]),
    (point) => {
      const [column, row] = apply(back, point);
      return [(column - x) / width, (row - y) / height];
    },
  );
  return [box, degrees ?? null];
}

/** The pixels of a level that meet a box of degrees: none, one window, or two where the box crosses the antimeridian. */
export function windowsOf(place: Place, whole: Level, level: Level, box: Box): Window[] {
  const { transform, affine } = place;
  if (transform === undefined || affine === null) return [];
  const back = inverse(affineAt(affine, whole, level));
  const own = boundsOf(place, whole, level, [0, 0, level.width, level.height])[1];
  if (own === null) return [];
  // Rasters of degrees may run from 0 to 360.
  const turns = transform.isGeographic ? [-360, 0, 360] : [0];
  const windows: Window[] = [];
  for (const wanted of unwrapped(onEarth(box))) {
    for (const held of unwrapped(own)) {
      const common: Box = [
        Math.max(wanted[0], held[0]),
        Math.max(wanted[1], held[1]),
        Math.min(wanted[2], held[2]),
        Math.min(wanted[3], held[3]),
      ];
      if (common[0] >= common[2] || common[1] >= common[3]) continue;
      for (const turn of turns) {
        const points = [...gridOf(common)].map(([x, y]) => apply(back, transform.fromDegrees([x + turn, y])));
        const window = clipped(boxOf(points), level);
        if (window !== undefined && !windows.some((other) => other.every((value, index) => value === window[index])))
          windows.push(window);
      }
    }
  }
  return windows;
}

const unwrapped = ([west, south, east, north]: Box): Box[] =>
  west <= east
    ? [[west, south, east, north]]
    : [
        [west, south, 180, north],
        [-180, south, east, north],
      ];

/** Numbers that came through a projection: what is a millionth of a pixel beside an edge is on it. */
const tolerance = 1e-6;

/** Whole pixels, within the level. */
function clipped(box: Box | undefined, level: Level): Window | undefined {
  if (box === undefined) return undefined;
  const left = Math.max(0, Math.floor(box[0] + tolerance));
  const top = Math.max(0, Math.floor(box[1] + tolerance));
  const right = Math.min(level.width, Math.ceil(box[2] - tolerance));
  const bottom = Math.min(level.height, Math.ceil(box[3] - tolerance));
  return left < right && top < bottom ? [left, top, right - left, bottom - top] : undefined;
}

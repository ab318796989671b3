import proj4 from "proj4";

/** West, south, east, north in degrees, or the same in a reference system. */
export type Box = [number, number, number, number];

type Convert = (point: [number, number]) => [number, number];

/** Between a reference system and degrees of WGS 84, longitude first. */
export interface Transform {
  toDegrees: Convert;
  fromDegrees: Convert;
  /** Coordinates are degrees already. */
  isGeographic: boolean;
}

/** Systems of latitude and longitude that differ from WGS 84 by a metre or two at most: WGS 84, ETRS89, NAD83. */
const geographic = new Set([4326, 4979, 4258, 4269]);

const zone = (number: number, south: boolean, ellipsoid: string): string =>
  `+proj=utm +zone=${number}${south ? " +south" : ""} +ellps=${ellipsoid} +units=m +no_defs`;

/** Others that need no grids to become WGS 84, as EPSG defines them. */
const systems: Record<number, string> = {
  3857: "+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=0 +x_0=0 +y_0=0 +k=1 +units=m +no_defs",
  3395: "+proj=merc +lon_0=0 +k=1 +x_0=0 +y_0=0 +ellps=WGS84 +units=m +no_defs",
  3035: "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80 +units=m +no_defs",
  2154: "+proj=lcc +lat_0=46.5 +lon_0=3 +lat_1=49 +lat_2=44 +x_0=700000 +y_0=6600000 +ellps=GRS80 +units=m +no_defs",
  5070: "+proj=aea +lat_0=23 +lon_0=-96 +lat_1=29.5 +lat_2=45.5 +x_0=0 +y_0=0 +ellps=GRS80 +units=m +no_defs",
  3031: "+proj=stere +lat_0=-90 +lat_ts=-71 +lon_0=0 +x_0=0 +y_0=0 +ellps=WGS84 +units=m +no_defs",
  3413: "+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +x_0=0 +y_0=0 +ellps=WGS84 +units=m +no_defs",
};

/** As PROJ writes it; undefined for a system that is not known, or would be metres off without grids. */
function definitionOf(epsg: number): string | undefined {
  if (epsg > 32_600 && epsg <= 32_660) return zone(epsg - 32_600, false, "WGS84");
  if (epsg > 32_700 && epsg <= 32_760) return zone(epsg - 32_700, true, "WGS84");
  if (epsg > 26_900 && epsg <= 26_923) return zone(epsg - 26_900, false, "GRS80");
  if (epsg >= 25_828 && epsg <= 25_838) return zone(epsg - 25_800, false, "GRS80");
  return Object.hasOwn(systems, epsg) ? systems[epsg] : undefined;
}

export function transformOf(epsg: number): Transform | undefined {
  if (geographic.has(epsg)) {
    const same: Convert = (point) => point;
    return { toDegrees: same, fromDegrees: same, isGeographic: true };
  }
  const definition = definitionOf(epsg);
  if (definition === undefined) return undefined;
  const converter = proj4("+proj=longlat +ellps=WGS84 +no_defs", definition);
  const safely =
    (convert: (point: [number, number]) => [number, number]): Convert =>
    (point) => {
      try {
        return convert(point);
      } catch {
        // What a projection does not reach.
        return [Number.NaN, Number.NaN];
      }
    };
  return {
    toDegrees: safely((point) => converter.inverse(point)),
    fromDegrees: safely((point) => converter.forward(point)),
    isGeographic: false,
  };
}

/** Points a side: edges are curves in the other system. */
const steps = 21;

/** The box around what a box becomes; undefined when nothing of it has a place. */
export function boxOf(points: Iterable<readonly [number, number]>): Box | undefined {
  const box: Box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box[0] <= box[2] ? box : undefined;
}

/** A grid of points over a rectangle, its edges included. */
export function* gridOf([west, south, east, north]: Box): Generator<[number, number]> {
  for (let row = 0; row < steps; row++) {
    for (let column = 0; column < steps; column++) {
      yield [west + ((east - west) * column) / (steps - 1), south + ((north - south) * row) / (steps - 1)];
    }
  }
}

/** Degrees may be counted from 0 to 360, or on over the antimeridian: the same box with both of its sides between -180 and 180. */
export function onEarth([west, south, east, north]: Box): Box {
  if (east >= west && east - west >= 360) return [-180, south, 180, north];
  const turn = (x: number): number => (x >= -180 && x <= 180 ? x : x - 360 * Math.floor((x + 180) / 360));
  // A side on the antimeridian itself is the one that is nearer to the other.
  const [left, right] = [turn(west), turn(east)];
  return [left === 180 && right < 180 ? -180 : left, south, right === -180 ? 180 : right, north];
}

/**
 * The degrees of a part of a raster. West is greater than east where it crosses the antimeridian. `toPlace` gives coordinates in the
 * reference system for places of the part, from 0 to 1; `toPart` goes back.
 */
export function degreesOf(
  transform: Transform,
  toPlace: (point: [number, number]) => [number, number],
  toPart: (point: [number, number]) => [number, number],
): Box | undefined {
  const points = [...gridOf([0, 0, 1, 1])].map((point) => transform.toDegrees(toPlace(point)));
  const box = boxOf(points);
  if (box === undefined) return undefined;
  if (transform.isGeographic) return onEarth(box);
  for (const pole of [90, -90]) {
    const [x, y] = toPart(transform.fromDegrees([0, pole]));
    if (x >= 0 && x <= 1 && y >= 0 && y <= 1) return pole > 0 ? [-180, box[1], 180, 90] : [-180, -90, 180, box[3]];
  }
  if (box[2] - box[0] <= 180) return box;
  // Turned by half a world, what crosses the antimeridian is in one piece.
  const turned = boxOf(points.map(([x, y]) => [x < 0 ? x + 360 : x, y] as const))!;
  if (turned[2] - turned[0] >= box[2] - box[0] || turned[2] <= 180) return box;
  return [turned[0], turned[1], turned[2] - 360, turned[3]];
}

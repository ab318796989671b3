import parse from "exif-reader";

export interface ExifFacts {
  /** `YYYY-MM-DD HH:MM:SS`, the camera's local time. */
  takenAt: string | null;
  camera: string | null;
  /** Degrees. */
  latitude: number | null;
  longitude: number | null;
  /** Metres. */
  altitude: number | null;
  /** The other tags as JSON; null when there are none. */
  rest: string | null;
}

const nothing: ExifFacts = { takenAt: null, camera: null, latitude: null, longitude: null, altitude: null, rest: null };

/** Longer values of a tag are binary or notes of the maker. */
const longest = 1000;

/** Degrees, minutes and seconds as degrees; null where they are no place on earth. */
function degrees(parts: readonly number[] | undefined, reference: string | undefined, limit: number): number | null {
  if (parts === undefined || parts.length !== 3 || !parts.every(Number.isFinite)) return null;
  const value = parts[0]! + parts[1]! / 60 + parts[2]! / 3600;
  if (value > limit) return null;
  return /^[sw]/i.test(reference ?? "") ? -value : value;
}

/** The reader gives local times as if they were UTC. */
function localTime(value: unknown): string | null {
  if (!(value instanceof Date) || Number.isNaN(value.getTime())) return null;
  return value.toISOString().replace("T", " ").slice(0, 19);
}

const clean = (value: unknown): string => (typeof value === "string" ? value.replaceAll("\0", "").trim() : "");

/** EXIF as libvips gives it. Damaged EXIF is no EXIF: the image can be good nevertheless. */
export function readExif(exif: Buffer | undefined, withoutPlace: boolean): ExifFacts {
  if (exif === undefined) return nothing;
  let tags: parse.Exif;
  try {
    tags = parse(exif);
  } catch {
    return nothing;
  }
  const { Image: image, Photo: photo, GPSInfo: gps } = tags;
  const make = clean(image?.Make);
  const model = clean(image?.Model);
  const camera = (model.toLowerCase().startsWith(make.toLowerCase()) ? model : `${make} ${model}`).trim();
  const place = withoutPlace ? undefined : gps;
  const altitude = place?.GPSAltitude;
  const rest: Record<string, unknown> = {};
  for (const [name, value] of Object.entries({ ...image, ...photo, ...place })) {
    if (value instanceof Date) rest[name] = localTime(value);
    else if (typeof value === "string") rest[name] = clean(value).slice(0, longest);
    else if (typeof value === "number") rest[name] = value;
    else if (Array.isArray(value) && value.length <= 16) rest[name] = value;
  }
  return {
    takenAt: localTime(photo?.DateTimeOriginal ?? photo?.DateTimeDigitized ?? image?.DateTime),
    camera: camera === "" ? null : camera,
    latitude: degrees(place?.GPSLatitude, place?.GPSLatitudeRef, 90),
    longitude: degrees(place?.GPSLongitude, place?.GPSLongitudeRef, 180),
    altitude:
      typeof altitude === "number" && Number.isFinite(altitude)
        ? place?.GPSAltitudeRef === 1
          ? -altitude
          : altitude
        : null,
    rest: Object.keys(rest).length === 0 ? null : JSON.stringify(rest),
  };
}

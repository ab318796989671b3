import { execFile } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { requireProgram } from "./install.ts";

const execute = promisify(execFile);

/** What `gdalinfo -json` says of a raster, as far as tests look at it. */
export interface RasterFacts {
  size: [number, number];
  geoTransform?: number[];
  coordinateSystem?: { wkt: string };
  stac?: { "proj:epsg"?: number | null };
  bands: {
    type: string;
    noDataValue?: number | string;
    minimum?: number;
    maximum?: number;
    mean?: number;
    overviews?: { size: [number, number] }[];
    metadata?: { ""?: Record<string, string> };
  }[];
  metadata?: Record<string, Record<string, string>>;
}

/** GDAL, which makes rasters for tests and says what others hold. */
export interface Gdal {
  info(path: string, ...options: string[]): Promise<RasterFacts>;
  /** Runs `gdal_translate`. */
  translate(from: string, to: string, ...options: string[]): Promise<void>;
  /** The values of a raster or of a part of it: band by band, x fastest, in the order of this machine. */
  values(path: string, ...options: string[]): Promise<Buffer>;
  /** Makes a raster of such values. `type` is GDAL's number of it: 1 is Byte, 2 UInt16, 4 Float32. */
  make(to: string, raster: RawRaster, ...options: string[]): Promise<void>;
  /** Points through `gdaltransform`, longitude first. */
  transform(from: string, to: string, points: readonly (readonly [number, number])[]): Promise<[number, number][]>;
}

export interface RawRaster {
  values: Uint8Array;
  width: number;
  height: number;
  bands: number;
  /** As ENVI counts them: 1 Byte, 2 Int16, 3 Int32, 4 Float32, 5 Float64, 12 UInt16, 13 UInt32. */
  type: number;
}

/** Throws `unreachable` when it cannot be had. */
export async function requireGdal(): Promise<Gdal> {
  const program = { service: "GDAL", packages: ["gdal-bin"] };
  const gdalinfo = await requireProgram({ ...program, name: "gdalinfo" });
  const gdalTranslate = await requireProgram({ ...program, name: "gdal_translate" });
  const gdalTransform = await requireProgram({ ...program, name: "gdaltransform" });
  const env = { ...process.env, GDAL_PAM_ENABLED: "NO" };
  const scratch = (): string => join(tmpdir(), `millrace-gdal-${crypto.randomUUID()}`);
  const translate = async (from: string, to: string, ...options: string[]): Promise<void> => {
    await execute(gdalTranslate, ["-q", ...options, from, to], { env });
  };
  return {
    async info(path, ...options) {
      const { stdout } = await execute(gdalinfo, ["-json", ...options, path], { env, maxBuffer: 2 ** 26 });
      return JSON.parse(stdout) as RasterFacts;
    },
    translate,
    async values(path, ...options) {
      const raw = scratch();
      try {
        await translate(path, raw, "-of", "ENVI", "-co", "INTERLEAVE=BSQ", ...options);
        return await readFile(raw);
      } finally {
        await Promise.all(["", ".hdr", ".aux.xml"].map((suffix) => rm(`${raw}${suffix}`, { force: true })));
      }
    },
    async make(to, { values, width, height, bands, type }, ...options) {
      const raw = scratch();
      const header = `ENVI\nsamples = ${width}\nlines = ${height}\nbands = ${bands}\nheader offset = 0\nfile type = ENVI Standard\ndata type = ${type}\ninterleave = bsq\nbyte order = 0\n`;
      await writeFile(raw, values);
      await writeFile(`${raw}.hdr`, header);
      try {
        await translate(raw, to, ...options);
      } finally {
        await Promise.all(["", ".hdr", ".aux.xml"].map((suffix) => rm(`${raw}${suffix}`, { force: true })));
      }
    },
    async transform(from, to, points) {
      const running = execute(gdalTransform, ["-s_srs", from, "-t_srs", to, "-output_xy"], {
        maxBuffer: 2 ** 26,
        env: { ...env, OSR_DEFAULT_AXIS_MAPPING_STRATEGY: "TRADITIONAL_GIS_ORDER" },
      });
      running.child.stdin!.end(points.map(([x, y]) => `${x} ${y}\n`).join(""));
      const { stdout } = await running;
      return stdout
        .trim()
        .split("\n")
        .map((line) => line.split(" ").map(Number) as [number, number]);
    },
  };
}

import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { forEachLimited } from "../../src/core/index.ts";
import { onEarth, transformOf } from "../../src/formats/geotiff/crs.ts";
import { openLake } from "../../src/index.ts";
import { requireGdal, type Gdal, type RawRaster } from "../services/gdal.ts";

type Row = Record<string, unknown>;

const corpus = join(import.meta.dirname, "../../../shared/corpora/good/images/geotiff");

let folder = "";
let gdal: Gdal;
let count = 0;

beforeAll(async () => {
  gdal = await requireGdal();
  folder = await mkdtemp(join(tmpdir(), "millrace-geotiff-"));
}, 300_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(path: string | string[], options: Row = {}): Promise<{ rows: Row[]; rejected: Row[] }> {
  const place = join(folder, `lake-${count++}`);
  await mkdir(place);
  const flows = { scenes: { from: { path, format: "geotiff", options, assets: { keep: false } } } };
  await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", flows }));
  await using lake = await openLake({ folder: place });
  const report = await lake.run("scenes");
  const order = "order by uri, level, tile_row, tile_column, pixel_window";
  const rows = report.written === 0 ? [] : ((await lake.query(`select * from scenes ${order}`)).rows as Row[]);
  const rejected = report.rejected === 0 ? [] : ((await lake.query("select * from scenes__rejected")).rows as Row[]);
  return { rows, rejected };
}

const numbers = (value: unknown): number[] => (value as unknown[]).map(Number);

/** Smooth in places and noisy in others, with extremes; as many bytes as the raster has. */
function raster(width: number, height: number, bands: number, name: keyof typeof types): RawRaster {
  const { make, envi } = types[name];
  const values = make(width * height * bands);
  let state = 7;
  for (let index = 0; index < values.length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const smooth = Math.floor(index / 9) % 120;
    values[index] = name.startsWith("float") ? (state / 2 ** 32 - 0.5) * 1e4 : index % 3 === 0 ? state >>> 8 : smooth;
  }
  return { values: new Uint8Array(values.buffer), width, height, bands, type: envi };
}

const types = {
  uint8: { make: (length: number) => new Uint8Array(length), envi: 1 },
  int16: { make: (length: number) => new Int16Array(length), envi: 2 },
  int32: { make: (length: number) => new Int32Array(length), envi: 3 },
  float32: { make: (length: number) => new Float32Array(length), envi: 4 },
  float64: { make: (length: number) => new Float64Array(length), envi: 5 },
  uint16: { make: (length: number) => new Uint16Array(length), envi: 12 },
  uint32: { make: (length: number) => new Uint32Array(length), envi: 13 },
};

const utm = ["-a_srs", "EPSG:32633", "-a_ullr", "399960", "5800020", "401960", "5798420"];

test.skipIf(!existsSync(corpus))("facts are those of GDAL", { timeout: 60_000 }, async () => {
  const { rows, rejected } = await read(`${corpus}/*.tif`);
  expect(rejected).toEqual([]);
  const files = (await readdir(corpus)).filter((name) => name.endsWith(".tif"));
  expect(rows.map((row) => basename(String(row["uri"])))).toEqual(files.toSorted());
  for (const row of rows) {
    const name = basename(String(row["uri"]));
    const info = await gdal.info(join(corpus, name), "-stats", "--config", "GDAL_PAM_ENABLED", "NO");
    const epsg = info.stac?.["proj:epsg"];
    expect([name, row["width"], row["height"], row["bands"], row["crs"]]).toEqual([
      name,
      ...info.size,
      info.bands.length,
      // GDAL knows a system by its parameters where the file does not name it.
      typeof epsg === "number" && row["crs"] !== null ? `EPSG:${epsg}` : null,
    ]);
    const [c, a, b, f, d, e] = info.geoTransform!;
    for (const [index, value] of [a, b, c, d, e, f].entries())
      expect(Math.abs(numbers(row["affine"])[index]! - value!)).toBeLessThan(1e-9 * Math.max(1, Math.abs(value!)));
    const kind = info.bands[0]!.type.toLowerCase().replace("byte", "uint8");
    expect(row["data_type"]).toBe(kind);
    if (name.startsWith("RGBA")) continue; // GDAL leaves out of its statistics what alpha hides.
    for (const [index, band] of info.bands.entries()) {
      const measured = (row["statistics"] as Row[])[index]!;
      const said = band.metadata?.[""] ?? {};
      const minimum = said["STATISTICS_MINIMUM"];
      expect([name, measured["minimum"] === null]).toEqual([name, minimum === undefined]);
      if (minimum === undefined) continue;
      for (const [own, gdals] of [
        ["minimum", "STATISTICS_MINIMUM"],
        ["maximum", "STATISTICS_MAXIMUM"],
        ["mean", "STATISTICS_MEAN"],
      ] as const) {
        const wanted = Number(said[gdals]);
        expect(Math.abs(Number(measured[own]) - wanted)).toBeLessThanOrEqual(Math.abs(wanted) * 1e-9 + 1e-9);
      }
      const valid = Number(said["STATISTICS_VALID_PERCENT"]);
      expect(Math.abs(100 * (1 - Number(measured["nodata_share"])) - valid)).toBeLessThan(0.01);
    }
  }
});

const creations: Record<string, [keyof typeof types, bands: number, ...options: string[]]> = {
  strips: ["uint8", 3],
  "one-strip": ["uint16", 2, "-co", "BLOCKYSIZE=160"],
  tiled: ["int16", 1, "-co", "TILED=YES", "-co", "BLOCKXSIZE=64", "-co", "BLOCKYSIZE=32"],
  "band-tiles": ["uint32", 3, "-co", "TILED=YES", "-co", "INTERLEAVE=BAND", "-co", "COMPRESS=LZW"],
  big: ["float64", 1, "-co", "BIGTIFF=YES", "-co", "COMPRESS=ZSTD", "-co", "TILED=YES"],
  motorola: ["int32", 2, "-co", "ENDIANNESS=BIG", "-co", "TILED=YES", "-co", "BLOCKXSIZE=16", "-co", "BLOCKYSIZE=16"],
  "motorola-deflate": ["float32", 1, "-co", "ENDIANNESS=BIG", "-co", "COMPRESS=DEFLATE"],
  "predictor-2": ["uint16", 3, "-co", "COMPRESS=DEFLATE", "-co", "PREDICTOR=2", "-co", "TILED=YES"],
  "predictor-3": ["float32", 2, "-co", "COMPRESS=LZW", "-co", "PREDICTOR=3"],
  packbits: ["uint8", 1, "-co", "COMPRESS=PACKBITS"],
  lerc: ["float32", 1, "-co", "COMPRESS=LERC", "-co", "TILED=YES"],
  "lerc-zstd": ["int16", 1, "-co", "COMPRESS=LERC_ZSTD", "-co", "MAX_Z_ERROR=0"],
  nibbles: ["uint8", 1, "-co", "NBITS=4"],
  "twelve-bits": ["uint16", 1, "-co", "NBITS=12"],
  sparse: ["uint8", 1, "-co", "SPARSE_OK=TRUE", "-co", "TILED=YES", "-a_nodata", "0"],
};

test("the values of tiles and windows are those of `gdal_translate -srcwin`", { timeout: 120_000 }, async () => {
  const place = join(folder, "in");
  await mkdir(place);
  await forEachLimited(Object.entries(creations), 4, async ([name, [type, bands, ...options]]) => {
    const made = raster(200, 160, bands, type);
    if (name === "sparse") made.values.fill(0, 0, 200 * 130);
    if (name === "nibbles") for (let at = 0; at < made.values.length; at++) made.values[at]! &= 15;
    if (name === "twelve-bits") for (let at = 1; at < made.values.length; at += 2) made.values[at]! &= 15;
    await gdal.make(join(place, `${name}.tif`), made, ...utm, ...options);
  });
  const { rows, rejected } = await read(`${place}/*.tif`, { rows: "tile", tile: 96, pixels: "array" });
  expect(rejected).toEqual([]);
  const groups = Map.groupBy(rows, (row) => basename(String(row["uri"]), ".tif"));
  expect([...groups.keys()].toSorted()).toEqual(Object.keys(creations).toSorted());
  await forEachLimited([...groups], 4, async ([name, tiles]) => {
    expect(tiles).toHaveLength(6);
    for (const tile of [tiles[1]!, tiles[5]!]) {
      const window = numbers(tile["pixel_window"]);
      const wanted = await gdal.values(join(place, `${name}.tif`), "-srcwin", ...window.map(String));
      expect([name, tile["problem"], numbers(tile["shape"])]).toEqual([
        name,
        null,
        [creations[name]![1], window[3], window[2]],
      ]);
      expect([name, Buffer.from(tile["pixels"] as Uint8Array).equals(wanted)]).toEqual([name, true]);
    }
  });
  // What the library would get wrong is not read, and says so.
  const odd = join(folder, "odd");
  await mkdir(odd);
  const motorola = ["-co", "ENDIANNESS=BIG", "-co", "COMPRESS=DEFLATE"];
  await gdal.make(join(odd, "predictor-2.tif"), raster(64, 64, 1, "uint16"), ...motorola, "-co", "PREDICTOR=2");
  await gdal.make(join(odd, "webp.tif"), raster(64, 64, 3, "uint8"), "-co", "COMPRESS=WEBP");
  const unread = (await read(`${odd}/*.tif`, { rows: "tile", pixels: "array" })).rows;
  expect(unread.map((row) => [row["problem"], row["pixels"], row["width"]])).toEqual([
    ["its bytes are of the order that is not read with predictor 2", null, 64],
    ["its pixels are compressed as webp, which is not read", null, 64],
  ]);
  // Bands in the order that is asked for, and the bounds of the tile.
  const [some] = (await read(`${place}/predictor-2.tif`, { rows: "tile", tile: 128, pixels: "array", bands: [3, 1] }))
    .rows;
  const wanted = await gdal.values(
    join(place, "predictor-2.tif"),
    "-srcwin",
    "0",
    "0",
    "128",
    "128",
    "-b",
    "3",
    "-b",
    "1",
  );
  expect(Buffer.from(some!["pixels"] as Uint8Array).equals(wanted)).toBe(true);
  expect(numbers(some!["window_bounds"])).toEqual([399960, 5798740, 401240, 5800020]);
  expect((some!["statistics"] as Row[]).map(({ band }) => band)).toEqual([3, 1]);
});

test("overviews, masks, JPEG and what makes a cloud-optimised file", { timeout: 60_000 }, async () => {
  const place = join(folder, "cogs");
  await mkdir(place);
  const large = raster(1100, 800, 3, "uint8");
  const ullr = ["-a_srs", "EPSG:3857", "-a_ullr", "1000000", "6010000", "1015000", "5999000"];
  const plain = join(place, "plain.tif");
  await gdal.make(plain, large, ...ullr);
  await gdal.translate(plain, join(place, "tiled.tif"), "-co", "TILED=YES");
  await gdal.translate(plain, join(place, "cog.tif"), "-of", "COG", "-co", "COMPRESS=DEFLATE");
  await gdal.translate(plain, join(place, "cog-jpeg.tif"), "-of", "COG", "-co", "COMPRESS=JPEG", "-co", "QUALITY=90");
  await gdal.translate(plain, join(place, "cog-big.tif"), "-of", "COG", "-co", "BIGTIFF=YES", "-co", "BLOCKSIZE=128");
  await gdal.translate(plain, join(place, "masked.tif"), "-of", "COG", "-b", "1", "-b", "2", "-mask", "3");
  const { rows } = await read(`${place}/*.tif`);
  const by = new Map(rows.map((row) => [basename(String(row["uri"]), ".tif"), row]));
  expect(
    [...by]
      .toSorted(([left], [right]) => (left < right ? -1 : 1))
      .map(([name, row]) => [name, row["is_cog"], row["cog_problem"]]),
  ).toEqual([
    ["cog", true, null],
    ["cog-big", true, null],
    ["cog-jpeg", true, null],
    ["masked", true, null],
    ["plain", false, "it is larger than 512 pixels and has no tiles"],
    ["tiled", false, "it is larger than 512 pixels and has no overviews"],
  ]);
  for (const name of ["cog", "cog-big"]) {
    const info = await gdal.info(join(place, `${name}.tif`));
    expect(by.get(name)!["overviews"]).toEqual(
      info.bands[0]!.overviews!.map(({ size: [width, height] }) => ({ width, height })),
    );
    expect(by.get(name)!["statistics"]).toEqual(by.get("plain")!["statistics"]);
  }
  // The third band as mask: what is 0 there is no value of the others.
  const zeros = large.values.subarray(1100 * 800 * 2).filter((value) => value === 0).length;
  expect(by.get("masked")!).toMatchObject({ has_mask: true, bands: 2 });
  expect(zeros).toBeGreaterThan(1000);
  expect(by.get("masked")!["nodata_share"]).toBeCloseTo(zeros / (1100 * 800), 9);
  // An overview, and colours that JPEG keeps as luminance and differences.
  const [tile] = (await read(`${place}/cog.tif`, { rows: "tile", overview: 1, tile: 512, pixels: "array" })).rows;
  const whole = await gdal.values(join(place, "cog.tif"), "-oo", "OVERVIEW_LEVEL=0", "-srcwin", "0", "0", "512", "400");
  expect(Buffer.from(tile!["pixels"] as Uint8Array).equals(whole)).toBe(true);
  const photo = join(place, "cog-jpeg.tif");
  const [picture] = (await read(photo, { rows: "tile", tile: 512, pixels: "png" })).rows;
  const decoded = await sharp(Buffer.from(picture!["image"] as Uint8Array))
    .raw()
    .toBuffer({ resolveWithObject: true });
  expect(decoded.info).toMatchObject({ width: 512, height: 512, channels: 3 });
  const jpeg = await gdal.values(photo, "-srcwin", "0", "0", "512", "512");
  let sum = 0;
  for (let at = 0; at < 512 * 512; at++)
    for (let band = 0; band < 3; band++) sum += Math.abs(decoded.data[at * 3 + band]! - jpeg[band * 512 * 512 + at]!);
  // Colour differences at half the resolution are made larger by different rules.
  expect(sum / (512 * 512 * 3)).toBeLessThan(40);
});

test("degrees and `bbox` are where GDAL has them", { timeout: 60_000 }, async () => {
  const near: Record<number, [number, number]> = { 32601: [-178, 40], 32633: [14, 52], 32756: [152, -33], 26918: [-76, 40], 25832: [8, 50], 3857: [-70, -60], 3395: [100, 30], 3035: [4, 47], 2154: [5, 44], 5070: [-110, 35], 3031: [80, -75], 3413: [-160, 82] }; // prettier-ignore
  await Promise.all(
    Object.entries(near).map(async ([epsg, [longitude, latitude]]) => {
      const points = [0, 1, 2, 3].map((step) => [longitude + step / 2, latitude - step / 3] as const);
      const wanted = await gdal.transform("EPSG:4326", `EPSG:${epsg}`, points);
      const { fromDegrees, toDegrees } = transformOf(Number(epsg))!;
      for (const [index, [x, y]] of wanted.entries()) {
        const own = fromDegrees([...points[index]!]);
        expect([epsg, Math.hypot(own[0] - x, own[1] - y) < 0.01]).toEqual([epsg, true]);
        const back = toDegrees([x, y]);
        expect(Math.hypot(back[0] - points[index]![0], back[1] - points[index]![1])).toBeLessThan(1e-6);
      }
    }),
  );
  expect(transformOf(26711)).toBeUndefined();
  expect(onEarth([170, -1, 190, 1])).toEqual([170, -1, -170, 1]);
  expect(onEarth([180, -1, 200, 1])).toEqual([-180, -1, -160, 1]);
  expect(onEarth([0, -90, 360, 90])).toEqual([-180, -90, 180, 90]);

  const place = join(folder, "bbox");
  await mkdir(place);
  const scene = join(place, "scene.tif");
  await gdal.make(scene, raster(200, 160, 1, "uint16"), ...utm, "-co", "TILED=YES", "-co", "BLOCKXSIZE=64", "-co", "BLOCKYSIZE=64"); // prettier-ignore
  const bbox = [13.535, 52.328, 13.548, 52.336];
  const [row, ...more] = (await read(scene, { rows: "window", bbox, pixels: "array" })).rows;
  expect(more).toEqual([]);
  const [x, y, width, height] = numbers(row!["pixel_window"]) as [number, number, number, number];
  const wanted = await gdal.values(scene, "-srcwin", ...[x, y, width, height].map(String));
  expect(Buffer.from(row!["pixels"] as Uint8Array).equals(wanted)).toBe(true);
  // Every pixel whose middle is in the box, and at most one more on each side.
  const middles = Array.from({ length: 200 * 160 }, (_, at) => [399965 + 10 * (at % 200), 5800015 - 10 * Math.floor(at / 200)] as const); // prettier-ignore
  const degrees = await gdal.transform("EPSG:32633", "EPSG:4326", middles);
  const inside = [...degrees.keys()].filter((at) => {
    const [longitude, latitude] = degrees[at]!;
    return longitude > bbox[0]! && longitude < bbox[2]! && latitude > bbox[1]! && latitude < bbox[3]!;
  });
  const columns = inside.map((at) => at % 200);
  const lines = inside.map((at) => Math.floor(at / 200));
  for (const [from, to, own, length] of [
    [Math.min(...columns), Math.max(...columns), x, width],
    [Math.min(...lines), Math.max(...lines), y, height],
  ] as const) {
    expect(from - own).toBeGreaterThanOrEqual(0);
    expect(from - own).toBeLessThanOrEqual(1);
    expect(own + length - 1 - to).toBeGreaterThanOrEqual(0);
    expect(own + length - 1 - to).toBeLessThanOrEqual(1);
  }
  expect(width).toBeLessThan(120);
  const tiles = (await read(scene, { rows: "tile", tile: 64, bbox })).rows;
  const met = [Math.floor(x / 64), Math.floor((x + width - 1) / 64), Math.floor(y / 64), Math.floor((y + height - 1) / 64)] as const; // prettier-ignore
  expect(tiles).toHaveLength((met[1] - met[0] + 1) * (met[3] - met[2] + 1));
  expect((await read(scene, { rows: "tile", bbox: [0, 0, 1, 1] })).rows).toEqual([]);

  const pacific = join(place, "pacific.tif");
  await gdal.make(pacific, raster(200, 100, 1, "uint8"), "-a_srs", "EPSG:4326", "-a_ullr", "170", "5", "190", "-5");
  const halves = (await read(pacific, { rows: "window", bbox: [179, -1, -179, 1] })).rows;
  expect(halves.map((half) => numbers(half["pixel_window"]))).toEqual([
    [90, 40, 10, 20],
    [100, 40, 10, 20],
  ]);
  expect(numbers(halves[0]!["bounds_wgs84"])).toEqual([170, -5, -170, 5]);
});

test(
  "files that are cut, lie or are hostile are rejected with a reason, and the others go on",
  { timeout: 60_000 },
  async () => {
    const hostile = join(folder, "hostile");
    await mkdir(hostile);
    const good = join(hostile, "good.tif");
    const options = ["-co", "TILED=YES", "-co", "BLOCKXSIZE=64", "-co", "BLOCKYSIZE=64", "-co", "COMPRESS=DEFLATE"];
    await gdal.make(good, raster(200, 160, 2, "uint16"), ...utm, ...options);
    const bytes = await readFile(good);
    const directory = bytes.readUInt32LE(4);
    /** Where the entry of a tag begins. */
    const entry = (tag: number): number => {
      for (let index = 0; index < bytes.readUInt16LE(directory); index++) {
        const at = directory + 2 + index * 12;
        if (bytes.readUInt16LE(at) === tag) return at;
      }
      throw new Error(`no tag ${tag}`);
    };
    const put = (name: string, change: (copy: Buffer) => Buffer | void): Promise<void> => {
      const copy = Buffer.from(bytes);
      return writeFile(join(hostile, `${name}.tif`), change(copy) ?? copy);
    };
    await put("cut", (copy) => copy.subarray(0, copy.length / 2));
    await put("cut-by-one", (copy) => copy.subarray(0, copy.length - 1));
    await put("no-tiff", (copy) => void copy.write("no"));
    await put(
      "circle",
      (copy) => void copy.writeUInt32LE(directory, directory + 2 + copy.readUInt16LE(directory) * 12),
    );
    await put("huge", (copy) => {
      copy.writeUInt16LE(4, entry(256) + 2);
      copy.writeUInt32LE(0x7fffffff, entry(256) + 8);
      copy.writeUInt16LE(4, entry(257) + 2);
      copy.writeUInt32LE(0x7fffffff, entry(257) + 8);
    });
    await put("no-width", (copy) => void copy.writeUInt32LE(0, entry(256) + 8));
    await put("no-tile", (copy) => void copy.writeUInt32LE(0, entry(322) + 8));
    await put("wide-tile", (copy) => {
      copy.writeUInt16LE(4, entry(322) + 2);
      copy.writeUInt32LE(0x40000000, entry(322) + 8);
    });
    await put("elsewhere", (copy) => void copy.writeUInt32LE(0xfffffff0, entry(324) + 8));
    await put("many-values", (copy) => void copy.writeUInt32LE(0xffffffff, entry(324) + 4));
    await put("noise-in-a-block", (copy) => {
      const first = copy.readUInt32LE(copy.readUInt32LE(entry(324) + 8));
      copy.fill(0xa5, first + 2, first + 200);
    });
    await writeFile(join(hostile, "page.tif"), "<!DOCTYPE html><title>Log in</title>");
    const { rows, rejected } = await read(`${hostile}/*.tif`, { rows: "tile", pixels: "array" });
    expect(rows.map((row) => basename(String(row["uri"])))).toEqual(["good.tif"]);
    const reasons = Object.fromEntries(
      rejected.map((row) => [basename(String(row["origin"]), ".tif"), String(row["reason"])]),
    );
    expect(Object.keys(reasons)).toHaveLength((await readdir(hostile)).length - 1);
    for (const [name, pattern] of Object.entries({
      cut: /ends before|damaged/,
      "cut-by-one": /ends before its pixels do/,
      "no-tiff": /it is no TIFF/,
      circle: /circle/,
      huge: /blocks/,
      "no-width": /has 0 pixels/,
      "no-tile": /has 0 pixels/,
      "wide-tile": /blocks/,
      elsewhere: /ends before|damaged|blocks/,
      "many-values": /blocks|ends before|memory/,
      "noise-in-a-block": /damaged/,
      page: /it is no TIFF/,
    }))
      expect(reasons[name]).toMatch(pattern);
    const asked = async (wanted: Row): Promise<string> => String((await read(good, wanted)).rejected[0]?.["reason"]);
    expect(await asked({ overview: 2 })).toContain("it has 0 overviews");
    expect(await asked({ bands: [3] })).toContain("it has 2 bands");
    const plain = join(folder, "no-place.tif");
    await gdal.make(plain, raster(3000, 1000, 2, "float64"));
    expect(String((await read(plain, { bbox: [0, 0, 1, 1] })).rejected[0]?.["reason"])).toContain(
      "`bbox` cannot be applied",
    );
    const [large] = (await read(plain, { pixels: "array", statistics: false })).rows;
    expect(large).toMatchObject({ pixels: null, problem: expect.stringContaining("more than 7 MiB a row") as string });
  },
);

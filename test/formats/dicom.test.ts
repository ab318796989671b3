import { existsSync, readdirSync } from "node:fs";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import { decodeText } from "../../src/formats/dicom/text.ts";
import { pythonEnvironment, runPython, type PythonEnvironment } from "../services/python.ts";

const corpora = join(import.meta.dirname, "../../../shared/corpora");
const here = existsSync(corpora);
const good = join(corpora, "good/images/dicom");

type Row = Record<string, unknown>;
let folder: string;
let python: PythonEnvironment;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-dicom-"));
  python = await pythonEnvironment([
    "pydicom==3.0.1",
    "numpy==2.2.6",
    "pillow==11.3.0",
    "pylibjpeg==2.0.1",
    "pylibjpeg-libjpeg==2.3.0",
    "pylibjpeg-openjpeg==2.4.0",
  ]);
}, 300_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Read {
  rows: Row[];
  rejected: Row[];
  place: string;
}
async function read(path: string | string[], options: Row = {}, from: Row = {}): Promise<Read> {
  const place = join(folder, `lake-${count++}`);
  await mkdir(place);
  const flows = { scans: { from: { path, format: "dicom", options, ...from } } };
  await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", flows }));
  await using lake = await openLake({ folder: place });
  const report = await lake.run("scans");
  const rows = (await lake.query("select * from scans order by uri, frame")).rows as Row[];
  const rejected = report.rejected === 0 ? [] : ((await lake.query("select * from scans__rejected")).rows as Row[]);
  expect(report.read).toBe(rows.length + rejected.length);
  return { rows, rejected, place };
}

/** What pydicom says of files: every element by name, and the pixels as arrays, in files of their own. */
const oracle = `
import sys, json, os, pydicom, numpy as np
from pydicom.pixels import apply_rescale
target = sys.argv[1]
def value(e):
    if e.VR == "SQ": return [dataset(item) for item in e.value]
    if e.VR in ("OB","OW","OF","OD","OL","OV","UN"): return {"bytes": len(e.value or b"")}
    def one(v):
        if v is None or v == "": return None
        if e.VR in ("DS","FL","FD"): return float(v)
        if e.VR == "IS": return int(v)
        if e.VR == "AT": return "%08X" % int(v)
        if isinstance(v, int): return v
        return str(v).strip()
    v = e.value
    if isinstance(v, (list, pydicom.multival.MultiValue)):
        values = [one(x) for x in v]
        return None if not values else values[0] if len(values) == 1 else values
    return one(v)
def dataset(ds):
    return {e.keyword: value(e) for e in ds if e.tag.element != 0 and not e.tag.is_private and e.keyword}
result = {}
for path in sys.argv[2:]:
    name = os.path.basename(path)
    ds = pydicom.dcmread(path, force=True)
    facts = {"tags": {**dataset(ds.file_meta), **dataset(ds)}}
    try:
        pixels = ds.pixel_array
        if ds.get("SamplesPerPixel", 1) == 1: pixels = apply_rescale(pixels, ds)
        facts["shape"] = list(pixels.shape)
        file = os.path.join(target, name + ".raw")
        pixels.astype("<f8").tofile(file)
        facts["pixels"] = file
    except Exception as error:
        facts["refused"] = str(error)[:200]
    result[name] = facts
print(json.dumps(result))
`;

interface Truth {
  tags: Row;
  shape?: number[];
  pixels?: string;
  refused?: string;
}
async function truthOf(paths: readonly string[]): Promise<Record<string, Truth>> {
  const target = await mkdtemp(join(folder, "truth-"));
  return JSON.parse(await runPython(python, oracle, [target, ...paths])) as Record<string, Truth>;
}

/** Samples of a row as numbers. */
function samplesOf(row: Row): ArrayLike<number> {
  const bytes = Uint8Array.from(row["pixels"] as Uint8Array).buffer;
  const kinds = {
    uint8: Uint8Array,
    int8: Int8Array,
    uint16: Uint16Array,
    int16: Int16Array,
    uint32: Uint32Array,
    int32: Int32Array,
    float32: Float32Array,
    float64: Float64Array,
  };
  return new kinds[row["pixel_type"] as keyof typeof kinds](bytes);
}

describe.skipIf(!here)("dicom: the corpus", () => {
  const paths = here
    ? readdirSync(good)
        .filter((name) => name.endsWith(".dcm"))
        .map((name) => join(good, name))
    : [];

  test("elements and pixels are those that pydicom reads", { timeout: 120_000 }, async () => {
    const truth = await truthOf(paths);
    const { rows, rejected } = await read(
      `${good}/*.dcm`,
      { rows: "frame", pixels: "array" },
      { assets: { keep: false } },
    );
    expect(rejected.map((row) => [row["origin"], row["reason"]])).toEqual([]);
    expect(new Set(rows.map((row) => row["uri"])).size).toBe(paths.length);
    let elements = 0;
    let exact = 0;
    const refused: string[] = [];
    for (const row of rows) {
      const name = basename(String(row["uri"]));
      const { tags, shape, pixels } = truth[name]!;
      if (row["frame"] === null || row["frame"] === 0) {
        const own = JSON.parse(String(row["tags"])) as Row;
        for (const [keyword, value] of Object.entries(tags)) {
          if (keyword === "PixelData") continue;
          elements++;
          // JSON knows no -0.
          expect([name, keyword, own[keyword]]).toEqual([name, keyword, JSON.parse(JSON.stringify(value))]);
        }
      }
      if (row["pixels"] === null && row["problem"] !== null) refused.push(`${name}: ${row["problem"] as string}`);
      if (pixels === undefined) continue;
      const all = new Float64Array((await readFile(pixels)).buffer);
      const samples = samplesOf(row);
      const frames = shape!.length === (row["shape"] as number[]).length ? 1 : shape![0]!;
      expect([name, samples.length * frames]).toEqual([name, all.length]);
      const wanted = all.subarray(Number(row["frame"]) * samples.length, (Number(row["frame"]) + 1) * samples.length);
      let worst = 0;
      for (let index = 0; index < samples.length; index++)
        worst = Math.max(worst, Math.abs(samples[index]! - wanted[index]!));
      // Decoders of JPEG round colours and cosines as they like; a rescaled value has the precision of 32 bits.
      const isJpeg = /^JPEG (Baseline|Extended)/.test(String(row["transfer_syntax"]));
      const allowed =
        isJpeg ||
        tags["PhotometricInterpretation"] === "YBR_FULL" ||
        tags["PhotometricInterpretation"] === "YBR_FULL_422"
          ? 4
          : 1e-2;
      expect([name, row["frame"], worst <= allowed ? "same" : worst]).toEqual([name, row["frame"], "same"]);
      if (worst === 0) exact++;
    }
    expect(elements).toBeGreaterThan(1500);
    expect(exact).toBeGreaterThan(25);
    // JPEG of 12 bits has no decoder here, and the row says so.
    expect(refused).toEqual(["JPEG-lossy.dcm: there is no decoder for JPEG of 12 bits"]);
  });

  test("a picture by window has the size and the brightness of the frame", async () => {
    const { rows } = await read(join(good, "CT_small.dcm"), {
      pixels: "png",
      size: 64,
      window: { center: 40, width: 400 },
    });
    const { width, height, channels } = await sharp(rows[0]!["image"] as Uint8Array).metadata();
    expect([width, height, channels]).toEqual([64, 64, 1]);
    const full = await read(join(good, "CT_small.dcm"), { pixels: "png", size: 0, window: { center: 40, width: 400 } });
    const grey = await sharp(full.rows[0]!["image"] as Uint8Array)
      .toColourspace("b-w")
      .raw()
      .toBuffer();
    const values = samplesOf((await read(join(good, "CT_small.dcm"), { pixels: "array" })).rows[0]!);
    for (let index = 0; index < values.length; index += 97) {
      const share = Math.min(1, Math.max(0, (values[index]! - 39.5) / 399 + 0.5));
      expect(Math.abs(grey[index]! - share * 255)).toBeLessThanOrEqual(1);
    }
  });

  test("hostile files and files cut anywhere are rows or rejected records", { timeout: 120_000 }, async () => {
    const cut = join(folder, "cut");
    await mkdir(cut);
    const bytes = await readFile(join(good, "CT_small.dcm"));
    for (let part = 1; part < 12; part++)
      await writeFile(join(cut, `${part}.dcm`), bytes.subarray(0, (bytes.length * part) / 12));
    const hostile = join(corpora, "hostile/dicom");
    const { rows, rejected } = await read([`${hostile}/*`, `${cut}/*`], { rows: "frame", pixels: "array" });
    expect(rows.length + rejected.length).toBeGreaterThanOrEqual((await readdir(hostile)).length + 11);
    expect(rejected.filter((row) => String(row["origin"]).includes("/cut/"))).toHaveLength(11);
    const accepted = await read(`${cut}/*`, { rows: "frame", pixels: "array", truncated: "accept" });
    expect(accepted.rows.length).toBeGreaterThan(8);
    for (const row of accepted.rows) expect([row["problem"], row["pixels"]]).toEqual([expect.any(String), null]);
  });
});

test("dicom: text is decoded by its character set", async () => {
  const names = JSON.parse(
    await runPython(
      python,
      `
import json, os, pydicom
from pydicom.data import get_charset_files
found = {}
for path in get_charset_files("*.dcm"):
    with open(path, "rb") as file: data = file.read()
    found[os.path.basename(path)] = [path, str(pydicom.dcmread(path).get("PatientName", ""))]
print(json.dumps(found))
`,
    ),
  ) as Record<string, [string, string]>;
  expect(Object.keys(names).length).toBeGreaterThan(10);
  const { rows } = await read(Object.values(names).map(([path]) => path));
  for (const row of rows) {
    const name = basename(String(row["uri"]));
    const tags = JSON.parse(String(row["tags"])) as Row;
    expect([name, tags["PatientName"] ?? ""]).toEqual([name, names[name]![1]]);
  }
  expect(decodeText(Buffer.from("\x1b$BEl5~\x1b(B", "latin1"), ["", "ISO 2022 IR 87"])).toBe("東京");
});

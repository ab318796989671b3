import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import { pythonEnvironment, runPython } from "../services/python.ts";

type Row = Record<string, unknown>;

let folder = "";
let truth: Record<string, Truth> = {};
let count = 0;

interface Truth {
  shape: number[];
  affine: number[];
  zooms: number[];
  units: [string, string];
  codes: string;
  type: string;
  /** File of the values as float64, x fastest. */
  values: string;
}

/** Files of every kind of voxel and both orders of bytes, and what nibabel reads of them. */
const writer = `
import sys, json, os, gzip, numpy as np, nibabel as nib
target = sys.argv[1]
random = np.random.default_rng(7)
result = {}
def put(name, image):
    path = os.path.join(target, name)
    nib.save(image, path)
    back = nib.load(path)
    raw = os.path.join(target, "..", name + ".raw")
    np.asarray(back.get_fdata()).astype("<f8").ravel(order="F").tofile(raw)
    h = back.header
    result[name] = {"shape": list(back.shape), "affine": [float(x) for x in back.affine.ravel()], "zooms": [float(z) for z in h.get_zooms()],
      "units": list(h.get_xyzt_units()), "codes": "".join(nib.aff2axcodes(back.affine)), "type": h.get_data_dtype().newbyteorder("=").name, "values": raw}
def affine():
    rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
    full = np.eye(4)
    full[:3, :3] = rotation * np.array([1.5, 2.0, 3.0])
    full[:3, 3] = random.normal(size=3) * 50
    return full
for kind in ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]:
    for order in "<>":
        for cls, ending in [(nib.Nifti1Image, ".nii"), (nib.Nifti2Image, ".nii.gz")]:
            data = (random.normal(size=(5, 4, 3)) * 40 + 100).clip(0, 127).astype(np.dtype(kind).newbyteorder(order))
            header = cls.header_class(endianness=order)
            header.set_data_dtype(np.dtype(kind).newbyteorder(order))
            image = cls(data, affine(), header=header)
            image.header.set_xyzt_units("mm", "sec")
            put(kind + ("-le" if order == "<" else "-be") + ending, image)
scaled = nib.Nifti1Image((random.normal(size=(6, 5, 4, 7)) * 1000).astype("float32"), affine())
scaled.set_data_dtype("int16")
scaled.header.set_xyzt_units("micron", "msec")
put("scaled-4d.nii.gz", scaled)
turned = nib.Nifti1Image(random.normal(size=(4, 3, 2)).astype("float32"), None)
turned.set_qform(affine(), code=1)
turned.set_sform(None, code=0)
put("qform.nii", turned)
put("flat.nii", nib.Nifti1Image(random.normal(size=(9, 8)).astype("float32"), affine()))
print(json.dumps(result))
`;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-nifti-"));
  await mkdir(join(folder, "in"));
  const python = await pythonEnvironment(["nibabel==5.3.2", "numpy==2.2.6"]);
  truth = JSON.parse(await runPython(python, writer, [join(folder, "in")])) as Record<string, Truth>;
}, 300_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(path: string | string[], options: Row = {}): Promise<{ rows: Row[]; rejected: Row[] }> {
  const place = join(folder, `lake-${count++}`);
  await mkdir(place);
  const flows = { brains: { from: { path, format: "nifti", options } } };
  await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", flows }));
  await using lake = await openLake({ folder: place });
  const report = await lake.run("brains");
  const rows = (await lake.query("select * from brains order by uri, volume, slice")).rows as Row[];
  const rejected = report.rejected === 0 ? [] : ((await lake.query("select * from brains__rejected")).rows as Row[]);
  return { rows, rejected };
}

const arrays = {
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  uint32: Uint32Array,
  int32: Int32Array,
  uint64: BigUint64Array,
  int64: BigInt64Array,
  float32: Float32Array,
  float64: Float64Array,
};
const numbersOf = (row: Row): number[] =>
  Array.from(
    new arrays[row["voxel_type"] as keyof typeof arrays](Uint8Array.from(row["voxels"] as Uint8Array).buffer),
    Number,
  );

const units: Record<string, string | null> = { unknown: null, mm: "mm", micron: "µm", sec: "s", msec: "ms" };

test("geometry and voxels are those that nibabel reads", { timeout: 60_000 }, async () => {
  for (const unit of ["volume", "slice"]) {
    const { rows, rejected } = await read(`${folder}/in/*.nii*`, { rows: unit, voxels: true });
    expect(rejected).toEqual([]);
    const groups = Map.groupBy(rows, (row) => basename(String(row["uri"])));
    expect([...groups.keys()].toSorted()).toEqual(Object.keys(truth).toSorted());
    for (const [name, group] of groups) {
      const { shape, affine, zooms, units: said, codes, type, values } = truth[name]!;
      const first = group[0]!;
      expect([name, (first["dimensions"] as unknown[]).map(Number), first["data_type"], first["orientation"]]).toEqual([
        name,
        shape,
        type,
        codes,
      ]);
      for (const [index, value] of (first["affine"] as number[]).entries())
        expect(Math.abs(value - affine[index]!)).toBeLessThan(1e-4);
      for (const [index, value] of zooms.entries())
        expect(Math.abs((first["spacing"] as number[])[index]! - value)).toBeLessThan(1e-5);
      expect([first["space_unit"], first["time_unit"]]).toEqual(said.map((each) => units[each]));
      const wanted = new Float64Array(Uint8Array.from(await readFile(values)).buffer);
      const own = group.flatMap(numbersOf);
      expect([name, own.length]).toEqual([name, wanted.length]);
      // Slope and intercept are of 32 bits.
      for (let index = 0; index < own.length; index++)
        expect(Math.abs(own[index]! - wanted[index]!)).toBeLessThanOrEqual(1e-6 * Math.abs(wanted[index]!) + 1e-9);
      const all = group.map((row) => [row["minimum"], row["maximum"]]).flat() as number[];
      expect(Math.abs(Math.max(...all) - wanted.reduce((a, b) => Math.max(a, b)))).toBeLessThan(1e-3);
      expect(Math.abs(Math.min(...all) - wanted.reduce((a, b) => Math.min(a, b)))).toBeLessThan(1e-3);
    }
  }
});

test("files that are cut or lie about their size are rejected, and the others go on", { timeout: 60_000 }, async () => {
  const hostile = join(folder, "hostile");
  await mkdir(hostile);
  const good = gunzipSync(await readFile(join(folder, "in/scaled-4d.nii.gz")));
  const put = (name: string, change: (bytes: Buffer) => Buffer | void): Promise<void> => {
    const copy = Buffer.from(good);
    return writeFile(join(hostile, `${name}.nii`), change(copy) ?? copy);
  };
  await put("good", () => undefined);
  await put("half", (bytes) => bytes.subarray(0, bytes.length / 2));
  await put("head", (bytes) => bytes.subarray(0, 200));
  await put("empty", () => Buffer.alloc(0));
  await put("huge", (bytes) => {
    for (const index of [1, 2, 3, 4]) bytes.writeInt16LE(32_767, 40 + 2 * index);
  });
  await put("negative", (bytes) => {
    bytes.writeInt16LE(-4, 42);
  });
  await put("dimensions", (bytes) => {
    bytes.writeInt16LE(200, 40);
  });
  await put("offset", (bytes) => {
    bytes.writeFloatLE(Number.NaN, 108);
  });
  await put("behind", (bytes) => {
    bytes.writeFloatLE(-1e9, 108);
  });
  await put("affine", (bytes) => {
    bytes.fill(0xff, 280, 328);
  });
  const packed = gzipSync(good);
  await writeFile(join(hostile, "packed.nii.gz"), packed);
  await writeFile(join(hostile, "packed-half.nii.gz"), packed.subarray(0, packed.length / 2));
  await writeFile(join(hostile, "half-packed.nii.gz"), gzipSync(good.subarray(0, good.length / 2)));
  await writeFile(join(hostile, "zeros.nii.gz"), gzipSync(Buffer.alloc(20_000_000)));
  const named = (list: Row[], key: string): string[] =>
    [...new Set(list.map((row) => basename(String(row[key]))))].toSorted();
  for (const unit of ["file", "volume", "slice"]) {
    const { rows, rejected } = await read(`${hostile}/*`, { rows: unit, voxels: unit === "slice" });
    expect(named(rows, "uri")).toEqual(["affine.nii", "good.nii", "packed.nii.gz"]);
    expect(named(rejected, "origin")).toEqual([
      "behind.nii",
      "dimensions.nii",
      "empty.nii",
      "half-packed.nii.gz",
      "half.nii",
      "head.nii",
      "huge.nii",
      "negative.nii",
      "offset.nii",
      "packed-half.nii.gz",
      "zeros.nii.gz",
    ]);
  }
});

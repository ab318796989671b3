import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import { pythonEnvironment, runPython } from "../services/python.ts";

type Row = Record<string, unknown>;
let folder: string;
let written: Record<string, Row>;
let count = 0;

/**
 * Files whose every element that the profile names holds a mark of its own, also within sequences that stay, and private ones. The
 * names are those of another implementation, which is also asked what it makes of the same file.
 */
const writer = `
import sys, json, os, datetime, pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.datadict import dictionary_VR, dictionary_has_tag, keyword_for_tag
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as profile
from dicomanonymizer import anonymize_dataset
target = sys.argv[1]
found = []
def mark(tag, vr, n):
    if vr == "PN": return "Zq%dx^Qz%dy" % (n, n)
    if vr in ("LO","SH","ST","LT","UT","UC"): return "ZQ%dMARK" % n
    if vr == "CS": return "ZQ%dMARK" % n
    if vr == "AE": return "ZQ%dMARK" % n
    if vr == "UR": return "http://zq%dmark.example/" % n
    if vr == "UI": return "1.2.826.0.1.77%05d" % n
    if vr == "DA": return "18%02d%02d%02d" % (n % 99, n % 12 + 1, n % 28 + 1)
    if vr == "DT": return "18%02d%02d%02d112233.4455" % (n % 99, n % 12 + 1, n % 28 + 1)
    if vr == "TM": return "%02d%02d%02d.77%04d" % (n % 24, n % 60, n % 59, n % 10000)
    return None
def fill(ds, base):
    named = set()
    for group in ("D_TAGS","Z_TAGS","X_TAGS","U_TAGS","Z_D_TAGS","X_Z_TAGS","X_D_TAGS","X_Z_D_TAGS","X_Z_U_STAR_TAGS"):
        for tag in getattr(profile, group):
            if len(tag) == 2: named.add(tag)
    for n, tag in enumerate(sorted(named)):
        if tag[0] in (0, 2) or not dictionary_has_tag(tag): continue
        vr = dictionary_VR(tag)
        value = mark(tag, vr, base + n)
        if value is None: continue
        ds.add_new(tag, vr, value)
        found.append([keyword_for_tag(tag), vr, value])
    return ds
def image(uid, patient, series):
    ds = Dataset()
    fill(ds, 1000)
    block = ds.private_block(0x0011, "ZQCREATOR", create=True)
    block.add_new(1, "LO", "ZQPRIVATEMARK")
    item = fill(Dataset(), 5000)
    item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    ds.ReferencedImageSequence = [item]
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    ds.SOPInstanceUID = uid
    ds.SeriesInstanceUID = series
    ds.PatientID, ds.PatientName = patient, "Zqfamily^Qzgiven"
    ds.Modality, ds.PatientAge, ds.PatientSex = "CT", "061Y", "F"
    ds.StudyDate, ds.SeriesDate = "20210310", "20210312"
    ds.StudyDescription = "Chest of Zqfamily, call 0301234567, as on 2021-03-10"
    ds.ProtocolName = "Thorax Zqfamily"
    ds.KVP = "120"
    ds.Rows = ds.Columns = 4
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel, ds.PhotometricInterpretation = 15, 0, 1, "MONOCHROME2"
    ds.PixelData = bytes(range(32))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, uid
    return ds
one = image("1.2.826.0.1.88.1", "ZQPATIENT1", "1.2.826.0.1.88.9")
one.save_as(os.path.join(target, "a.dcm"), enforce_file_format=True)
image("1.2.826.0.1.88.2", "ZQPATIENT1", "1.2.826.0.1.88.9").save_as(os.path.join(target, "b.dcm"), enforce_file_format=True)
burned = image("1.2.826.0.1.88.3", "ZQPATIENT2", "1.2.826.0.1.88.8")
burned.BurnedInAnnotation = "YES"
burned.save_as(os.path.join(target, "c.dcm"), enforce_file_format=True)
shown = str(one)
found = [each for each in found if each[2] in shown]
anonymize_dataset(one)
kept = [e.keyword for e in one]
print(json.dumps({"marks": {k: {"vr": vr, "value": v} for k, vr, v in found}, "kept": {k: True for k in kept}, "values": {v: k for k, _, v in found}}))
`;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-deidentify-"));
  await mkdir(join(folder, "in"));
  const python = await pythonEnvironment(["dicom-anonymizer==2.1.0"]);
  written = JSON.parse(await runPython(python, writer, [join(folder, "in")])) as Record<string, Row>;
}, 300_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

const key = "a key of more than sixteen characters";

async function read(deidentify: Row | undefined, more: Row = {}): Promise<{ rows: Row[]; place: string }> {
  const place = join(folder, `lake-${count++}`);
  await mkdir(place);
  const options = { rows: "frame", pixels: "array", ...(deidentify === undefined ? {} : { deidentify }), ...more };
  const flows = { scans: { from: { path: join(folder, "in/*.dcm"), format: "dicom", options } } };
  await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", flows }));
  await using lake = await openLake({ folder: place });
  expect(await lake.run("scans")).toMatchObject({ read: 3, written: 3, rejected: 0 });
  const rows = (await lake.query("select * from scans order by instance_uid")).rows as Row[];
  return { rows, place };
}
/** All that a row says, bytes as text. */
const textOf = (rows: readonly Row[]): string =>
  rows
    .flatMap((row) => Object.values(row))
    .map((value) => (value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : String(value)))
    .join("\n");

/** What identifies somebody and is found in a text; dates count as text of eight digits. */
const leaks = (text: string): string[] => {
  const marks = Object.keys(written["values"]!).filter((value) => value.length > 5 && text.includes(value));
  const others = /zq\w*|qz\w*|1\.2\.826[\d.]*/gi;
  return [...marks, ...(text.match(others) ?? [])];
};

test("no identifier is anywhere in the output, and without the option all are", async () => {
  const plain = await read(undefined, { private: true });
  expect(Object.keys(written["values"]!).length).toBeGreaterThan(800);
  const found = new Set(leaks(textOf(plain.rows)));
  // The search finds what is there: every mark of every element.
  for (const value of Object.keys(written["values"]!)) if (value.length > 5) expect(found).toContain(value);

  const { rows, place } = await read({ key });
  expect(leaks(textOf(rows))).toEqual([]);
  for (const row of rows)
    expect(row).toMatchObject({ deidentified: true, bytes: null, object: null, study_date: null });
  // Nor in any file of the store, objects of assets among them.
  const files = (await readdir(join(place, "lake"), { recursive: true, withFileTypes: true })).filter((file) =>
    file.isFile(),
  );
  expect(files.length).toBeGreaterThan(3);
  expect(files.filter(({ parentPath }) => parentPath.includes("assets"))).toEqual([]);
  for (const { parentPath, name } of files) {
    const bytes = await readFile(join(parentPath, name));
    expect([
      name,
      leaks(bytes.toString("latin1")).filter((leak) => /^(zq.{3}|qz.{3}|1\.2\.826)/i.test(leak) && leak.length > 6),
    ]).toEqual([name, []]);
  }
});

test("what another implementation removes is not there, and what says nothing of anybody stays", async () => {
  const { rows } = await read({ key });
  const tags = JSON.parse(String(rows[0]!["tags"])) as Row;
  const kept = written["kept"]!;
  for (const [keyword, value] of Object.entries(tags)) {
    if (value === null || Object.hasOwn(kept, keyword)) continue;
    // Ours is the first that says what was done.
    expect(["PatientIdentityRemoved", "DeidentificationMethod", "LongitudinalTemporalInformationModified"]).toContain(
      /^(FileMeta|Media|TransferSyntax|Implementation)/.test(keyword) ? "PatientIdentityRemoved" : keyword,
    );
  }
  expect(tags).toMatchObject({
    Modality: "CT",
    KVP: 120,
    Rows: 4,
    PatientIdentityRemoved: "YES",
    SOPClassUID: "1.2.840.10008.5.1.4.1.1.2",
  });
  expect(tags["LongitudinalTemporalInformationModified"]).toBe("REMOVED");
  expect(Object.keys(tags).filter((name) => name.startsWith("("))).toEqual([]);
});

test("what belongs together stays together by the key, and another key gives other names", async () => {
  const { rows } = await read({ key });
  const again = await read({ key });
  const shown = (all: readonly Row[]): unknown[] =>
    all.map((row) => [row["instance_uid"], row["series_uid"], row["patient_id"], row["uri"]]);
  expect(shown(again.rows)).toEqual(shown(rows));
  expect(new Set(rows.map((row) => row["instance_uid"])).size).toBe(3);
  expect(new Set(rows.map((row) => row["patient_id"])).size).toBe(2);
  expect(new Set(rows.map((row) => row["series_uid"])).size).toBe(2);
  for (const row of rows) expect(row["instance_uid"]).toMatch(/^2\.25\.[1-9]\d{0,38}$/);
  const other = await read({ key: "quite another key of this length" });
  for (const row of other.rows) {
    expect(rows.map((each) => each["instance_uid"])).not.toContain(row["instance_uid"]);
    expect(rows.map((each) => each["patient_id"])).not.toContain(row["patient_id"]);
  }
});

test("options keep what they say: intervals of dates, the patient's age, descriptions without names", async () => {
  const { rows } = await read({ key, dates: "shift", retain_patient: true, clean_descriptors: true });
  const [tags] = rows.map((row) => JSON.parse(String(row["tags"])) as Row);
  const day = (text: unknown): number => Date.parse(String(text).replace(/^(\d{4})(\d{2})(\d{2})$/, "$1-$2-$3"));
  expect(tags!["StudyDate"]).not.toBe("20210310");
  expect(day(tags!["SeriesDate"]) - day(tags!["StudyDate"])).toBe(2 * 86_400_000);
  expect(tags).toMatchObject({
    PatientAge: "061Y",
    PatientSex: "F",
    StudyDescription: "Chest of ***, call ***, as on ***",
  });
  expect(leaks(textOf(rows)).filter((leak) => /^(zqfamily|qzgiven|zqpatient)/i.test(leak))).toEqual([]);
});

test("pixels that may have names written into them are withheld, unless they are asked for", async () => {
  const burned = (rows: readonly Row[]): Row => rows.find((row) => row["burned_in"] === "declared")!;
  const { rows } = await read({ key });
  expect(burned(rows)).toMatchObject({ pixels: null, problem: expect.stringContaining("withheld") as string });
  expect(rows.filter((row) => row["pixels"] !== null)).toHaveLength(2);
  const kept = await read({ key, pixels_with_text: "keep" });
  expect(burned(kept.rows)).toMatchObject({ problem: null });
  expect((burned(kept.rows)["pixels"] as Uint8Array).length).toBe(32);
});

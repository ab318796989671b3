import { existsSync, globSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Plan, ReadRequest } from "../../src/core/index.ts";
import definition, { dicomwebOptions } from "../../src/sources/dicomweb/index.ts";
import { openLake } from "../../src/index.ts";
import { startOrthanc, requireDcmdump, type Orthanc } from "../services/orthanc.ts";
import { dicomFile } from "../support/dicom.ts";

const good = join(import.meta.dirname, "../../../shared/corpora/good/images/dicom");

type Row = Record<string, unknown>;
let orthanc: Orthanc;
let folder: string;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-dicomweb-"));
  orthanc = await startOrthanc();
}, 300_000);
afterAll(async () => {
  await orthanc[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

interface Place {
  folder: string;
  /** Runs a flow and gives its report. */
  run(flow: string): Promise<{ read: number; rejected: number; status: string }>;
  rows(sql: string): Promise<Row[]>;
}

/** A lake with flows, and the archive as its connection `pacs`. */
async function lakeOf(flows: Row, pacs: Row = {}): Promise<Place> {
  const place = join(folder, `lake-${count++}`);
  await mkdir(place);
  const { url, user, password, port } = orthanc;
  const connection = { source: "dicomweb", url, user, password, allow_hosts: [`127.0.0.1:${port}`], ...pacs };
  const config = { store: "./lake", connections: { pacs: connection }, flows };
  await writeFile(join(place, "millrace.yaml"), JSON.stringify(config));
  return {
    folder: place,
    async run(flow) {
      await using lake = await openLake({ folder: place });
      const { read, rejected, status } = await lake.run(flow);
      return { read, rejected, status };
    },
    async rows(sql) {
      await using lake = await openLake({ folder: place });
      return (await lake.query(sql)).rows as Row[];
    },
  };
}

/** What the source itself plans. */
async function planOf(request: ReadRequest): Promise<Plan> {
  const { url, user, password, port } = orthanc;
  const options = dicomwebOptions.parse({ url, user, password, allow_hosts: [`127.0.0.1:${port}`] });
  const driver = await definition.load();
  await using source = await driver.open(options, { connection: "pacs", folder, engine: undefined as never });
  return source.plan(request, {});
}

const textOf = (value: unknown): string =>
  JSON.stringify(value, (_, each: unknown) => (typeof each === "bigint" ? String(each) : each));

const qido = async (path: string): Promise<Record<string, { Value?: unknown[] }>[]> =>
  (await (await orthanc.call(`/dicom-web${path}`)).json()) as Record<string, { Value?: unknown[] }>[];

const small = (study: string, series: string, instance: string, patient: string, comment = "as made"): Buffer =>
  dicomFile(
    { study, series, instance },
    {
      "00080060": ["CS", "OT"],
      "00100010": ["PN", `Secret^${patient}`],
      "00100020": ["LO", patient],
      "00204000": ["LT", comment],
    },
  );

describe.skipIf(!existsSync(good))("dicomweb: the corpus in Orthanc", () => {
  const stored: string[] = [];
  let place: Place;

  beforeAll(async () => {
    const files = globSync("*.dcm", { cwd: good }).toSorted();
    const format = { format: "dicom", options: { rows: "frame", private: true } };
    place = await lakeOf(
      {
        files: { from: { path: join(folder, "stored", "*.dcm"), ...format } },
        scans: { from: { connection: "pacs", stream: "scans" } },
        studies: { from: { connection: "pacs", stream: "studies" }, mode: "replace" },
        series: { from: { connection: "pacs", stream: "series" }, mode: "replace" },
        instances: { from: { connection: "pacs", stream: "instances" } },
      },
      { options: format.options, page_size: 7, part_instances: 5 },
    );
    // Of files that say they are the same instance an archive has one.
    const dump = await requireDcmdump();
    const ones = new Map<string, string>();
    for (const file of files) {
      const uid = (await dump(join(good, file), "SOPInstanceUID")).get("SOPInstanceUID") ?? "";
      // One says its UIDs as bytes, which Orthanc takes for another patient's with the same UIDs.
      if (/^[\d.]+$/.test(uid)) ones.set(uid, file);
    }
    await mkdir(join(folder, "stored"));
    for (const file of ones.values()) {
      const bytes = readFileSync(join(good, file));
      if ((await orthanc.store([bytes])) === 0) continue;
      stored.push(file);
      await writeFile(join(folder, "stored", file), bytes);
    }
  }, 60_000);

  test("scans are the rows that the format makes of the same files, bytes included", async () => {
    expect(stored.length).toBeGreaterThan(15);
    const [fromFiles, fromScans] = [await place.run("files"), await place.run("scans")];
    expect(fromScans).toEqual(fromFiles);
    // Objects are called by the checksum of their bytes.
    const all = (table: string): string =>
      `select * exclude (uri, modified) replace (right(object, 64) as object) from ${table}`;
    for (const [one, other] of [
      ["files", "scans"],
      ["scans", "files"],
    ] as const) {
      expect(await place.rows(`select sha256 from (${all(one)} except all ${all(other)})`)).toEqual([]);
    }
    const uris = await place.rows("select distinct uri, study_uid as a, series_uid as b, instance_uid as c from scans");
    for (const { uri, a, b, c } of uris as Record<string, string>[]) {
      expect(uri).toBe(`${orthanc.url}/studies/${a}/series/${b}/instances/${c}`);
    }
    expect(await place.run("scans")).toEqual({ ...fromScans, read: 0, rejected: 0, status: "unchanged" });
  });

  test("tables hold what QIDO-RS lists, and what dcmdump reads in the files", async () => {
    for (const table of ["studies", "series", "instances"]) await place.run(table);
    const [tag, levels] = ["Value", { studies: "0020000D", series: "0020000E", instances: "00080018" }];
    const columns = { studies: "StudyInstanceUID", series: "SeriesInstanceUID", instances: "SOPInstanceUID" };
    for (const [table, element] of Object.entries(levels)) {
      const listed = (await qido(`/${table}`)).map((match) => (match[element] as Row)[tag] as string[]);
      const uids = await place.rows(`select "${columns[table as "series"]}" as uid from ${table}`);
      expect(uids.map(({ uid }) => uid as string).toSorted()).toEqual([...new Set(listed.flat())].toSorted());
    }
    const dump = await requireDcmdump();
    const instances = await place.rows(
      `select i.*, s."PatientName", s."StudyDate"::varchar as date from instances i join studies s using ("StudyInstanceUID")`,
    );
    const names = ["SOPInstanceUID", "StudyInstanceUID", "Modality", "PatientID", "StudyDate", "PatientName", "Rows"];
    let compared = 0;
    for (const file of stored) {
      const truth = await dump(join(good, file), ...names);
      const row = instances.find((each) => each["SOPInstanceUID"] === truth.get("SOPInstanceUID"))!;
      for (const name of names) {
        const value = truth.get(name)?.replace(/^(\d{4})\.(\d\d)\./, "$1$2") ?? "";
        if (value === "" || value.startsWith("(no")) continue;
        const shown = name === "StudyDate" ? row["date"] : row[name];
        const said = name === "StudyDate" ? `${value.slice(0, 4)}-${value.slice(4, 6)}-${value.slice(6, 8)}` : value;
        expect(`${file} ${name} ${String(shown)}`).toBe(`${file} ${name} ${said}`);
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(stored.length * 4);
  });

  test("a query chooses what the same condition chooses in the table", async () => {
    const instances = await place.rows("select * from instances");
    const uids = (condition: (row: Row) => boolean): string[] =>
      instances.filter(condition).map((row) => row["SOPInstanceUID"] as string);
    const [one, other] = [...new Set(instances.map((row) => row["StudyInstanceUID"] as string))];
    const cases: [query: Row, condition: (row: Row) => boolean][] = [
      [{ Modality: "MR" }, (row) => row["Modality"] === "MR"],
      [
        { ModalitiesInStudy: "CT", InstanceNumber: 1 },
        (row) => row["Modality"] === "CT" && row["InstanceNumber"] === 1n,
      ],
      [{ PatientID: "4MR*" }, (row) => String(row["PatientID"]).startsWith("4MR")],
      [{ StudyInstanceUID: [one, other] }, (row) => [one, other].includes(row["StudyInstanceUID"] as string)],
      [{ StudyDate: "20040101-20041231" }, (row) => textOf(row["StudyDate"]).includes("2004-")],
      [{ PatientID: "nobody" }, () => false],
    ];
    for (const [query, condition] of cases) {
      const { parts } = await planOf({ stream: "instances", options: { query } });
      const groups = parts.flatMap(({ spec }) => spec["groups"] as unknown as { instances: string[] }[]);
      const found = groups.flatMap((group) => group.instances);
      expect([query, found.toSorted()]).toEqual([query, uids(condition).toSorted()]);
      if (query["PatientID"] !== "nobody") expect(found.length).toBeGreaterThan(0);
    }
  });
});

describe("dicomweb: what is new", () => {
  test("a new instance of an old study is read, and nothing twice; one that changed as `changed_by` says, again", async () => {
    const query = { PatientID: "grows" };
    const place = await lakeOf(
      {
        scans: { from: { connection: "pacs", stream: "scans", options: { query } } },
        watched: { from: { connection: "watching", stream: "scans", options: { query } } },
      },
      {},
    );
    const config = JSON.parse(await readFile(join(place.folder, "millrace.yaml"), "utf8")) as { connections: Row };
    config.connections["watching"] = { ...(config.connections["pacs"] as Row), changed_by: "ImageComments" };
    await writeFile(join(place.folder, "millrace.yaml"), JSON.stringify(config));
    const uids = async (table: string): Promise<string[]> =>
      (await place.rows(`select instance_uid as uid from ${table} order by uid`)).map(({ uid }) => uid as string);

    await orthanc.store([
      small("2.25.1", "2.25.1.1", "2.25.1.1.1", "grows"),
      small("2.25.1", "2.25.1.1", "2.25.1.1.2", "grows"),
    ]);
    await orthanc.store([small("2.25.2", "2.25.2.1", "2.25.2.1.1", "grows")]);
    expect((await place.run("scans")).read).toBe(3);
    expect((await place.run("watched")).read).toBe(3);
    await orthanc.store([
      small("2.25.1", "2.25.1.1", "2.25.1.1.3", "grows"),
      small("2.25.1", "2.25.1.2", "2.25.1.2.1", "grows"),
    ]);
    // What is removed is not read again, and hides nothing.
    await orthanc.remove("2.25.1.1.1");
    expect((await place.run("scans")).read).toBe(2);
    expect(await uids("scans")).toEqual(["2.25.1.1.1", "2.25.1.1.2", "2.25.1.1.3", "2.25.1.2.1", "2.25.2.1.1"]);
    expect((await place.run("watched")).read).toBe(2);
    await orthanc.store([small("2.25.2", "2.25.2.1", "2.25.2.1.1", "grows", "corrected")]);
    expect((await place.run("scans")).read).toBe(0);
    expect((await place.run("watched")).read).toBe(1);
    expect(await uids("watched")).toEqual([...(await uids("scans")), "2.25.2.1.1"].toSorted());
  });

  test("with `deidentify` nothing says who it is: not the rows, the rejected, the position or the files of the lake", async () => {
    const [patient, study] = ["PAT-4711-XYZ", "2.25.998877665544332211"];
    // Orthanc does not give what two patients have under the same UIDs: it is rejected.
    const twin = [`${study}.2`, `${study}.2.1`, `${study}.2.1.1`] as const;
    await orthanc.store([small(study, `${study}.1`, `${study}.1.1`, patient)]);
    await orthanc.store([small(...twin, patient), small(...twin, `${patient}-2`)]);
    const options = { query: { PatientID: `${patient}*` }, deidentify: { key: "a key of more than 16" } };
    const place = await lakeOf(
      {
        scans: { from: { connection: "pacs", stream: "scans", options } },
        instances: { from: { connection: "pacs", stream: "instances", options } },
        plain: { from: { connection: "pacs", stream: "scans", options: { query: options.query } } },
      },
      { unavailable: "reject" },
    );
    expect(await place.run("scans")).toMatchObject({ read: 2, rejected: 1 });
    expect((await place.run("scans")).read).toBe(0);
    await expect(place.run("instances")).rejects.toMatchObject({ code: "config" });
    const [row] = await place.rows("select * from scans");
    expect(row).toMatchObject({ deidentified: true, bytes: null, object: null });
    const isIn = async (): Promise<string[]> => {
      const files = (await readdir(join(place.folder, "lake"), { recursive: true, withFileTypes: true })).filter(
        (each) => each.isFile(),
      );
      const found: string[] = [];
      for (const file of files) {
        const bytes = await readFile(join(file.parentPath, file.name));
        if (bytes.includes(patient) || bytes.includes(study) || bytes.includes("Secret^")) found.push(file.name);
      }
      return found;
    };
    const shown = JSON.stringify(
      await place.rows("select * exclude (pixels, image, bytes) from scans"),
      (_, value: unknown) => (typeof value === "bigint" ? String(value) : value),
    );
    expect([shown.includes(patient), shown.includes(study)]).toEqual([false, false]);
    expect(await isIn()).toEqual([]);
    // The same look finds them where they may be.
    await place.run("plain");
    expect((await isIn()).length).toBeGreaterThan(0);
  });

  test("an instance that the server lists and cannot tell from another stops the run, or is rejected by its name", async () => {
    // Two patients with the same UIDs, which must not be: Orthanc lists both, and gives neither.
    const uids = ["2.25.31", "2.25.31.1", "2.25.31.1.1"] as const;
    await orthanc.store([
      small(...uids, "twins-1"),
      small(...uids, "twins-2"),
      small("2.25.32", "2.25.32.1", "2.25.32.1.1", "twins-1"),
    ]);
    const from = { connection: "pacs", stream: "scans", options: { query: { PatientID: "twins-*" } } };
    const strict = await lakeOf({ scans: { from } });
    await expect(strict.run("scans")).rejects.toMatchObject({
      code: "not-found",
      hint: expect.stringContaining("unavailable: reject"),
    });
    const lenient = await lakeOf({ scans: { from } }, { unavailable: "reject" });
    expect(await lenient.run("scans")).toMatchObject({ read: 2, rejected: 1 });
    const [rejected] = await lenient.rows("select * from scans__rejected");
    expect(textOf(rejected)).toContain("2.25.31.1.1");
  });
});

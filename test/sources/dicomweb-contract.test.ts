import definition from "../../src/sources/dicomweb/index.ts";
import { sourceContract, type SourceRow } from "../contracts/source.ts";
import { startOrthanc } from "../services/orthanc.ts";
import { dicomFile } from "../support/dicom.ts";

sourceContract({
  name: "dicomweb",
  definition: definition as never,
  async start() {
    const orthanc = await startOrthanc();
    const { url, user, password, port } = orthanc;
    const allow_hosts = [`127.0.0.1:${port}`];
    const options = { url, user, password, allow_hosts, attributes: ["ImageComments"], page_size: 250 };
    /** A stream is a study: its UID by name. */
    const studies = new Map<string, string>();
    const put = async (name: string, rows: readonly SourceRow[]): Promise<string> => {
      const study = studies.get(name) ?? `2.25.${studies.size + 1}`;
      studies.set(name, study);
      const files = rows.map(({ id, text }) =>
        dicomFile(
          { study, series: `${study}.${id % 3}`, instance: `${study}.9.${id}` },
          { "00100020": ["LO", name], "00200013": ["IS", String(id)], "00204000": ["LT", text] },
        ),
      );
      if ((await orthanc.store(files)) !== files.length) throw new Error("Orthanc refuses what the kit made");
      return study;
    };
    return {
      options,
      secrets: [password, Buffer.from(`${user}:${password}`).toString("base64")],
      columns: { id: "InstanceNumber", text: "ImageComments" },
      maximumRows: 300,
      // Spaces around a value are padding, and other control characters are not in the repertoire (PS3.5, 6.1 and 6.2). Orthanc shows
      // no longer ones.
      takesText: (text) => text.trim() === text && !/\p{Cc}/u.test(text) && Buffer.byteLength(text) <= 256,
      wrong: [
        { what: "a wrong password", options: { ...options, password: "wrong-secret" }, code: "authentication" },
        { what: "another root", options: { ...options, url: `${url}/nowhere` }, code: "not-found" },
        {
          what: "no service of DICOMweb",
          options: { ...options, url: `http://127.0.0.1:${port}/system` },
          code: "not-found",
        },
        { what: "a host that is not allowed", options: { ...options, allow_hosts: [] }, code: "permission" },
        {
          what: "nobody there",
          options: { ...options, url: "http://127.0.0.1:1/", allow_hosts: ["127.0.0.1:1"] },
          code: "unreachable",
        },
        { what: "no attribute", options: { ...options, query: { PatientIDD: "1" } }, code: "config" },
      ],
      async create(name, rows) {
        const study = await put(name, rows);
        return {
          stream: "instances",
          columns: ["InstanceNumber", "ImageComments"],
          options: { query: { StudyInstanceUID: study } },
        };
      },
      append: async (name, rows) => void (await put(name, rows)),
      [Symbol.asyncDispose]: () => orthanc[Symbol.asyncDispose](),
    };
  },
});

import * as z from "zod";
import { assetsOptions } from "../../core/asset-options.ts";
import { defineSource } from "../../core/index.ts";
import { dicomOptions } from "../../formats/dicom/index.ts";

const query = z
  .record(z.string().regex(/^[A-Za-z0-9]+$/), z.union([z.string(), z.number(), z.array(z.string()).min(1)]))
  .describe(
    "What to read of the service, as attributes of QIDO-RS by keyword: `PatientID`, `StudyDate: 20240101-20240630`, `ModalitiesInStudy: CT`, `Modality`, `SOPClassUID`, … Those of studies choose studies, the others what of them. Default: all.",
  );

export const dicomwebOptions = z.strictObject({
  url: z.string().min(1).describe("Root of the service: `https://pacs.example/dicom-web`."),
  user: z.string().min(1).optional().describe("User, for servers that ask for one (HTTP Basic). Default: none."),
  password: z.string().optional().meta({ secret: true }).describe("Password of `user`. Default: none."),
  authorization: z
    .string()
    .min(1)
    .optional()
    .meta({ secret: true })
    .describe("Value of the header `authorization`, such as `Bearer …`. Default: none, or that of `user`."),
  headers: z
    .record(z.string().regex(/^[\w-]+$/), z.string())
    .default({})
    .meta({ secret: true })
    .describe("More headers of every request. They are not sent to hosts that the server redirects to."),
  allow_hosts: z
    .array(z.string().min(1))
    .default([])
    .describe(
      "Hosts that may be called though they are not public, and ports besides 80, 443, 8080 and 8443: `pacs`, `10.0.0.5:8042`, `*.clinic.example`.",
    ),
  ca: z
    .string()
    .min(1)
    .optional()
    .describe("File with the certificate authorities that are trusted, PEM. Default: those of Node.js."),
  certificate: z.string().min(1).optional().describe("File with the client's certificate, PEM; goes with `key`."),
  key: z.string().min(1).optional().describe("File with the client's private key, PEM; goes with `certificate`."),
  query: query.prefault({}),
  attributes: z
    .array(z.string().min(1))
    .default([])
    .describe(
      "More columns of `studies`, `series` and `instances`, by keyword: the server is asked for them, and reads files for some. Default: none.",
    ),
  changed_by: z
    .string()
    .min(1)
    .optional()
    .describe(
      "Attribute of instances whose value changes when the server changes one, by keyword or tag: the instance is read again then. Default: none, an instance that was read stays as it is.",
    ),
  options: dicomOptions
    .prefault({})
    .describe("Options of the format `dicom`, which reads what is fetched: `millrace describe format dicom`."),
  assets: assetsOptions.prefault({}).describe("What becomes of the bytes of the instances."),
  unavailable: z
    .enum(["fail", "reject"])
    .default("fail")
    .describe(
      "What to do about an instance that the server lists and does not give after four tries: `fail`, or `reject` it with the reason and go on. Default `fail`.",
    ),
  page_size: z
    .number()
    .int()
    .min(2)
    .max(100_000)
    .default(500)
    .describe("How many matches are asked for at once. Default 500."),
  part_instances: z
    .number()
    .int()
    .positive()
    .default(100)
    .describe("Small series are read together until they have about this many instances. Default 100."),
  max_instance_mb: z
    .number()
    .positive()
    .max(512)
    .default(512)
    .describe("A larger instance is rejected, MiB. Default 512."),
  parse_timeout_s: z
    .number()
    .positive()
    .default(60)
    .describe("How long a parser may work on an instance without giving anything, seconds. Default 60."),
  parse_memory_mb: z
    .number()
    .int()
    .positive()
    .default(1024)
    .describe("How much memory a parser may take, MiB. Default 1024."),
});
export type DicomwebOptions = z.output<typeof dicomwebOptions>;

/** What a flow may set for itself: its own `query`, which adds to that of the connection, and options of the format. */
export const streamOptions = dicomOptions.extend({ query: query.optional() }).partial();

export default defineSource({
  name: "dicomweb",
  title: "DICOMweb",
  summary:
    "Studies, series and instances of an imaging archive (QIDO-RS), and the scans themselves (WADO-RS) read as the format `dicom` reads files; only new instances are fetched again.",
  options: dicomwebOptions,
  needs: ["a server of DICOMweb (PS3.18: Orthanc, dcm4chee, a cloud service) that answers QIDO-RS and WADO-RS"],
  capabilities: {
    discover: true,
    incremental: true,
    query: false,
    replayable: true,
    snapshot: false,
    deletes: false,
    measure: false,
  },
  examples: [
    {
      title: "What studies there are",
      yaml: 'connections:\n  pacs:\n    source: dicomweb\n    url: https://pacs.clinic.example/dicom-web\n    authorization: "Bearer ${env:PACS_TOKEN}"\nflows:\n  studies:\n    from: { connection: pacs, stream: studies }\n    mode: replace',
    },
    {
      title: "New CT slices in Hounsfield units, without the people",
      yaml: 'connections:\n  pacs:\n    source: dicomweb\n    url: http://orthanc:8042/dicom-web\n    allow_hosts: [orthanc:8042]\n    user: reader\n    password: "${env:PACS_PASSWORD}"\n    query: { StudyDate: 20240101-, Modality: CT }\n    options:\n      rows: frame\n      pixels: array\n      deidentify: { key: "${env:SCANS_KEY}", dates: shift }\nflows:\n  slices:\n    from: { connection: pacs, stream: scans }',
    },
    {
      title: "More attributes of instances",
      yaml: 'connections:\n  pacs:\n    source: dicomweb\n    url: https://pacs.clinic.example/dicom-web\n    authorization: "Bearer ${env:PACS_TOKEN}"\n    attributes: [ProtocolName, SliceThickness]\nflows:\n  instances:\n    from: { connection: pacs, stream: instances, options: { query: { ModalitiesInStudy: MR } } }',
    },
  ],
  load: () => import("./driver.ts"),
});

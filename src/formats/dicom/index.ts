import * as z from "zod";
import { defineFormat } from "../../core/index.ts";

const deidentify = z.strictObject({
  key: z
    .string()
    .min(16)
    .meta({ secret: true })
    .describe(
      "A secret of 16 characters or more. Patients, studies and UIDs get names that are made from it: the same in every file and run, and of no use without it.",
    ),
  dates: z
    .enum(["remove", "shift", "keep"])
    .default("remove")
    .describe("`shift` moves all dates of a patient by the same 1 to 3,650 days into the past. Default `remove`."),
  clean_descriptors: z
    .boolean()
    .default(false)
    .describe(
      "Keep descriptions and comments, without words that identify somebody elsewhere in the file, long numbers, dates and addresses. Default false: they are removed.",
    ),
  retain_patient: z
    .boolean()
    .default(false)
    .describe("Keep what the patient is like: age, sex, size, weight, smoking. Default false."),
  retain_device: z.boolean().default(false).describe("Keep what identifies the device. Default false."),
  retain_institution: z.boolean().default(false).describe("Keep what identifies the institution. Default false."),
  retain_uids: z.boolean().default(false).describe("Keep UIDs as they are. Default false."),
  pixels_with_text: z
    .enum(["withhold", "keep"])
    .default("withhold")
    .describe(
      "`withhold` gives no pixels of files whose pixels may have names written into them (`burned_in` is `declared` or `suspected`). Default `withhold`.",
    ),
});

export const dicomOptions = z.strictObject({
  rows: z.enum(["file", "frame"]).default("file").describe("One row a file, or one for each frame. Default `file`."),
  pixels: z
    .enum(["none", "array", "png"])
    .default("none")
    .describe(
      "What to give of the pixels in rows of frames, or of the first frame in rows of files: `array` is the samples, up to 7 MiB a row; `png` a picture within the window. Default `none`.",
    ),
  rescale: z
    .boolean()
    .default(true)
    .describe(
      "Give samples of `array` in the unit of the modality (Hounsfield units) instead of as stored. Default true.",
    ),
  window: z
    .strictObject({
      center: z.number().describe("Middle of the window, in the unit of the modality."),
      width: z.number().positive().describe("Width of the window, in the unit of the modality."),
    })
    .optional()
    .describe("Window of `png`, in the unit of the modality. Default: that of the file, or all of its values."),
  size: z
    .number()
    .int()
    .min(0)
    .max(8192)
    .default(512)
    .describe("Longest side of `png`, pixels; 0 leaves images as large as they are. Default 512."),
  private: z.boolean().default(false).describe("Put private elements into `tags` too. Default false."),
  truncated: z
    .enum(["reject", "accept"])
    .default("reject")
    .describe("What to do with a file that ends early or is damaged within. Default `reject`."),
  deidentify: deidentify
    .optional()
    .describe(
      "Remove what identifies people by the Basic Application Level Confidentiality Profile (DICOM PS3.15, annex E); the bytes of the files are not kept then, and `uri` is a pseudonym. Default: nothing is removed.",
    ),
});
export type DicomOptions = z.output<typeof dicomOptions>;

export default defineFormat({
  name: "dicom",
  title: "DICOM",
  summary:
    "Medical images: elements by name, patient, study and series, geometry, frames as arrays or PNG, and de-identification by PS3.15.",
  options: dicomOptions,
  extensions: ["dcm", "dicom"],
  mediaTypes: ["application/dicom"],
  needs: [],
  capabilities: { read: true, write: false, rejects: true, assets: true },
  examples: [
    {
      title: "What scans there are",
      yaml: "flows:\n  scans:\n    from: { path: scans/**/*, format: dicom, assets: { keep: false } }",
    },
    {
      title: "Slices in Hounsfield units, without the people",
      yaml: 'flows:\n  slices:\n    from:\n      path: scans/**/*.dcm\n      format: dicom\n      options:\n        rows: frame\n        pixels: array\n        deidentify: { key: "${env:SCANS_KEY}", dates: shift, retain_patient: true }\n    split: { train: 0.8, validation: 0.1, test: 0.1, key: patient_id, seed: 7 }',
    },
  ],
  load: () => import("./driver.ts"),
});

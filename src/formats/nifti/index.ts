import * as z from "zod";
import { defineFormat } from "../../core/index.ts";

export const niftiOptions = z.strictObject({
  rows: z
    .enum(["file", "volume", "slice"])
    .default("file")
    .describe("One row a file, one for each volume, or one for each slice along z. Default `file`."),
  voxels: z
    .boolean()
    .default(false)
    .describe(
      "Put the values into the column `voxels`, in rows of volumes and slices: up to 7 MiB a row, so that large volumes need `rows: slice`. Default false.",
    ),
  rescale: z
    .boolean()
    .default(true)
    .describe("Give values with slope and intercept of the file applied, instead of as stored. Default true."),
  statistics: z
    .boolean()
    .default(true)
    .describe("Measure minimum, maximum and mean of each volume or slice. Default true."),
});
export type NiftiOptions = z.output<typeof niftiOptions>;

export default defineFormat({
  name: "nifti",
  title: "NIfTI",
  summary:
    "Volumes of neuroimaging, NIfTI-1 and -2, also in gzip: geometry, orientation, volumes and slices as arrays.",
  options: niftiOptions,
  extensions: ["nii"],
  mediaTypes: ["application/x-nifti"],
  needs: [],
  capabilities: { read: true, write: false, rejects: true, assets: true },
  examples: [
    {
      title: "What volumes there are",
      yaml: "flows:\n  brains:\n    from: { path: brains/**/*.nii.gz, format: nifti, assets: { keep: false } }",
    },
    {
      title: "Slices as arrays",
      yaml: "flows:\n  slices:\n    from: { path: brains/**/*.nii.gz, format: nifti, options: { rows: slice, voxels: true } }",
    },
  ],
  load: () => import("./driver.ts"),
});

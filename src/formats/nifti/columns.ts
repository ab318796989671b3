import { assetColumns, type Column, type DataType } from "../../core/index.ts";

const list = (element: DataType): DataType => ({ type: "list", element });

/** What is read of a NIfTI file, besides what every asset has; from `volume` on of one row. */
export const niftiColumns: readonly Column[] = [
  { name: "version", type: "int", doc: "1 or 2." },
  { name: "dimensions", type: list("long"), doc: "Voxels along x, y, z, volumes, and more." },
  { name: "data_type", type: "string", doc: "Of a voxel as stored: `int16`, `float32`, …" },
  { name: "spacing", type: list("double"), doc: "Between voxels and between volumes, as many as dimensions." },
  { name: "space_unit", type: "string", doc: "`mm`, `m`, `µm`; null where it is not said." },
  { name: "time_unit", type: "string" },
  { name: "orientation", type: "string", doc: "To which side x, y and z run: `RAS` is right, anterior, superior." },
  { name: "affine", type: list("double"), doc: "Voxels to space: 16 numbers, row by row." },
  { name: "affine_from", type: "string", doc: "`sform`, `qform`, or `spacing` when the file has neither." },
  { name: "intent", type: "int", doc: "Code of what the values are." },
  { name: "intent_name", type: "string" },
  { name: "description", type: "string" },
  { name: "slope", type: "double", doc: "Null when values are as stored." },
  { name: "intercept", type: "double" },
  { name: "volumes", type: "long", doc: "Product of the dimensions after the third." },
  { name: "problem", type: "string", doc: "Why there are no voxels, or what was wrong; null for a sound file." },
  { name: "volume", type: "long", doc: "From 0; null in rows of whole files." },
  { name: "slice", type: "long", doc: "Along z, from 0; null in rows of volumes and files." },
  { name: "minimum", type: "double", doc: "Of the values of the row; null without `statistics`." },
  { name: "maximum", type: "double" },
  { name: "mean", type: "double" },
  { name: "shape", type: list("int"), doc: "Of `voxels`: y and x, and z before them in volumes." },
  { name: "voxel_type", type: "string", doc: "Of `voxels`, little endian." },
  { name: "voxels", type: "binary", doc: "Values of the row, x fastest; null unless `voxels: true`." },
];

export const columns: readonly Column[] = [...assetColumns, ...niftiColumns];

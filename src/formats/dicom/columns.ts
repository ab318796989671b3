import { assetColumns, type Column, type DataType } from "../../core/index.ts";

const list = (element: DataType): DataType => ({ type: "list", element });

/** What is read of a DICOM file, besides what every asset has; from `frame` on of one frame. */
export const dicomColumns: readonly Column[] = [
  { name: "sop_class", type: "string", doc: "UID of the kind of object." },
  { name: "instance_uid", type: "string", doc: "SOP instance UID." },
  { name: "series_uid", type: "string" },
  { name: "study_uid", type: "string" },
  { name: "patient_id", type: "string", doc: "De-identified: a name made from it and your key." },
  { name: "modality", type: "string", doc: "`CT`, `MR`, `US`, `DX`, …" },
  { name: "body_part", type: "string" },
  { name: "manufacturer", type: "string" },
  { name: "series_number", type: "long" },
  { name: "instance_number", type: "long" },
  { name: "study_date", type: "date", doc: "De-identified: null, moved or as it was, by `dates`." },
  { name: "height", type: "int", doc: "Rows of the image, pixels." },
  { name: "width", type: "int", doc: "Columns of the image, pixels." },
  { name: "frames", type: "int", doc: "Null for what has no pixels." },
  { name: "samples", type: "int", doc: "Of one pixel: 1, or 3 in colour." },
  { name: "photometric", type: "string", doc: "`MONOCHROME2`, `RGB`, `PALETTE COLOR`, … as stored." },
  { name: "bits_stored", type: "int", doc: "Of one sample." },
  { name: "spacing", type: list("double"), doc: "Between rows and between columns, mm." },
  { name: "thickness", type: "double", doc: "Of a slice, mm." },
  { name: "position", type: list("double"), doc: "Of the first pixel in the patient: x, y, z in mm." },
  { name: "directions", type: list("double"), doc: "Cosines of a row and of a column, six numbers." },
  { name: "rescale_slope", type: "double" },
  { name: "rescale_intercept", type: "double" },
  { name: "window_center", type: "double" },
  { name: "window_width", type: "double" },
  { name: "transfer_syntax", type: "string", doc: "By its name in the standard." },
  {
    name: "lossy",
    type: "boolean",
    doc: "Whether the pixels have ever been compressed with loss; null where it is not said.",
  },
  {
    name: "burned_in",
    type: "string",
    doc: "Whether names may be written into the pixels: `declared`, `suspected`, `unlikely`, `none`.",
  },
  { name: "deidentified", type: "boolean", doc: "By us, or by somebody before as the file says." },
  {
    name: "tags",
    type: "string",
    doc: "All elements by name as JSON, in the first row of the file; sequences are arrays of objects.",
  },
  { name: "problem", type: "string", doc: "Why there are no pixels, or what was wrong; null for a sound file." },
  { name: "frame", type: "int", doc: "From 0; null in rows of whole files." },
  { name: "shape", type: list("int"), doc: "Of `pixels`: rows and columns, and samples in colour." },
  { name: "pixel_type", type: "string", doc: "Of `pixels`: `uint8`, `int16`, `float32`, …, little endian." },
  { name: "pixels", type: "binary", doc: "The samples of the frame, row by row; null unless `pixels: array`." },
  { name: "image", type: "binary", doc: "PNG of 8 bits within the window; null unless `pixels: png`." },
];

export const columns: readonly Column[] = [...assetColumns, ...dicomColumns];

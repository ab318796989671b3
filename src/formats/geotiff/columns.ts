import { assetColumns, type Column, type DataType } from "../../core/index.ts";

const list = (element: DataType): DataType => ({ type: "list", element });
const struct = (...fields: Column[]): DataType => ({ type: "struct", fields });

/** What is read of a GeoTIFF, besides what every asset has; from `level` on of one row. */
export const geotiffColumns: readonly Column[] = [
  { name: "width", type: "int", doc: "Pixels of the whole image." },
  { name: "height", type: "int", doc: "Pixels of the whole image." },
  { name: "bands", type: "int" },
  { name: "data_type", type: "string", doc: "Of a value as stored: `uint8`, `int16`, `float32`, …" },
  { name: "crs", type: "string", doc: "`EPSG:32633`; null when the file names none by a number." },
  { name: "crs_name", type: "string", doc: "As the file calls its reference system." },
  { name: "bounds", type: list("double"), doc: "Least x, least y, greatest x, greatest y in the reference system." },
  {
    name: "bounds_wgs84",
    type: list("double"),
    doc: "West, south, east, north in degrees; west is greater than east where it crosses the antimeridian.",
  },
  { name: "bounds_problem", type: "string", doc: "Why `bounds_wgs84` is null." },
  { name: "pixel_size", type: list("double"), doc: "Width and height of a pixel in units of the reference system." },
  {
    name: "affine",
    type: list("double"),
    doc: "Six numbers a, b, c, d, e, f: x = a × column + b × row + c, y = d × column + e × row + f, of corners of pixels.",
  },
  { name: "pixel_is", type: "string", doc: "`area` or `point`, as the file says." },
  { name: "nodata", type: "double", doc: "The value that stands for none." },
  { name: "overviews", type: list(struct({ name: "width", type: "int" }, { name: "height", type: "int" })) },
  { name: "pages", type: "int", doc: "Images in the file, without overviews and masks; the first one is read." },
  {
    name: "has_mask",
    type: "boolean",
    doc: "The file says which pixels are valid; those that are not count as nodata.",
  },
  { name: "block_size", type: list("int"), doc: "Width and height of what is compressed as one." },
  { name: "tiled", type: "boolean", doc: "Blocks are tiles; else strips." },
  { name: "interleave", type: "string", doc: "`pixel` or `band`." },
  { name: "compression", type: "string", doc: "`none`, `deflate`, `lzw`, `zstd`, `jpeg`, …" },
  { name: "photometric", type: "string", doc: "`min-is-black`, `rgb`, `palette`, `ycbcr`, …" },
  { name: "is_cog", type: "boolean", doc: "Is a valid cloud-optimised GeoTIFF." },
  { name: "cog_problem", type: "string", doc: "Why it is none." },
  { name: "band_names", type: list("string"), doc: "Descriptions of the bands; null where they have none." },
  {
    name: "band_scales",
    type: list("double"),
    doc: "Unit of the band = value × scale + offset; 1 where it is not said.",
  },
  { name: "band_offsets", type: list("double") },
  { name: "tags", type: "string", doc: "Other tags, and metadata of GDAL, as JSON." },
  { name: "problem", type: "string", doc: "Why there are no statistics or pixels; null for a sound row." },
  { name: "level", type: "int", doc: "0 for the image itself, 1 for its first overview." },
  { name: "tile_row", type: "int", doc: "From 0; null in rows that are no tiles." },
  { name: "tile_column", type: "int" },
  { name: "pixel_window", type: list("int"), doc: "Column, row, width and height in pixels of the level." },
  { name: "window_bounds", type: list("double"), doc: "As `bounds`, of the window." },
  { name: "window_bounds_wgs84", type: list("double"), doc: "As `bounds_wgs84`, of the window." },
  { name: "nodata_share", type: "double", doc: "Share of the values of the row that are nodata, 0 to 1." },
  {
    name: "statistics",
    type: list(
      struct(
        { name: "band", type: "int" },
        { name: "minimum", type: "double" },
        { name: "maximum", type: "double" },
        { name: "mean", type: "double" },
        { name: "nodata_share", type: "double" },
      ),
    ),
    doc: "Of the values of the row that are not nodata, for each band that is read.",
  },
  { name: "shape", type: list("int"), doc: "Of `pixels`: bands, height, width." },
  { name: "pixel_type", type: "string", doc: "Of `pixels`, little endian." },
  { name: "pixels", type: "binary", doc: "Values as stored, x fastest; with `pixels: array`." },
  { name: "image", type: "binary", doc: "The row as PNG; with `pixels: png`." },
];

export const columns: readonly Column[] = [...assetColumns, ...geotiffColumns];

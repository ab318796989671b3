import * as z from "zod";
import { defineFormat } from "../../core/index.ts";

export const geotiffOptions = z.strictObject({
  rows: z
    .enum(["file", "tile", "window"])
    .default("file")
    .describe(
      "One row a file, one for each tile of a grid that begins at the upper left corner, or one for what lies in `bbox`. Default `file`.",
    ),
  tile: z.number().int().min(16).max(4096).default(256).describe("`rows: tile`: side of a tile, pixels. Default 256."),
  overview: z
    .number()
    .int()
    .min(0)
    .max(30)
    .default(0)
    .describe(
      "The level that pixels and statistics are read at: 0 is the image itself, 1 its first overview. Default 0.",
    ),
  bbox: z
    .tuple([z.number(), z.number().min(-90).max(90), z.number(), z.number().min(-90).max(90)])
    .refine(([west, south, east, north]) => south < north && west !== east && Math.abs(west - east) <= 360, {
      error: "must be west, south, east, north",
    })
    .optional()
    .describe(
      "West, south, east, north in degrees (WGS 84): only what meets it is read. West greater than east crosses the antimeridian. A file that does not meet it gives no rows of tiles and windows.",
    ),
  bands: z
    .array(z.number().int().min(1).max(65_535))
    .min(1)
    .max(1_000)
    .optional()
    .describe("The bands to read, from 1, in this order. Default all."),
  pixels: z
    .enum(["none", "array", "png"])
    .default("none")
    .describe(
      "`array`: the values as stored, into `pixels`; `png`: a picture of one to four bands of 8 or 16 bits, into `image`. Up to 7 MiB a row. Default `none`.",
    ),
  statistics: z
    .boolean()
    .default(true)
    .describe("Measure the bands of each row, which reads its pixels. Default true."),
  max_pixels: z
    .number()
    .int()
    .positive()
    .default(1_000_000_000)
    .describe("An image with more pixels is not measured as a whole: `problem` says so. Default 1,000,000,000."),
});
export type GeotiffOptions = z.output<typeof geotiffOptions>;

export default defineFormat({
  name: "geotiff",
  title: "GeoTIFF",
  summary:
    "Satellite and aerial images, also cloud-optimised: bands, reference system, bounds, statistics; tiles and windows as arrays or PNG.",
  options: geotiffOptions,
  extensions: ["tif", "tiff"],
  mediaTypes: ["image/tiff"],
  needs: [],
  capabilities: { read: true, write: false, rejects: true, assets: true },
  examples: [
    {
      title: "What scenes there are",
      yaml: "flows:\n  scenes:\n    from: { path: scenes/**/*.tif, format: geotiff, assets: { keep: false } }\n    checks:\n      - { check: not_null, column: crs, on_fail: reject }",
    },
    {
      title: "Tiles as arrays, without those that are mostly empty",
      yaml: "flows:\n  tiles:\n    from:\n      path: scenes/**/*.tif\n      format: geotiff\n      options: { rows: tile, tile: 256, pixels: array, bands: [1, 2, 3] }\n      assets: { keep: false }\n    checks:\n      - { check: range, column: nodata_share, max: 0.5, on_fail: reject }",
    },
  ],
  load: () => import("./driver.ts"),
});

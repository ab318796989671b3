import * as z from "zod";
import { defineFormat } from "../../core/index.ts";

export const imagesOptions = z.strictObject({
  thumbnail: z
    .number()
    .int()
    .min(0)
    .max(2048)
    .default(256)
    .describe("Longest side of the thumbnail, pixels; 0 for none. Default 256."),
  gps: z
    .enum(["keep", "strip"])
    .default("keep")
    .describe(
      "`strip` leaves the place out of all columns. The bytes of the file still have it: set `assets: { keep: false }` too. Default `keep`.",
    ),
  max_pixels: z
    .number()
    .int()
    .positive()
    .default(268_402_689)
    .describe("An image with more pixels is refused. Default 268,402,689."),
  truncated: z
    .enum(["reject", "accept"])
    .default("reject")
    .describe("What to do with an image whose data is cut off or damaged. Default `reject`."),
});
export type ImagesOptions = z.output<typeof imagesOptions>;

export default defineFormat({
  name: "images",
  title: "Images",
  summary:
    "JPEG, PNG, WebP, GIF, TIFF, AVIF and SVG: size, EXIF, place, colour profile, thumbnail, perceptual hash, sharpness; one row an image.",
  options: imagesOptions,
  extensions: ["jpg", "jpeg", "png", "webp", "gif", "tif", "tiff", "avif", "svg"],
  mediaTypes: ["image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff", "image/avif", "image/svg+xml"],
  needs: [],
  capabilities: { read: true, write: false, rejects: true, assets: true },
  examples: [
    {
      title: "A folder of photographs",
      yaml: "flows:\n  photos:\n    from: { path: photos/**/*, format: images }\n    checks:\n      - { check: range, column: width, min: 224, on_fail: reject }\n      - { check: duplicates, columns: [sha256], on_fail: warn }",
    },
    {
      title: "Without the places",
      yaml: "flows:\n  photos:\n    from: { path: photos/**/*, format: images, options: { gps: strip } }",
    },
  ],
  load: () => import("./driver.ts"),
});

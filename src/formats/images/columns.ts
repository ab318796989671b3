import { assetColumns, type Column } from "../../core/index.ts";

/** What is read of an image, besides what every asset has. */
export const imageColumns: readonly Column[] = [
  { name: "width", type: "int", doc: "Pixels, once the image is turned as its orientation says." },
  { name: "height", type: "int", doc: "Pixels, once the image is turned as its orientation says." },
  { name: "frames", type: "int", doc: "Pages or frames of an animation; 1 for others." },
  { name: "channels", type: "int", doc: "Bands, alpha included." },
  { name: "depth", type: "string", doc: "Type of a sample: `uchar`, `ushort`, `float`, …" },
  { name: "colour_space", type: "string", doc: "`srgb`, `cmyk`, `b-w`, …" },
  { name: "colour_profile", type: "string", doc: "Name of the embedded ICC profile." },
  { name: "has_alpha", type: "boolean" },
  { name: "orientation", type: "int", doc: "EXIF orientation as stored, 1 to 8." },
  { name: "density", type: "double", doc: "Pixels per inch, where the file says." },
  { name: "taken_at", type: "timestamp", doc: "When the camera says the photograph was taken, local time." },
  { name: "camera", type: "string", doc: "Make and model." },
  { name: "latitude", type: "double", doc: "Degrees, north is positive." },
  { name: "longitude", type: "double", doc: "Degrees, east is positive." },
  { name: "altitude", type: "double", doc: "Metres above sea level." },
  { name: "exif", type: "string", doc: "All other EXIF tags as JSON." },
  { name: "phash", type: "long", doc: "Perceptual hash, 64 bits: images that look alike differ in few of them." },
  { name: "brightness", type: "double", doc: "Mean luminance, 0 (black) to 1 (white)." },
  { name: "contrast", type: "double", doc: "Standard deviation of the luminance, 0 (one colour) to 0.5." },
  {
    name: "sharpness",
    type: "double",
    doc: "Variance of the Laplacian of the thumbnail's luminance, 0 to 255 a sample; below about 50 it is blurred.",
  },
  { name: "entropy", type: "double", doc: "Bits per pixel of the luminance, 0 (blank) to 8." },
  { name: "thumbnail", type: "binary", doc: "JPEG that fits a square of `thumbnail` pixels." },
];

export const columns: readonly Column[] = [...assetColumns, ...imageColumns];

/** 10,000 JPEG files for the benches of images. */
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { dataFolder } from "./harness.ts";

export const rows = 10_000;
export const images = join(dataFolder, "feed-images");
export const files = join(images, "files");

/** Crops of large pictures of noise and shapes, 500 × 375, as compressible as photographs are. */
export async function makeImages(): Promise<void> {
  if (existsSync(files)) return;
  const partial = `${files}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  const large = await Promise.all(
    Array.from({ length: 8 }, async (_, picture) => {
      const shapes = Array.from({ length: 300 }, (_, shape) => {
        const at = (part: number, below: number): number => (picture * 7919 + shape * 104729 + part * 1299709) % below;
        return `<circle cx="${at(1, 2000)}" cy="${at(2, 1500)}" r="${10 + at(3, 150)}" fill="hsl(${at(4, 360)},60%,${20 + at(5, 60)}%)" fill-opacity="0.7"/>`;
      });
      const noise = { width: 2000, height: 1500, noise: { type: "gaussian", mean: 128, sigma: 25 } } as const;
      const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="2000" height="1500">${shapes.join("")}</svg>`;
      return sharp({ create: { ...noise, channels: 3, background: "#888" } })
        .composite([{ input: Buffer.from(svg) }])
        .blur(1)
        .removeAlpha()
        .raw()
        .toBuffer();
    }),
  );
  const make = async (from: number): Promise<void> => {
    for (let row = from; row < rows; row += 4) {
      const raw = { width: 2000, height: 1500, channels: 3 } as const;
      const place = { left: (row * 7919) % 1500, top: (row * 104729) % 1125, width: 500, height: 375 };
      await sharp(large[row % large.length], { raw })
        .extract(place)
        .jpeg({ quality: 85 })
        .toFile(join(partial, `${String(row).padStart(6, "0")}.jpg`));
    }
  };
  await Promise.all([0, 1, 2, 3].map(make));
  renameSync(partial, files);
}

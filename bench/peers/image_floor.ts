/** The floor: sharp alone, decoding and resizing JPEG files as they come: `image_floor.ts <folder> <batch> <rows> <report.json>`. */
import { readdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import sharp from "sharp";

const [folder, , , report] = process.argv.slice(2) as [string, string, string, string];
const names = readdirSync(folder);
sharp.concurrency(1);
sharp.cache(false);
let [next, total] = [0, 0];
const begun = performance.now();
await Promise.all(
  Array.from({ length: availableParallelism() }, async () => {
    while (next < names.length) {
      const path = join(folder, names[next++]!);
      const samples = await sharp(path).resize(224, 224, { fit: "cover" }).removeAlpha().raw().toBuffer();
      let sum = 0;
      for (let at = 0; at < samples.length; at += 768) sum += samples[at]!;
      total += (sum * 768) / samples.length;
    }
  }),
);
const rate = names.length / ((performance.now() - begun) / 1000);
writeFileSync(report, JSON.stringify({ epochs: [rate, rate], rows: names.length, mean: total / names.length }));

/** Floors of `bench/media.ts`: `media_read.mjs sharp <folder>`, `media_read.mjs pdfjs <file>`. */
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";

const [what, path] = process.argv.slice(2);
if (what === "sharp") {
  const { default: sharp } = await import("sharp");
  sharp.concurrency(1);
  sharp.cache(false);
  const names = readdirSync(path);
  let next = 0;
  await Promise.all(
    Array.from({ length: availableParallelism() }, async () => {
      while (next < names.length) {
        const bytes = readFileSync(join(path, names[next++]));
        await sharp(bytes).metadata();
        await sharp(bytes).resize(256, 256, { fit: "inside" }).jpeg({ quality: 80 }).toBuffer();
      }
    }),
  );
} else {
  const { getDocument } = await import("pdfjs-dist/legacy/build/pdf.mjs");
  const document = await getDocument({ data: new Uint8Array(readFileSync(path)), useSystemFonts: false }).promise;
  let characters = 0;
  for (let number = 1; number <= document.numPages; number++) {
    const page = await document.getPage(number);
    const { items } = await page.getTextContent();
    characters += items.map((item) => ("str" in item ? item.str : "")).join(" ").length;
    page.cleanup();
  }
  console.log(characters);
}

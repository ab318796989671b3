import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import type { EnricherInput } from "../../src/core/index.ts";
import definition from "../../src/enrichers/ocr/index.ts";
import { enricherContract } from "../contracts/enricher.ts";
import { requirePackages, requireProgram } from "../services/install.ts";

const tesseract = await requireProgram({ service: "tesseract", packages: ["tesseract-ocr"], name: "tesseract" });
await requireProgram({ service: "poppler", packages: ["poppler-utils"], name: "pdftoppm" });
// What letters are drawn with.
if (!existsSync("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"))
  await requirePackages("fonts", ["fonts-dejavu-core"]);

const sentences = ["The quick brown fox jumps", "over the lazy dog and reads", "one hundred and seven books"];
const picture = (text: string): Promise<Buffer> =>
  sharp(
    Buffer.from(
      `<svg xmlns="http://www.w3.org/2000/svg" width="900" height="160"><rect width="900" height="160" fill="white"/><text x="30" y="95" font-size="48" font-family="DejaVu Sans, Liberation Sans, sans-serif">${text}</text></svg>`,
    ),
  )
    .png()
    .toBuffer();

const inputOf = (bytes: Uint8Array, uri: string): EnricherInput => {
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const asset = { uri, mediaType: "image/png", size: bytes.length, sha256, modified: 0, bytes };
  return { hash: sha256, asset, values: {} };
};

enricherContract({
  name: "ocr",
  definition: definition as never,
  async start() {
    // Between us and the program: it counts the pages that are read.
    const folder = await mkdtemp(join(tmpdir(), "millrace-ocr-"));
    const log = join(folder, "log");
    await writeFile(log, "");
    await writeFile(
      join(folder, "tesseract"),
      `#!/bin/sh\ncase "$*" in *tsv) echo page >> ${log};; esac\nexec ${tesseract} "$@"\n`,
    );
    await chmod(join(folder, "tesseract"), 0o755);
    const path = process.env["PATH"];
    process.env["PATH"] = `${folder}${delimiter}${path}`;
    const { readFileSync } = await import("node:fs");
    return {
      options: {},
      otherOptions: { layout: 6 },
      columns: [{ name: "bytes", type: "binary" }],
      good: await Promise.all(sentences.map(async (text, index) => inputOf(await picture(text), `${index}.png`))),
      unfit: [
        inputOf(Buffer.from("no image at all, but text"), "a.png"),
        inputOf(Buffer.from("\x89PNG\r\n\x1a\nbroken", "latin1"), "b.png"),
      ],
      wrong: [{ what: "a language that there is not", options: { languages: ["xyz"] }, code: "config" }],
      asked: () => readFileSync(log, "utf8").split("\n").length - 1,
      async [Symbol.asyncDispose]() {
        process.env["PATH"] = path;
        await rm(folder, { recursive: true, force: true });
      },
    };
  },
});

describe("text in images", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "millrace-ocr-run-"));
    await mkdir(join(folder, "in"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test("a run adds the text, asks once for each picture over all runs, and erase forgets the answers", async () => {
    for (const [index, text] of sentences.entries())
      await writeFile(join(folder, "in", `${index}.png`), await picture(text));
    await writeFile(join(folder, "in", "copy.png"), await picture(sentences[0]!));
    await writeFile(
      join(folder, "millrace.yaml"),
      JSON.stringify({
        store: "./lake",
        flows: {
          signs: {
            from: { path: "in/*.png", format: "images", assets: { inline_max_bytes: 2000 } },
            mode: "replace",
            enrich: [{ enricher: "ocr" }],
            checks: [{ check: "range", column: "ocr_confidence", min: 50 }],
          },
        },
      }),
    );
    await using lake = await openLake({ folder });
    const report = await lake.run("signs");
    expect(report).toMatchObject({
      status: "published",
      written: 4,
      enriched: [{ enricher: "ocr", rows: 4, asked: 3, cost: 0 }],
    });
    const { rows } = await lake.query(
      "select uri, ocr_text, ocr_words, bytes is null as apart from signs order by uri",
    );
    expect(rows).toEqual([
      { uri: "in/0.png", ocr_text: sentences[0], ocr_words: 5, apart: true },
      { uri: "in/1.png", ocr_text: sentences[1], ocr_words: 6, apart: true },
      { uri: "in/2.png", ocr_text: sentences[2], ocr_words: 5, apart: true },
      { uri: "in/copy.png", ocr_text: sentences[0], ocr_words: 5, apart: true },
    ]);
    const again = await lake.run("signs", { full: true });
    expect(again.enriched).toEqual([{ enricher: "ocr", rows: 4, asked: 0, cost: 0 }]);
    await lake.erase("signs", { where: "uri = 'in/1.png'" });
    const after = await lake.run("signs", { full: true });
    expect(after.enriched![0]!.asked).toBeGreaterThan(0);
  });

  test("pages of a scanned document, as poppler knows their text; others are not asked about", async () => {
    const source = join(folder, "text.pdf");
    const lines = sentences.map((text, index) => `BT /F1 24 Tf 60 ${700 - 40 * index} Td (${text}) Tj ET`).join("\n");
    await writeFile(source, pdf([`1 0 0 1 0 0 cm ${lines}`]));
    const scan = await sharp({ create: { width: 1200, height: 800, channels: 3, background: "white" } })
      .composite(
        await Promise.all(
          sentences.map(async (text, index) => ({ input: await picture(text), left: 20, top: 40 + 200 * index })),
        ),
      )
      .jpeg()
      .toBuffer();
    await mkdir(join(folder, "scans"));
    await writeFile(join(folder, "scans", "scan.pdf"), scanned(scan));
    await writeFile(join(folder, "scans", "text.pdf"), await readFile(source));
    const place = join(folder, "documents");
    await mkdir(place);
    const from = { path: "../scans/*.pdf", format: "documents", options: { rows: "page" } };
    await writeFile(
      join(place, "millrace.yaml"),
      JSON.stringify({ store: "./lake", flows: { letters: { from, enrich: [{ enricher: "ocr" }] } } }),
    );
    await using lake = await openLake({ folder: place });
    await lake.run("letters");
    const { rows } = await lake.query("select needs_ocr, text, ocr_text from letters order by uri");
    expect(rows[0]).toMatchObject({ needs_ocr: true });
    expect(String(rows[0]!["ocr_text"]).split(/\s+/)).toEqual(sentences.join(" ").split(" "));
    expect(rows[1]).toMatchObject({ needs_ocr: false, ocr_text: null });
  });

  test("what does not fit is said before anything is read", async () => {
    const place = join(folder, "wrong");
    await mkdir(place);
    const flow = (enrich: unknown, more: object = {}) => ({
      from: { path: "../in/*.png", format: "images", part_bytes: 1 },
      enrich: [enrich],
      ...more,
    });
    const flows = {
      unknown: flow({ enricher: "ocr", of: "picture" }),
      text: flow({ enricher: "ocr", of: "uri" }),
      twice: { ...flow({ enricher: "ocr" }), enrich: [{ enricher: "ocr" }, { enricher: "ocr" }] },
      // A part a file: the transform has to wait for all of them.
      across: flow(
        { enricher: "ocr" },
        {
          transform:
            "select any_value(sha256) as sha256, any_value(media_type) as media_type, any_value(bytes) as bytes, any_value(object) as object from input",
        },
      ),
    };
    await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", flows }));
    await using lake = await openLake({ folder: place });
    for (const [name, message] of Object.entries({
      unknown: "`picture`",
      text: "no column of bytes",
      twice: "already",
      across: "across rows",
    })) {
      await expect(lake.run(name), name).rejects.toMatchObject({
        code: "config",
        message: expect.stringContaining(message) as string,
      });
    }
    await writeFile(
      join(place, "millrace.yaml"),
      JSON.stringify({ store: "./lake", flows: { a: flow({ enricher: "orc" }) } }),
    );
    await expect(openLake({ folder: place })).rejects.toMatchObject({ hint: expect.stringContaining("ocr") as string });
  });
});

/** A document of pages with these contents, in Helvetica. */
function pdf(contents: readonly string[], more: readonly Buffer[] = [], resources = "/Font << /F1 3 0 R >>"): Buffer {
  const objects: Buffer[] = [
    Buffer.from("<< /Type /Catalog /Pages 2 0 R >>"),
    Buffer.from(
      `<< /Type /Pages /Count ${contents.length} /Kids [${contents.map((_, index) => `${5 + 2 * index} 0 R`).join(" ")}] >>`,
    ),
    Buffer.from("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"),
    more[0] ?? Buffer.from("<< >>"),
  ];
  for (const [index, content] of contents.entries()) {
    objects.push(
      Buffer.from(
        `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << ${resources} >> /Contents ${6 + 2 * index} 0 R >>`,
      ),
    );
    objects.push(Buffer.from(`<< /Length ${content.length} >>\nstream\n${content}\nendstream`));
  }
  const parts: Buffer[] = [Buffer.from("%PDF-1.4\n")];
  const offsets: number[] = [];
  for (const [index, object] of objects.entries()) {
    offsets.push(Buffer.concat(parts).length);
    parts.push(Buffer.from(`${index + 1} 0 obj\n`), object, Buffer.from("\nendobj\n"));
  }
  const start = Buffer.concat(parts).length;
  const table = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("");
  parts.push(
    Buffer.from(
      `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${table}trailer\n<< /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${start}\n%%EOF\n`,
    ),
  );
  return Buffer.concat(parts);
}

/** A page that is a picture and nothing else. */
function scanned(jpeg: Buffer): Buffer {
  const size = [
    jpeg.readUInt16BE(jpeg.indexOf(Buffer.from([0xff, 0xc0])) + 7),
    jpeg.readUInt16BE(jpeg.indexOf(Buffer.from([0xff, 0xc0])) + 5),
  ];
  const head = `<< /Type /XObject /Subtype /Image /Width ${size[0]} /Height ${size[1]} /ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode /Length ${jpeg.length} >>\nstream\n`;
  const image = Buffer.concat([Buffer.from(head), jpeg, Buffer.from("\nendstream")]);
  return pdf(["q 612 0 0 792 0 0 cm /Im0 Do Q"], [image], "/XObject << /Im0 4 0 R >>");
}

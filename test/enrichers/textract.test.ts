import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { expect, test } from "vitest";
import type { EnricherInput } from "../../src/core/index.ts";
import definition from "../../src/enrichers/textract/index.ts";
import { openLake } from "../../src/index.ts";
import { enricherContract } from "../contracts/enricher.ts";
import { requirePackages, requireProgram } from "../services/install.ts";
import { startTextract } from "../services/textract.ts";

await requireProgram({ service: "poppler", packages: ["poppler-utils"], name: "pdftoppm" });
if (!existsSync("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"))
  await requirePackages("fonts", ["fonts-dejavu-core"]);

const secret = "s3cret-of-the-account";
const credentials = { access_key_id: "AKIDEXAMPLE", secret_access_key: secret };
const sentences = ["The quick brown fox jumps", "over the lazy dog and reads", "one hundred and seven books"];
const picture = (text: string): Promise<Buffer> =>
  sharp(
    Buffer.from(
      `<svg xmlns="http://www.w3.org/2000/svg" width="900" height="160"><rect width="900" height="160" fill="white"/><text x="30" y="95" font-size="48" font-family="DejaVu Sans, Liberation Sans, sans-serif">${text}</text></svg>`,
    ),
  )
    .jpeg({ quality: 95 })
    .toBuffer();
const inputOf = (bytes: Uint8Array, uri: string): EnricherInput => {
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return {
    hash: sha256,
    asset: { uri, mediaType: "image/jpeg", size: bytes.length, sha256, modified: 0, bytes },
    values: {},
  };
};

/** A PDF of pages that are images: scans. */
async function scan(texts: readonly string[]): Promise<Buffer> {
  const parts: Buffer[] = [Buffer.from("%PDF-1.4\n")];
  const offsets: number[] = [];
  const add = (...pieces: (Buffer | string)[]): void => {
    offsets.push(Buffer.concat(parts).length);
    parts.push(
      Buffer.from(`${offsets.length} 0 obj\n`),
      ...pieces.map((piece) => Buffer.from(piece)),
      Buffer.from("\nendobj\n"),
    );
  };
  add("<< /Type /Catalog /Pages 2 0 R >>");
  add(`<< /Type /Pages /Count ${texts.length} /Kids [${texts.map((_, index) => `${3 + index * 3} 0 R`).join(" ")}] >>`);
  for (const [index, text] of texts.entries()) {
    const image = await picture(text);
    const first = 3 + index * 3;
    const content = "450 0 0 80 0 0 cm /Scan Do";
    add(
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 450 80] /Contents ${first + 1} 0 R /Resources << /XObject << /Scan ${first + 2} 0 R >> >> >>`,
    );
    add(`<< /Length ${content.length} >>\nstream\n${content}\nendstream`);
    add(
      `<< /Type /XObject /Subtype /Image /Width 900 /Height 160 /ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode /Length ${image.length} >>\nstream\n`,
      image,
      "\nendstream",
    );
  }
  const start = Buffer.concat(parts).length;
  const table = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("");
  parts.push(
    Buffer.from(
      `xref\n0 ${offsets.length + 1}\n0000000000 65535 f \n${table}trailer << /Size ${offsets.length + 1} /Root 1 0 R >>\nstartxref\n${start}\n%%EOF\n`,
    ),
  );
  return Buffer.concat(parts);
}

enricherContract({
  name: "textract",
  definition: definition as never,
  fails: true,
  async start() {
    const double = await startTextract();
    const options = { endpoint: double.endpoint, credentials };
    return {
      options,
      otherOptions: { ...options, resolution: 150 },
      secrets: [secret],
      columns: [{ name: "bytes", type: "binary" }],
      good: await Promise.all(sentences.map(async (text, index) => inputOf(await picture(text), `${index}.jpg`))),
      unfit: [
        inputOf(Buffer.from("no image at all, but text"), "a.jpg"),
        inputOf(Buffer.from("\xff\xd8\xff\xe0broken", "latin1"), "b.jpg"),
      ],
      wrong: [
        {
          what: "a server that is not there",
          options: { ...options, endpoint: "http://127.0.0.1:1" },
          code: "unreachable",
        },
      ],
      asked: () => double.paid,
      async fail() {
        double.failNext = "UnknownException";
      },
      async [Symbol.asyncDispose]() {
        expect(double.problems).toEqual([]);
        await double[Symbol.asyncDispose]();
      },
    };
  },
});

test(
  "textract: pages of a scanned document are read one by one, and each is paid for",
  { timeout: 60_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "millrace-textract-run-"));
    await using double = await startTextract();
    try {
      await mkdir(join(folder, "in"));
      await writeFile(join(folder, "in/scan.pdf"), await scan(sentences));
      const step = { enricher: "textract", endpoint: double.endpoint, credentials };
      const flows = {
        letters: { from: { path: "in/*.pdf", format: "documents", options: { rows: "page" } }, enrich: [step] },
      };
      await writeFile(join(folder, "millrace.yaml"), JSON.stringify({ store: "./lake", flows }));
      await using lake = await openLake({ folder });
      const report = await lake.run("letters");
      expect(report.enriched![0]).toMatchObject({ asked: 3, cost: expect.closeTo(0.0045, 9) as number });
      expect(double.paid).toBe(3);
      const { rows } = await lake.query(
        "select page::int as page, textract_text as text, textract_words as words, textract_handwriting as hand from letters order by page",
      );
      expect(rows).toEqual(
        sentences.map((text, index) => ({
          page: index + 1,
          text,
          words: text.split(" ").length,
          hand: expect.closeTo(1 / text.split(" ").length, 9) as number,
        })),
      );
      expect(double.problems).toEqual([]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
);
